package httpapi

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	logRoom  = 8192                 // lines that can wait for the writer
	logPause = 5 * time.Millisecond // in which lines gather before a write
)

// A Log writes lines to a writer that one goroutine, Run, owns. Its methods may
// be called by any goroutine. They never wait for the writer: a line for which
// there is no room is dropped, and the log says how many were once it can.
type Log struct {
	lines   chan line
	dropped chan int // holds one number; it belongs to whoever takes it out
	w       io.Writer
}

// NewLog returns a log that will write to w once Run is called.
func NewLog(w io.Writer) *Log {
	l := &Log{
		lines:   make(chan line, logRoom),
		dropped: make(chan int, 1),
		w:       w,
	}
	l.dropped <- 0
	return l
}

// Print logs text as a line of its own.
func (l *Log) Print(text string) {
	l.send(line{text: text})
}

// Write implements io.Writer for the ErrorLog of an http.Server. What net/http
// reports may quote a client: each line is marked, and cannot pass for another.
func (l *Log) Write(report []byte) (int, error) {
	for text := range strings.Lines(string(report)) {
		l.Print("net/http: " + printable(strings.TrimRight(text, "\n")))
	}
	return len(report), nil
}

// request logs the answer to a request of a route. Path is the route's own, and
// key follows it.
func (l *Log) request(method, path, key string, ans answer) {
	if l == nil {
		return
	}
	l.send(line{
		method: method,
		path:   path,
		key:    excerptOf(key),
		status: ans.status,
		stored: excerptOf(ans.stored),
	})
}

// refusal logs the answer to a request of no route. Method and path are what
// the client sent.
func (l *Log) refusal(method, path string, ans answer) {
	if l == nil {
		return
	}
	var text []byte
	text = excerptOf(method).append(text, isPathRune)
	text = append(text, ' ')
	text = excerptOf(path).append(text, isPathRune)
	text = append(text, " returning "...)
	text = strconv.AppendInt(text, int64(ans.status), 10)
	l.Print(string(text))
}

// send hands ln to the owner, or drops it.
func (l *Log) send(ln line) {
	select {
	case l.lines <- ln:
	default:
		l.drop(1)
	}
}

func (l *Log) drop(n int) {
	l.dropped <- n + <-l.dropped
}

// Run is the owner of the writer: it writes the lines that are sent, until ctx
// ends and those sent before are written. Call it once.
func (l *Log) Run(ctx context.Context) {
	var page []byte
	for ctx.Err() == nil {
		select {
		case first := <-l.lines:
			page = first.append(page[:0])
			// A write for each line would cost more than all else in here.
			time.Sleep(logPause)
			page = l.writeAll(page, 1)
		case <-ctx.Done():
		}
	}
	l.writeAll(page[:0], 0)
}

// writeAll writes page, which has n lines so far, and all that are waiting. It
// returns page to be used again. Only the owner may call it.
func (l *Log) writeAll(page []byte, n int) []byte {
	for range len(l.lines) {
		page = (<-l.lines).append(page)
		n++
	}

	dropped := <-l.dropped
	l.dropped <- 0
	if dropped > 0 {
		page = append(page, "Log dropped "...)
		page = strconv.AppendInt(page, int64(dropped), 10)
		page = append(page, " lines\n"...)
	}

	if _, err := l.w.Write(page); err != nil {
		l.drop(n + dropped)
	}
	return page
}

// A line is the message from a handler to the owner of the log. Of what a
// client sent it has excerpts, not references: a line that waits must not keep
// a request or a value in memory.
type line struct {
	text string // the whole line, or empty if it is a request's:

	method, path string
	key          excerpt
	status       int
	stored       excerpt
}

func (ln line) append(page []byte) []byte {
	switch {
	case ln.text != "":
		page = append(page, ln.text...)
	default:
		page = append(page, ln.method...)
		page = append(page, ' ')
		page = append(page, ln.path...)
		page = ln.key.append(page, isPathRune)
		switch {
		case ln.status != http.StatusOK || ln.method == http.MethodGet:
			page = append(page, " returning "...)
			page = strconv.AppendInt(page, int64(ln.status), 10)
		case ln.method == http.MethodPut:
			page = append(page, " accepted, value="...)
			page = ln.stored.append(page, isTextRune)
		default:
			page = append(page, " accepted"...)
		}
	}
	return append(page, '\n')
}

// An excerpt is the beginning of something that a client sent.
type excerpt struct {
	start  [64]byte
	length int // of the whole
}

func excerptOf[T string | []byte](whole T) excerpt {
	e := excerpt{length: len(whole)}
	copy(e.start[:], whole)
	return e
}

// append appends e as it is, if that is the whole and each rune is plain; else
// quoted, and with its length where it is cut.
func (e excerpt) append(page []byte, plain func(rune) bool) []byte {
	shown := e.start[:min(e.length, len(e.start))]
	cut := len(shown) < e.length
	if !cut && !strings.ContainsFunc(string(shown), func(r rune) bool { return !plain(r) }) {
		return append(page, shown...)
	}
	page = strconv.AppendQuote(page, string(shown))
	if cut {
		page = append(page, "... ("...)
		page = strconv.AppendInt(page, int64(e.length), 10)
		page = append(page, " bytes)"...)
	}
	return page
}

// isPathRune reports whether r is plain in a method, a path or a key.
func isPathRune(r rune) bool {
	return r < 0x80 && isKeyByte(byte(r)) || r == '/'
}

// isTextRune reports whether r is plain in a value. A quotation mark is not, so
// that a value can't pass for one that is quoted.
func isTextRune(r rune) bool {
	return strconv.IsPrint(r) && r != '"'
}

// printable returns text with whatever doesn't print as a space.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
