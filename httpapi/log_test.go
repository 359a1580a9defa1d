package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
)

// A server writes a line for each request. What a client sends can neither look like another
// line nor move the cursor of a terminal. If it is long, it is cut between two runes.
func TestLogLines(t *testing.T) {
	long := strings.Repeat("x", 100)
	// cut returns what is shown of a value that is cut after n bytes.
	cut := func(n int, value string) string { return fmt.Sprintf(`"%s"... (%d bytes)`, value[:n], len(value)) }
	smiles, worlds := strings.Repeat("\U0001f600", 20), strings.Repeat("\u4e16", 22)

	type row struct{ method, target, body, line string }
	rows := []row{
		{"PUT", "/kv/kenya:capital", "Nairobi", "PUT /kv/kenya:capital accepted, value=Nairobi"},
		{"GET", "/kv/kenya:capital", "", "GET /kv/kenya:capital returning 200"},
		{"DELETE", "/kv/kenya:capital", "", "DELETE /kv/kenya:capital accepted"},
		{"GET", "/kv/kenya:capital", "", "GET /kv/kenya:capital returning 404"},
		{"DELETE", "/clear", "", "DELETE /clear accepted"},
		{"GET", "/health", "", "GET /health returning 200"},
		{"PUT", "/kv/", "value", "PUT /kv/ returning 400"},
		{"OPTIONS", "*", "", `OPTIONS "*" returning 404`},

		{"POST", "/clear%0A%1B", "", `POST "/clear\n\x1b" returning 404`},
		{"POST", "/kv/a%0A%1B", "", `POST /kv/"a\n\x1b" returning 405`},
		{"P!ST", "/" + long, "", `"P!ST" ` + cut(64, "/"+long) + " returning 404"},
		{long, "/kv/a", "", cut(64, long) + " /kv/a returning 405"},
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
		"two words, \u4e16\u754c":    "two words, 世界",
		"1\nGET /kv/a returning 200": `"1\nGET /kv/a returning 200"`,
		"\r\t\x00\x1b\u202e\u2028":   `"\r\t\x00\x1b\u202e\u2028"`,
		`"1"`:                        `"\"1\""`,
		long[:64]:                    long[:64],
		long[:65]:                    cut(64, long[:65]),
		worlds:                       cut(63, worlds),
		smiles:                       cut(64, smiles),
		"x" + smiles:                 cut(61, "x"+smiles),
		"xxx" + smiles:               cut(63, "xxx"+smiles),
		cut(64, long):                `"\"` + long[:63] + `"... (81 bytes)`,
	} {
		rows = append(rows, row{"PUT", "/kv/a", value, "PUT /kv/a accepted, value=" + shown})
	}

	s := start(t, setup{})
	c := s.connect(t)
	for _, row := range rows {
		c.Send(apitest.Request(row.method, row.target, row.body))
		c.Response(row.method)
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

// A failingStore cannot clear, and panics when it gets.
type failingStore struct{ Store }

func (failingStore) Clear(context.Context) error { return errors.New("disk on\nfire") }

func (failingStore) Get(context.Context, string) ([]byte, bool, error) {
	panic("\x1b[2J\nPUT /kv/a accepted, value=1")
}

// A quiet server logs no request, and still logs what goes wrong: an error of the store that
// has no status of its own, and a panic in a handler, which ends its connection and no other.
// No line of such a report looks like the line of a request.
func TestQuietLogsErrors(t *testing.T) {
	s := start(t, setup{Config: Config{Quiet: true}})
	s.fake.Store = failingStore{s.store}
	other, c := s.connect(t), s.connect(t)
	other.Want("PUT", "/kv/a", "value", 200, "")
	other.Want("DELETE", "/clear", "", 503, "store is unavailable")
	c.Send(apitest.Request("GET", "/kv/a", ""))
	c.WantEnd()
	other.Want("PUT", "/kv/a", "value", 200, "")
	cause, panics, _ := strings.Cut(s.end(t), "\n")
	if cause != "The store failed: disk on fire" {
		t.Errorf("the error of the store is logged as %q", cause)
	}
	lines := strings.Split(strings.TrimSpace(panics), "\n")
	if !strings.HasPrefix(lines[0], "net/http: http: panic serving") || lines[1] != "net/http: PUT /kv/a accepted, value=1" {
		t.Errorf("the panic is logged as\n%q\n%q", lines[0], lines[1])
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "net/http: ") || strings.ContainsAny(line, "\x1b\t") {
			t.Errorf("logged %q, want only a panic and its stack", line)
		}
	}
}

// A fakeWriter calls write, and keeps the first n bytes, where n is what write returns.
type fakeWriter struct {
	bytes.Buffer
	write func(p []byte) (int, error)
}

func (w *fakeWriter) Write(p []byte) (int, error) {
	n, err := w.write(p)
	w.Buffer.Write(p[:n])
	return n, err
}

// printLines logs a line with each number from first to end-1, and returns them as they
// should be written.
func printLines(l *Log, first, end int) string {
	var lines strings.Builder
	for n := first; n < end; n++ {
		line := fmt.Sprintf("line %d", n)
		l.Print(line)
		lines.WriteString(line + "\n")
	}
	return lines.String()
}

// While the writer blocks or fails, callers go on. The log keeps as many lines as fit, and
// reports how many it dropped once there is space.
func TestLogNeverWaitsForItsWriter(t *testing.T) {
	for fails, dropped := range map[bool]int{false: 1, true: 1000} {
		synctest.Test(t, func(t *testing.T) {
			space, free := context.WithCancel(t.Context())
			w := &fakeWriter{write: func(p []byte) (int, error) {
				if fails && space.Err() == nil {
					return 3, errors.New("no space left on device")
				}
				<-space.Done()
				return len(p), nil
			}}
			l := NewLog(w)
			want := printLines(l, 0, 1)
			time.Sleep(batchPause + 1)
			start := time.Now()
			want += printLines(l, 1, 1+maxWaiting)
			printLines(l, 0, dropped)
			wantTime(t, start, 0)
			free()
			time.Sleep(time.Second)
			want += printLines(l, 0, 1)
			l.Stop(t.Context())
			l.Stop(t.Context()) // a second call returns, too
			report := fmt.Sprintf("Log dropped %d lines\n", dropped)
			written, rest, found := strings.Cut(w.String(), report)
			if written+rest != want || !found {
				t.Errorf("%d bytes are written, want %d and once %q", w.Len(), len(want), report)
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
		want := printLines(l, 0, 1)
		time.Sleep(batchPause - 1)
		want += printLines(l, 1, 10)
		if synctest.Wait(); len(sizes) != 0 {
			t.Error("the log does not wait for more lines")
		}
		time.Sleep(time.Nanosecond)
		if synctest.Wait(); len(sizes) != 1 {
			t.Errorf("10 lines within the pause are written in %d batches", len(sizes))
		}
		want += printLines(l, 10, maxWaiting)
		start := time.Now()
		l.Stop(t.Context())
		wantTime(t, start, 0)
		batches, largest := len(sizes), 0
		for range batches {
			largest = max(largest, <-sizes)
		}
		if w.String() != want || batches > len(want)/maxBatch+2 || largest > maxBatch+100 { // a line more
			t.Errorf("%d bytes are written in %d batches of up to %d, want %d bytes", w.Len(), batches, largest, len(want))
		}
	})
}

// A write may take a part of a batch and then fail. The rest follows after a pause, so no
// line is glued to another, none is lost, and none is written twice. EAGAIN, the error of
// a pipe that is full, does not end the log, even after Stop.
func TestFailedWriteIsContinued(t *testing.T) {
	for _, failure := range []error{errors.New("no space left on device"), fmt.Errorf("write: %w", syscall.EAGAIN)} {
		for _, part := range []int{0, 1, 7} {
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
				want := printLines(l, 0, 10)
				time.Sleep(time.Second)
				want += printLines(l, 10, 20)
				if !errors.Is(failure, syscall.EAGAIN) {
					time.Sleep(time.Second)
				}
				l.Stop(t.Context())
				if w.String() != want {
					t.Errorf("%v after %d bytes: written %q, want %q", failure, part, w.String(), want)
				}
				for n, at := range times[1:] {
					if pause := at.Sub(times[n]); n%3 < 2 && pause != retryPause {
						t.Errorf("%v: the next write comes after %v, want %v", failure, pause, retryPause)
					}
				}
			})
		}
	}
}

// Stop of a log whose writer blocks, or whose pipe is full, waits until its context is done. If
// the writer fails, the log gives up.
func TestStopWithADeadWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wantStop := func(want time.Duration, write func([]byte) (int, error)) {
			t.Helper()
			for _, before := range []time.Duration{0, time.Second} {
				l := NewLog(&fakeWriter{write: write})
				l.Print("line")
				time.Sleep(before)
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				l.Stop(ctx)
				cancel()
				wantTime(t, start, want)
			}
		}
		end := t.Context() // of the test, and of the readers
		wantStop(time.Second, func([]byte) (int, error) { <-end.Done(); return 0, end.Err() })
		wantStop(time.Second, func([]byte) (int, error) { return 0, cmp.Or[error](end.Err(), syscall.EAGAIN) })
		wantStop(0, func([]byte) (int, error) { return 0, errors.New("broken pipe") })
		t.Cleanup(func() { time.Sleep(time.Second) }) // the owners end, or the bubble deadlocks
	})
}
