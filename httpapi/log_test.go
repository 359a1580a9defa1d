package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A server writes a line for each request. What a client sends can neither look like
// another line nor move the cursor of a terminal.
func TestLogLines(t *testing.T) {
	long := strings.Repeat("x", 100)
	cut := `"` + long[:64] + `"... (100 bytes)`
	// cutAt returns what is shown of a value that is cut after n bytes.
	cutAt := func(n int, value string) string {
		return fmt.Sprintf(`"%s"... (%d bytes)`, value[:n], len(value))
	}

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

		{"POST", "/clear%0A%1B", "", `POST "/clear\n\x1b" returning 404`},
		{"POST", "/kv/a%0A%1B", "", `POST "/kv/a\n\x1b" returning 405`},
		{"P!ST", "/" + long, "", `"P!ST" "/` + long[:63] + `"... (101 bytes) returning 404`},
		{strings.Repeat("M", 70), "/kv/a", "", `"` + strings.Repeat("M", 64) + `"... (70 bytes) /kv/a returning 405`},
	}
	for key, shown := range map[string]string{
		"a returning 200":                  `"a returning 200"`,
		"a\nGET /kv/b":                     `"a\nGET /kv/b"`,
		"\x1b[2J\x7f\u0085\u202e\xff":      `"\x1b[2J\x7f\u0085\u202e\xff"`,
		"\u00e9":                           `"é"`,
		`"a"`:                              `"\"a\""`,
		long + "/":                         `"` + long[:64] + `"... (101 bytes)`,
		strings.Repeat("x", 63) + "\u00e9": cutAt(63, strings.Repeat("x", 63)+"\u00e9"),
		strings.Repeat("\x80", 100):        `"` + strings.Repeat(`\x80`, 60) + `"... (100 bytes)`,
	} {
		rows = append(rows, row{"GET", "/kv/" + url.PathEscape(key), "", "GET /kv/" + shown + " returning 400"})
	}
	for value, shown := range map[string]string{
		"two words, \u4e16\u754c":                "two words, 世界",
		"1\nGET /kv/a returning 200":             `"1\nGET /kv/a returning 200"`,
		"\r\t\x00\x1b\u202e\u2028":               `"\r\t\x00\x1b\u202e\u2028"`,
		`"1"`:                                    `"\"1\""`,
		long[:64]:                                long[:64],
		long:                                     cut,
		cut:                                      `"\"` + long[:63] + `"... (81 bytes)`,
		"\n" + long:                              `"\n` + long[:63] + `"... (101 bytes)`,
		strings.Repeat("\u4e16", 22):             cutAt(63, strings.Repeat("\u4e16", 22)),
		"x" + strings.Repeat("\u4e16", 21) + "x": cutAt(64, "x"+strings.Repeat("\u4e16", 21)+"x"),
		"x" + strings.Repeat("\U0001f600", 20):   cutAt(61, "x"+strings.Repeat("\U0001f600", 20)),
		"xx" + strings.Repeat("\U0001f600", 20):  cutAt(62, "xx"+strings.Repeat("\U0001f600", 20)),
		"xxx" + strings.Repeat("\U0001f600", 20): cutAt(63, "xxx"+strings.Repeat("\U0001f600", 20)),
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

// A quiet server logs no request, and still logs what goes wrong.
func TestQuiet(t *testing.T) {
	s := start(t, setup{Config: Config{Quiet: true}, before: func(op, key string) error {
		if op == "Delete" {
			panic("a bug")
		}
		return nil
	}})
	c := s.connect(t)
	c.Want("PUT", "/kv/a", "value", 200, "")
	c.Want("GET", "/kv/b", "", 404, "key not found")
	c.Do("DELETE", "/kv/a", "")
	if logged := s.end(t); strings.Contains(logged, "/kv/") || !strings.Contains(logged, "net/http: http: panic serving") {
		t.Errorf("logged %q, want a panic and no request", logged)
	}
}

// Each line that net/http reports stays a line of its own, and none of them looks
// like the line of a request.
func TestLogOfNetHTTP(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(&out)
	go l.Run()
	log.New(l, "", 0).Printf("http: panic serving: \x1b[2J\nPUT /kv/a accepted, value=1\n\tmain.go:1")
	l.Stop(t.Context())
	want := "net/http: http: panic serving:  [2J\nnet/http: PUT /kv/a accepted, value=1\nnet/http:  main.go:1\n"
	if out.String() != want {
		t.Errorf("logged\n%q, want\n%q", out.String(), want)
	}
}

// A stuckWriter waits in each Write until release is closed.
type stuckWriter struct {
	bytes.Buffer
	release chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.release
	return w.Buffer.Write(p)
}

// While the writer is stuck, callers go on, and the log counts the lines that it
// can't keep.
func TestLogNeverWaitsForItsWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{release: make(chan struct{})}
		l := NewLog(w)
		go l.Run()

		l.Print("the line that is stuck")
		time.Sleep(2 * batchPause)
		const sent = maxBatch / 10 // lines, each longer than 10 bytes
		for range sent {
			l.Print("GET /kv/a returning 200") // the bubble deadlocks if this waits
		}

		close(w.release)
		l.Stop(t.Context())
		if first, _, _ := strings.Cut(w.String(), "\n"); first != "the line that is stuck" {
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
			t.Errorf("%d lines are written and %d counted as dropped, of %d", lines, dropped, sent)
		}
		if w.Len() > maxBatch+maxBatch/10 {
			t.Errorf("%d bytes were waiting, want at most about %d", w.Len(), maxBatch)
		}
	})
}

// Stop waits for a stuck writer until its context is done.
func TestStopOfAStuckLogReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{release: make(chan struct{})}
		l := NewLog(w)
		go l.Run()
		l.Print("the line that is stuck")
		synctest.Wait()

		for range 2 {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			l.Stop(ctx)
			cancel()
			if waited := time.Since(start); waited != time.Second {
				t.Errorf("Stop returns after %v, want 1s", waited)
			}
		}
		close(w.release) // Run returns, or the bubble deadlocks
	})
}

// A failingWriter fails while err is not nil.
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

func TestLogCountsWhatItCouldNotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &failingWriter{err: errors.New("broken pipe")}
		l := NewLog(w)
		go l.Run()
		for range 3 {
			for range 4 {
				l.Print("lost")
			}
			time.Sleep(2 * batchPause)
			synctest.Wait()
		}
		w.err = nil
		l.Print("seen")
		l.Stop(t.Context())
		if want := "seen\nLog dropped 12 lines\n"; w.String() != want {
			t.Errorf("logged %q, want %q", w.String(), want)
		}
	})
}

// A floodingWriter fails once, while more lines are logged than fit.
type floodingWriter struct {
	failingWriter
	log   *Log
	lines int
}

func (w *floodingWriter) Write(p []byte) (int, error) {
	if w.lines > 0 {
		return w.Buffer.Write(p)
	}
	for range 2 * maxBatch / 1000 {
		w.log.Print(strings.Repeat("x", 1000))
		w.lines++
	}
	return 0, errors.New("broken pipe")
}

func TestLogCountsWhatItDroppedWhileItCouldNotWrite(t *testing.T) {
	w := &floodingWriter{}
	l := NewLog(w)
	w.log = l
	l.Print("lost")
	go l.Run()
	l.Stop(t.Context()) // a second Run writes what the first could not
	l.ended = make(chan struct{})
	l.quit <- struct{}{}
	l.Run()

	written, dropped := strings.Count(w.String(), "x\n"), 0
	fmt.Sscanf(w.String()[strings.LastIndex(w.String(), "Log"):], "Log dropped %d lines", &dropped)
	if written == 0 || written+dropped != w.lines+1 {
		t.Errorf("%d lines are written and %d dropped, want %d in all", written, dropped, w.lines+1)
	}
}

// Lines that are logged before Stop are written when Stop returns.
func TestStopWritesAllLines(t *testing.T) {
	for range 100 {
		var out bytes.Buffer
		l := NewLog(&out)
		go l.Run()
		for i := range 10 {
			l.Print(fmt.Sprint("line ", i))
		}
		l.Stop(t.Context())
		l.Stop(t.Context()) // a second call does nothing
		if n := strings.Count(out.String(), "line"); n != 10 {
			t.Fatalf("%d of 10 lines are written", n)
		}
	}
}

// A goroutine that panicked while it had the batch would stop all requests after it.
// So nothing is called between the statements that take the batch out of its channel
// and put it back, except len and append.
func TestBatchIsTakenForTheCopyAlone(t *testing.T) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "log.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	isBatch := func(x ast.Expr) bool {
		sel, ok := x.(*ast.SelectorExpr)
		return ok && sel.Sel.Name == "batch"
	}
	taken := 0
	ast.Inspect(file, func(n ast.Node) bool {
		block, ok := n.(*ast.BlockStmt)
		if !ok {
			return true
		}
		held := false
		for _, stmt := range block.List {
			if send, ok := stmt.(*ast.SendStmt); ok && isBatch(send.Chan) {
				held = false
			}
			ast.Inspect(stmt, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if name, _ := n.Fun.(*ast.Ident); held && (name == nil || name.Name != "len" && name.Name != "append") {
						t.Errorf("%v: a call while the batch is taken", files.Position(n.Pos()))
					}
				case *ast.BlockStmt:
					return held // the blocks in which nothing is held are visited by themselves
				}
				return true
			})
			if assign, ok := stmt.(*ast.AssignStmt); ok {
				if receive, ok := assign.Rhs[0].(*ast.UnaryExpr); ok && receive.Op == token.ARROW && isBatch(receive.X) {
					held = true
					taken++
				}
			}
		}
		if held {
			t.Errorf("%v: a block ends and has not put the batch back", files.Position(block.End()))
		}
		return true
	})
	if taken == 0 {
		t.Error("log.go never takes the batch: this test looks for the wrong thing")
	}
}

// The cost of a line for the handler that logs it.
func BenchmarkLog(b *testing.B) {
	l := NewLog(io.Discard)
	b.ReportAllocs()
	for b.Loop() {
		key := excerpt("kenya:capital", isPathRune)
		l.add(appendLine(make([]byte, 0, 256), http.MethodGet, "/kv/"+key, ok))
		held := <-l.batch
		l.batch <- batch{text: held.text[:0]} // or it would be full soon
	}
}
