package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
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
		{"POST", "/kv/a", "", "POST /kv/a returning 405"},
		{"GET", "/none", "", "GET /none returning 404"},
		{"OPTIONS", "*", "", `OPTIONS "*" returning 404`},

		{"POST", "/clear%0A%1B", "", `POST "/clear\n\x1b" returning 404`},
		{"POST", "/kv/a%0A%1B", "", `POST /kv/"a\n\x1b" returning 405`},
		{"P!ST", "/" + long, "", `"P!ST" ` + cut(64, "/"+long) + " returning 404"},
		{strings.Repeat("M", 70), "/kv/a", "", cut(64, strings.Repeat("M", 70)) + " /kv/a returning 405"},
	}
	for key, shown := range map[string]string{
		"a returning 200":             `"a returning 200"`,
		"a\nGET /kv/b":                `"a\nGET /kv/b"`,
		"\x1b[2J\x7f\u0085\u202e\xff": `"\x1b[2J\x7f\u0085\u202e\xff"`,
		`"a"`:                         `"\"a\""`,
		"a/b":                         "a/b",
		"\u0161":                      `"š"`, // the low byte of this rune is an a
		long + "/":                    cut(64, long+"/"),
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
		strings.Repeat(world, 22):         cut(63, strings.Repeat(world, 22)),
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

// A quiet server logs no request, and still logs what goes wrong. Here it is a bug, a panic
// in a handler, which ends its connection and no other. Each line that net/http reports
// gets a prefix, and none looks like the line of a request.
func TestQuiet(t *testing.T) {
	s := start(t, setup{Config: Config{Quiet: true}})
	s.fake.before = func(key string) {
		if key == "panic" {
			panic("\x1b[2J\nPUT /kv/a accepted, value=1")
		}
	}
	other, c := s.connect(t), s.connect(t)
	other.Want("PUT", "/kv/a", "value", 200, "")
	c.Send(apitest.Request("GET", "/kv/panic", ""))
	c.WantEnd()
	other.Want("GET", "/kv/b", "", 404, "key not found")
	lines := strings.Split(strings.TrimSpace(s.end(t)), "\n")
	if !strings.HasPrefix(lines[0], "net/http: http: panic serving") || lines[1] != "net/http: PUT /kv/a accepted, value=1" {
		t.Errorf("the panic is logged as\n%q\n%q", lines[0], lines[1])
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "net/http: ") || strings.ContainsAny(line, "\x1b\t") {
			t.Errorf("logged %q, want only a panic and its stack", line)
		}
	}
}

// A fakeWriter keeps as many bytes of each write as write returns.
type fakeWriter struct {
	bytes.Buffer
	write func(p []byte) (int, error)
}

func (w *fakeWriter) Write(p []byte) (int, error) {
	n, err := w.write(p)
	w.Buffer.Write(p[:n])
	return n, err
}

// printLines logs a line with each number from first to end-1.
func printLines(l *Log, first, end int) {
	for n := first; n < end; n++ {
		l.Print(fmt.Sprintf("line %d", n))
	}
}

// wantLines checks that w has whole lines of printLines, in order and none twice. Of total
// lines, those that are missing must be as many as dropped, and the log must have said so.
func (w *fakeWriter) wantLines(t *testing.T, total, dropped int) {
	t.Helper()
	written, missing, last := 0, 0, -1
	for line := range strings.Lines(w.String()) {
		var n int
		if fmt.Sscanf(line, "Log dropped %d lines", &n); n > 0 {
			missing += n
			continue
		}
		if fmt.Sscanf(line, "line %d", &n); line != fmt.Sprintf("line %d\n", n) || n <= last {
			t.Fatalf("%.80q follows line %d", line, last)
		}
		last = n
		written++
	}
	if written+missing != total || missing != dropped {
		t.Errorf("%d lines are written and %d are reported as dropped, want %d and %d", written, missing, total-dropped, dropped)
	}
}

// While the writer blocks or fails, callers go on. The log keeps as many lines as fit, and
// reports how many it dropped once there is space.
func TestLogNeverWaitsForItsWriter(t *testing.T) {
	for fails, dropped := range map[bool]int{false: 1, true: 1000} {
		synctest.Test(t, func(t *testing.T) {
			var space atomic.Bool
			w := &fakeWriter{write: func(p []byte) (int, error) {
				for !space.Load() {
					if fails {
						return 3, errors.New("no space left on device")
					}
					time.Sleep(time.Millisecond)
				}
				return len(p), nil
			}}
			l := NewLog(w)
			total := maxWaiting + 2 + dropped
			printLines(l, 0, 1)
			time.Sleep(batchPause + 1)
			start := time.Now()
			printLines(l, 1, total-1)
			wantTime(t, start, 0)
			space.Store(true)
			time.Sleep(time.Second)
			printLines(l, total-1, total)
			l.Stop(t.Context())
			l.Stop(t.Context()) // a second call returns, too
			w.wantLines(t, total, dropped)
			if !strings.HasSuffix(w.String(), fmt.Sprintf("line %d\n", total-1)) {
				t.Error("the last line, which was logged when there was space, is missing")
			}
		})
	}
}

// The log writes many lines at once, in batches of limited size, soon after the first.
// Stop writes all lines that were logged before, without a pause.
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
		start := time.Now()
		l.Stop(t.Context())
		wantTime(t, start, 0)
		w.wantLines(t, maxWaiting, 0)
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
			synctest.Test(t, func(t *testing.T) {
				var times []time.Time // of two writes that fail, one that does not, and so on
				w := &fakeWriter{write: func(p []byte) (int, error) {
					times = append(times, time.Now())
					if len(times)%3 == 0 {
						return len(p), nil
					}
					return min(part, len(p)), failure
				}}
				l := NewLog(w)
				printLines(l, 0, 10)
				time.Sleep(time.Second)
				printLines(l, 10, 20)
				if !errors.Is(failure, syscall.EAGAIN) {
					time.Sleep(time.Second)
				}
				l.Stop(t.Context())
				w.wantLines(t, 20, 0)
				for n, at := range times[1:] {
					if pause := at.Sub(times[n]); n%3 < 2 && pause != retryPause {
						t.Errorf("%v: the next write comes after %v, want %v", failure, pause, retryPause)
					}
				}
			})
		}
	}
}

// Stop of a log whose writer blocks waits until its context is done. If the writer fails,
// the log gives up.
func TestStopWithADeadWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, end := context.WithCancel(t.Context()) // the readers of all writers
		blocks := func([]byte) (int, error) { <-gone.Done(); return 0, gone.Err() }
		full := func([]byte) (int, error) { return 0, cmp.Or[error](gone.Err(), syscall.EAGAIN) }
		fails := func([]byte) (int, error) { return 0, errors.New("broken pipe") }
		for _, row := range []struct {
			name  string
			write func([]byte) (int, error)
			stops time.Duration
		}{{"blocks", blocks, time.Second}, {"full", full, time.Second}, {"fails", fails, 0}} {
			for _, before := range []time.Duration{0, time.Second} {
				l := NewLog(&fakeWriter{write: row.write})
				printLines(l, 0, 10)
				time.Sleep(before)
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				l.Stop(ctx)
				cancel()
				if waited := time.Since(start); waited != row.stops {
					t.Errorf("%s: Stop returns after %v, want %v", row.name, waited, row.stops)
				}
			}
		}
		end()
		time.Sleep(time.Second) // the owners end, or the bubble deadlocks
	})
}
