package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// logged returns what is written of the lines that use logs.
func logged(use func(*Log)) string {
	var out bytes.Buffer
	l := NewLog(&out)
	ctx, stop := context.WithCancel(context.Background())
	use(l)
	stop()
	l.Run(ctx)
	return out.String()
}

func TestLogLines(t *testing.T) {
	long := strings.Repeat("x", 100)
	start := `"` + long[:64] + `"... (100 bytes)`
	put := func(value string) answer { return answer{status: 200, stored: []byte(value)} }

	for _, test := range []struct {
		method, path, key string
		ans               answer
		want              string
	}{
		{"PUT", "/kv/", "kenya:capital", put("Nairobi"), "PUT /kv/kenya:capital accepted, value=Nairobi"},
		{"GET", "/kv/", "kenya:capital", done, "GET /kv/kenya:capital returning 200"},
		{"DELETE", "/kv/", "kenya:capital", done, "DELETE /kv/kenya:capital accepted"},
		{"GET", "/kv/", "kenya:capital", keyNotFound, "GET /kv/kenya:capital returning 404"},
		{"DELETE", "/clear", "", done, "DELETE /clear accepted"},
		{"GET", "/health", "", done, "GET /health returning 200"},
		{"PUT", "/kv/", "a", storeFull, "PUT /kv/a returning 507"},
		{"PUT", "/kv/", "", keyEmpty, "PUT /kv/ returning 400"},
		{"DELETE", "/kv/", "", keyEmpty, "DELETE /kv/ returning 400"},

		{"GET", "/kv/", "a returning 200", keyInvalid, `GET /kv/"a returning 200" returning 400`},
		{"GET", "/kv/", "a\nGET /kv/b", keyInvalid, `GET /kv/"a\nGET /kv/b" returning 400`},
		{"GET", "/kv/", "\x1b[2J\x7f\u0085\u202e\xff", keyInvalid, `GET /kv/"\x1b[2J\x7f\u0085\u202e\xff" returning 400`},
		{"GET", "/kv/", "\u00e9", keyInvalid, `GET /kv/"é" returning 400`},
		{"GET", "/kv/", long, keyNotFound, "GET /kv/" + start + " returning 404"},

		{"PUT", "/kv/", "a", put("two words, \u4e16\u754c"), "PUT /kv/a accepted, value=two words, 世界"},
		{"PUT", "/kv/", "a", put("1\nGET /kv/a returning 200"), `PUT /kv/a accepted, value="1\nGET /kv/a returning 200"`},
		{"PUT", "/kv/", "a", put("\r\t\x00\x1b\u202e\u2028"), `PUT /kv/a accepted, value="\r\t\x00\x1b\u202e\u2028"`},
		{"PUT", "/kv/", "a", put(start), fmt.Sprintf(`PUT /kv/a accepted, value=%q... (81 bytes)`, start[:64])},
		{"PUT", "/kv/", "a", put(`"1"`), `PUT /kv/a accepted, value="\"1\""`},
		{"PUT", "/kv/", "a", put(long[:64]), "PUT /kv/a accepted, value=" + long[:64]},
		{"PUT", "/kv/", "a", put(long), "PUT /kv/a accepted, value=" + start},
	} {
		got := logged(func(l *Log) { l.request(test.method, test.path, test.key, test.ans) })
		if got != test.want+"\n" {
			t.Errorf("logged\n%q, want\n%q", got, test.want+"\n")
		}
	}

	for _, test := range []struct{ method, path, want string }{
		{"POST", "/kv/a", "POST /kv/a returning 405"},
		{"POST", "/kv/a\n\x1b", `POST "/kv/a\n\x1b" returning 405`},
		{"POST", "*", `POST "*" returning 405`},
		{"P\u00f6ST", "/" + long, `"PöST" "/` + long[:63] + `"... (101 bytes) returning 405`},
	} {
		got := logged(func(l *Log) { l.refusal(test.method, test.path, methodNotAllowed) })
		if got != test.want+"\n" {
			t.Errorf("logged\n%q, want\n%q", got, test.want+"\n")
		}
	}
}

// run runs l, and returns a function that ends it and waits until it has ended.
func run(l *Log) (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	return func() {
		stop()
		<-ended
	}
}

// What net/http has to say keeps its lines, but none of them can be one of ours.
func TestLogOfTheServer(t *testing.T) {
	got := logged(func(l *Log) {
		log.New(l, "", 0).Printf("http: panic serving: \x1b[2J\nPUT /kv/a accepted, value=1\n\tmain.go:1")
	})
	want := "net/http: http: panic serving:  [2J\nnet/http: PUT /kv/a accepted, value=1\nnet/http:  main.go:1\n"
	if got != want {
		t.Errorf("logged\n%q, want\n%q", got, want)
	}
}

// A stuckWriter waits in each Write until it is released.
type stuckWriter struct {
	bytes.Buffer
	release chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.release
	return w.Buffer.Write(p)
}

// While nobody reads the log, handlers go on, and what can't be kept is counted.
func TestLogNeverHoldsUpARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{release: make(chan struct{})}
		l := NewLog(w)
		end := run(l)

		l.Print("the one that is stuck")
		time.Sleep(2 * logPause)  // of the bubble, which takes no time
		const sent = logRoom / 10 // lines, each longer than 10 bytes
		for range sent {
			l.request(http.MethodGet, "/kv/", "a", done) // in this goroutine: it can't wait
		}

		close(w.release)
		end()
		if first, _, _ := strings.Cut(w.String(), "\n"); first != "the one that is stuck" {
			t.Errorf("first line %q: it was changed while it was written", first)
		}
		lines := strings.Count(w.String(), "returning 200")
		dropped := 0
		for _, line := range regexp.MustCompile(`Log dropped (\d+) lines\n`).FindAllStringSubmatch(w.String(), -1) {
			var n int
			fmt.Sscan(line[1], &n)
			dropped += n
		}
		if lines == 0 || dropped == 0 || lines+dropped != sent {
			t.Errorf("%d lines, and %d dropped, of %d", lines, dropped, sent)
		}
	})
}

// A failingWriter fails until it is told not to.
type failingWriter struct {
	bytes.Buffer
	err error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	return w.Buffer.Write(p)
}

func TestLogCountsWhatCouldNotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &failingWriter{err: errors.New("broken pipe")}
		l := NewLog(w)
		end := run(l)
		for range 3 {
			for range 4 {
				l.Print("lost")
			}
			time.Sleep(2 * logPause) // of the bubble, which takes no time
			synctest.Wait()
		}
		w.err = nil
		l.Print("seen")
		end()
		if want := "seen\nLog dropped 12 lines\n"; w.String() != want {
			t.Errorf("logged %q, want %q", w.String(), want)
		}
	})
}

// Lines that are sent before the end are written before the end.
func TestLogIsWrittenBeforeItEnds(t *testing.T) {
	for range 100 {
		var out bytes.Buffer
		l := NewLog(&out)
		end := run(l)
		for i := range 10 {
			l.Print(fmt.Sprint("line ", i))
		}
		end()
		if n := strings.Count(out.String(), "line"); n != 10 {
			t.Fatalf("%d of 10 lines are written", n)
		}
	}
}

// What a line costs the handler that adds it.
func BenchmarkLog(b *testing.B) {
	l := NewLog(io.Discard)
	b.ReportAllocs()
	for b.Loop() {
		l.request(http.MethodGet, "/kv/", "kenya:capital", done)
		p := <-l.page
		l.page <- page{text: p.text[:0]} // or it would be full soon
	}
}
