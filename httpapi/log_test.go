package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A server writes a line for each request. What a client sends can neither look like
// another line nor move the cursor of a terminal.
func TestLogLines(t *testing.T) {
	long := strings.Repeat("x", 100)
	// cut returns what is shown of a value that is cut after n bytes.
	cut := func(n int, value string) string { return fmt.Sprintf(`"%s"... (%d bytes)`, value[:n], len(value)) }
	smile, world := "\U0001f600", "\u4e16"

	type row struct{ method, target, body, line string }
	rows := []row{
		{"PUT", "/kv/kenya:capital", "Nairobi", "PUT /kv/kenya:capital accepted, value=Nairobi"},
		{"GET", "/kv/kenya:capital", "", "GET /kv/kenya:capital returning 200"},
		{"DELETE", "/kv/kenya:capital", "", "DELETE /kv/kenya:capital accepted"},
		{"GET", "/kv/kenya:capital", "", "GET /kv/kenya:capital returning 404"},
		{"DELETE", "/clear", "", "DELETE /clear accepted"},
		{"GET", "/health", "", "GET /health returning 200"},
		{"PUT", "/kv/", "value", "PUT /kv/ returning 400"},
		{"PUT", "/kv/a", "", "PUT /kv/a returning 400"},
		{"PUT", "/kv/a", "\xff", "PUT /kv/a returning 400"},
		{"DELETE", "/kv/", "", "DELETE /kv/ returning 400"},
		{"POST", "/kv/a", "", "POST /kv/a returning 405"},
		{"GET", "/none", "", "GET /none returning 404"},
		{"OPTIONS", "*", "", `OPTIONS "*" returning 404`},
		{"GET", "/health?a=b", "", "GET /health returning 200"},

		{"POST", "/clear%0A%1B", "", `POST "/clear\n\x1b" returning 404`},
		{"POST", "/kv/a%0A%1B", "", `POST /kv/"a\n\x1b" returning 405`},
		{"P!ST", "/" + long, "", `"P!ST" ` + cut(64, "/"+long) + " returning 404"},
		{strings.Repeat("M", 70), "/kv/a", "", cut(64, strings.Repeat("M", 70)) + " /kv/a returning 405"},
	}
	for key, shown := range map[string]string{
		"a returning 200":             `"a returning 200"`,
		"a\nGET /kv/b":                `"a\nGET /kv/b"`,
		"\x1b[2J\x7f\u0085\u202e\xff": `"\x1b[2J\x7f\u0085\u202e\xff"`,
		"\u00e9":                      `"é"`,
		`"a"`:                         `"\"a\""`,
		"a/b":                         "a/b",
		long + "/":                    cut(64, long+"/"),
		strings.Repeat("x", 63) + "é": cut(63, strings.Repeat("x", 63)+"é"),
		strings.Repeat("\x80", 100):   `"` + strings.Repeat(`\x80`, 60) + `"... (100 bytes)`,
	} {
		rows = append(rows, row{"GET", "/kv/" + url.PathEscape(key), "", "GET /kv/" + shown + " returning 400"})
	}
	for value, shown := range map[string]string{
		"two words, \u4e16\u754c":         "two words, 世界",
		"1\nGET /kv/a returning 200":      `"1\nGET /kv/a returning 200"`,
		"\r\t\x00\x1b\u202e\u2028":        `"\r\t\x00\x1b\u202e\u2028"`,
		`"1"`:                             `"\"1\""`,
		long[:64]:                         long[:64],
		long[:65]:                         cut(64, long[:65]),
		"\n" + long:                       `"\n` + long[:63] + `"... (101 bytes)`,
		strings.Repeat(world, 21):         strings.Repeat(world, 21),
		strings.Repeat(world, 22):         cut(63, strings.Repeat(world, 22)),
		"x" + strings.Repeat(world, 22):   cut(64, "x"+strings.Repeat(world, 22)),
		"xx" + strings.Repeat(world, 22):  cut(62, "xx"+strings.Repeat(world, 22)),
		strings.Repeat(smile, 17):         cut(64, strings.Repeat(smile, 17)),
		"x" + strings.Repeat(smile, 20):   cut(61, "x"+strings.Repeat(smile, 20)),
		"xx" + strings.Repeat(smile, 20):  cut(62, "xx"+strings.Repeat(smile, 20)),
		"xxx" + strings.Repeat(smile, 20): cut(63, "xxx"+strings.Repeat(smile, 20)),
		cut(64, long):                     `"\"` + long[:63] + `"... (81 bytes)`,
	} {
		rows = append(rows, row{"PUT", "/kv/a", value, "PUT /kv/a accepted, value=" + shown})
	}

	s := start(t, setup{})
	c := s.connect(t)
	for _, row := range rows {
		if _, _, err := c.Do(row.method, row.target, row.body); err != nil {
			t.Fatalf("%s %q: %v", row.method, row.target, err)
		}
	}
	lines := strings.Split(s.end(t), "\n")
	if len(lines) != len(rows)+1 {
		t.Fatalf("%d requests have %d lines:\n%s", len(rows), len(lines)-1, s.end(t))
	}
	for i, row := range rows {
		if lines[i] != row.line {
			t.Errorf("%s %q, body %q is logged as\n%s, want\n%s", row.method, row.target, row.body, lines[i], row.line)
		}
	}
}

// A quiet server logs no request, and still logs what goes wrong. Lines of net/http have a
// prefix.
func TestQuiet(t *testing.T) {
	s := start(t, setup{Config: Config{Quiet: true}, before: panicOnKey})
	c := s.connect(t)
	c.Want("PUT", "/kv/a", "value", 200, "")
	c.Want("GET", "/kv/b", "", 404, "key not found")
	c.Do("DELETE", "/kv/panic", "")
	for n, line := range strings.Split(strings.TrimSpace(s.end(t)), "\n") {
		prefix := "net/http: "
		if n == 0 {
			prefix += "http: panic serving"
		}
		if !strings.HasPrefix(line, prefix) {
			t.Errorf("logged %q, want only a panic and its stack", line)
		}
	}
}

// Each line that net/http reports stays a line of its own, and none of them looks like the
// line of a request.
func TestLogOfNetHTTP(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(&out)
	log.New(l, "", 0).Printf("http: panic serving: \x1b[2J\nPUT /kv/a accepted, value=1\n\tmain.go:1")
	l.Stop(t.Context())
	want := "net/http: http: panic serving:  [2J\nnet/http: PUT /kv/a accepted, value=1\nnet/http:  main.go:1\n"
	if out.String() != want {
		t.Errorf("logged\n%q, want\n%q", out.String(), want)
	}
}

// A fakeWriter calls write, if it is set, and then keeps as many bytes as write returns.
type fakeWriter struct {
	bytes.Buffer
	write func(p []byte) (int, error)
}

func (w *fakeWriter) Write(p []byte) (int, error) {
	if w.write == nil {
		return w.Buffer.Write(p)
	}
	n, err := w.write(p)
	w.Buffer.Write(p[:n])
	return n, err
}

// printLines logs the numbers from from to to-1, each in a line.
func printLines(l *Log, from, to int) {
	for n := from; n < to; n++ {
		l.Print(fmt.Sprintf("line %d", n))
	}
}

var reported = regexp.MustCompile(`^Log dropped (\d+) lines$`)

// wantLines checks that w has whole lines of printLines, in order and none twice, and that
// those that are missing of total are reported. It returns how many are missing.
func (w *fakeWriter) wantLines(t *testing.T, total int) (missing int) {
	t.Helper()
	written, last := 0, -1
	for line := range strings.Lines(w.String()) {
		line = strings.TrimSuffix(line, "\n")
		if match := reported.FindStringSubmatch(line); match != nil {
			n, _ := strconv.Atoi(match[1])
			missing += n
			continue
		}
		var n int
		if _, err := fmt.Sscanf(line, "line %d", &n); err != nil || line != fmt.Sprintf("line %d", n) || n <= last {
			t.Fatalf("%.80q follows line %d", line, last)
		}
		last = n
		written++
	}
	if written+missing != total {
		t.Errorf("%d lines are written and %d are reported as dropped, want %d in all", written, missing, total)
	}
	return missing
}

// While the writer blocks, callers go on. The log keeps as many lines as fit, and reports
// how many it dropped once there is space.
func TestLogNeverWaitsForItsWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan token)
		w := &fakeWriter{write: func(p []byte) (int, error) { <-release; return len(p), nil }}
		l := NewLog(w)
		const more = 1000 // lines than fit
		printLines(l, 0, 1)
		time.Sleep(time.Second)
		printLines(l, 1, 1+maxWaiting+more) // the bubble deadlocks if this waits
		close(release)
		synctest.Wait()
		time.Sleep(time.Second)
		printLines(l, 1+maxWaiting+more, 2+maxWaiting+more)
		l.Stop(t.Context())
		if missing := w.wantLines(t, 2+maxWaiting+more); missing != more {
			t.Errorf("%d lines are dropped, want %d", missing, more)
		}
		if !strings.HasSuffix(w.String(), fmt.Sprintf("line %d\n", 1+maxWaiting+more)) {
			t.Error("the last line, which was logged when there was space, is missing")
		}
	})
}

// The log writes many lines at once, in batches of limited size, soon after the first.
func TestLogWritesBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sizes := make(chan int, maxWaiting)
		w := &fakeWriter{write: func(p []byte) (int, error) { sizes <- len(p); return len(p), nil }}
		l := NewLog(w)
		printLines(l, 0, 1)
		time.Sleep(batchPause - time.Nanosecond)
		printLines(l, 1, 10)
		if synctest.Wait(); len(sizes) != 0 {
			t.Error("the log does not wait for more lines")
		}
		time.Sleep(time.Nanosecond)
		if synctest.Wait(); len(sizes) != 1 {
			t.Errorf("10 lines within the pause are written in %d batches", len(sizes))
		}
		printLines(l, 10, maxWaiting)
		time.Sleep(time.Second)
		l.Stop(t.Context())
		w.wantLines(t, maxWaiting)
		if most := w.Len()/maxBatch + 2; len(sizes) > most {
			t.Errorf("%d batches, want at most %d", len(sizes), most)
		}
		for range len(sizes) {
			if size := <-sizes; size > maxBatch+100 {
				t.Errorf("a batch has %d bytes, want at most a line more than %d", size, maxBatch)
			}
		}
	})
}

// A write may take a part of a batch and then fail. The rest follows after a pause, so no
// line is glued to another, none is lost, and none is written twice. EAGAIN, the error of
// a pipe that is full, does not end the log, even after Stop.
func TestFailedWriteIsContinued(t *testing.T) {
	for _, failure := range []error{errors.New("no space left on device"), fmt.Errorf("write: %w", syscall.EAGAIN)} {
		for _, part := range []int{0, 1, 7, 20} {
			for _, stop := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v, %d bytes, stop %v", failure, part, stop), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var times []time.Time
						w := &fakeWriter{write: func(p []byte) (int, error) {
							times = append(times, time.Now())
							if len(times)%3 == 0 {
								return len(p), nil
							}
							return min(part, len(p)), failure
						}}
						l := NewLog(w)
						printLines(l, 0, 10)
						if stop && errors.Is(failure, syscall.EAGAIN) {
							l.Stop(t.Context())
							w.wantLines(t, 10)
							return
						}
						time.Sleep(time.Second)
						printLines(l, 10, 20)
						time.Sleep(time.Second)
						l.Stop(t.Context())
						if missing := w.wantLines(t, 20); missing > 0 {
							t.Errorf("%d lines are dropped", missing)
						}
						for n, at := range times[1:] {
							if pause := at.Sub(times[n]); n%3 < 2 && pause != retryPause {
								t.Errorf("the write after a failure comes after %v, want %v", pause, retryPause)
							}
						}
					})
				})
			}
		}
	}
}

// Lines that do not fit while writes fail are reported once a write succeeds.
func TestLinesDroppedWhileWritesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var space atomic.Bool
		w := &fakeWriter{write: func(p []byte) (int, error) {
			if space.Load() {
				return len(p), nil
			}
			return 3, errors.New("no space left on device")
		}}
		l := NewLog(w)
		printLines(l, 0, 1)
		time.Sleep(batchPause)
		synctest.Wait()
		printLines(l, 1, 2*maxWaiting)
		space.Store(true)
		time.Sleep(time.Second)
		l.Stop(t.Context())
		if missing := w.wantLines(t, 2*maxWaiting); missing != maxWaiting-1 {
			t.Errorf("%d lines are dropped, want %d", missing, maxWaiting-1)
		}
	})
}

// Stop writes all lines that were logged before.
func TestStopWritesAllLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lines := range []int{0, 1, 10, maxWaiting} {
			w := &fakeWriter{write: func(p []byte) (int, error) { time.Sleep(time.Millisecond); return len(p), nil }}
			l := NewLog(w)
			synctest.Wait()
			printLines(l, 0, lines)
			start := time.Now()
			l.Stop(t.Context())
			if missing := w.wantLines(t, lines); missing > 0 {
				t.Errorf("%d of %d lines are dropped", missing, lines)
			}
			if batches := time.Duration(w.Len()/maxBatch + 1); time.Since(start) > batches*time.Millisecond {
				t.Errorf("Stop takes %v for %d lines: it pauses", time.Since(start), lines)
			}
		}
	})
}

// Stop of a log whose writer blocks waits until its context is done. If the writer fails,
// the log gives up.
func TestStopWithADeadWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan token)
		for name, row := range map[string]struct {
			write func(p []byte) (int, error)
			stops time.Duration
		}{
			"blocks": {func(p []byte) (int, error) { <-release; return len(p), nil }, time.Second},
			"full": {func([]byte) (int, error) {
				select {
				case <-release:
					return 0, errors.New("the reader is gone")
				default:
					return 0, syscall.EAGAIN
				}
			}, time.Second},
			"fails": {func([]byte) (int, error) { return 0, errors.New("broken pipe") }, 0},
		} {
			for _, before := range []time.Duration{0, time.Second} {
				l := NewLog(&fakeWriter{write: row.write})
				printLines(l, 0, 10)
				time.Sleep(before)
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				l.Stop(ctx)
				cancel()
				if waited := time.Since(start); waited != row.stops {
					t.Errorf("%s: Stop returns after %v, want %v", name, waited, row.stops)
				}
			}
		}
		close(release)
		time.Sleep(time.Second) // the owners end, or the bubble deadlocks
	})
}
