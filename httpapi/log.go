package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	logRoom  = 8192                 // lines that can wait for the writer
	logPause = 5 * time.Millisecond // in which lines gather before a write
	logShown = 64                   // bytes of a key, a value or a path; the rest is cut
)

// A Log writes lines to a writer that one goroutine, Run, owns. Its methods may
// be called by any goroutine. They never wait for the writer: a line for which
// there is no room is dropped, and the log says how many were once it can.
type Log struct {
	lines   chan *line
	dropped chan int  // holds one number; it belongs to whoever takes it out
	blank   sync.Pool // of *line that nobody else knows of
	w       io.Writer
}

// A line is the message from a handler to the owner of the log. Sending it
// gives it away.
type line struct {
	text []byte
}

// NewLog returns a log that will write to w once Run is called.
func NewLog(w io.Writer) *Log {
	l := &Log{
		lines:   make(chan *line, logRoom),
		dropped: make(chan int, 1),
		blank:   sync.Pool{New: func() any { return new(line) }},
		w:       w,
	}
	l.dropped <- 0
	return l
}

// Print logs text, which must be one line.
func (l *Log) Print(text string) {
	ln := l.blank.Get().(*line)
	ln.text = append(ln.text[:0], text...)
	l.send(ln)
}

// Write implements io.Writer for the ErrorLog of an http.Server. What net/http
// reports may quote a client: each line is marked, and can't pass for another.
func (l *Log) Write(report []byte) (int, error) {
	for text := range strings.Lines(string(report)) {
		l.Print("net/http: " + strings.TrimRight(strings.Map(printable, text), " "))
	}
	return len(report), nil
}

// request logs the answer to a request of a route. Path is the route's own, and
// key follows it.
func (l *Log) request(method, path, key string, ans answer) {
	if l == nil {
		return
	}
	ln := l.blank.Get().(*line)
	text := append(ln.text[:0], method...)
	text = append(text, ' ')
	text = append(text, path...)
	text = appendExcerpt(text, key, isPathRune)
	switch {
	case ans.status != http.StatusOK || method == http.MethodGet:
		text = appendStatus(text, ans.status)
	case method == http.MethodPut:
		text = append(text, " accepted, value="...)
		text = appendExcerpt(text, ans.stored, isTextRune)
	default:
		text = append(text, " accepted"...)
	}
	ln.text = text
	l.send(ln)
}

// refusal logs the answer to a request of no route. Method and path are what
// the client sent.
func (l *Log) refusal(method, path string, ans answer) {
	if l == nil {
		return
	}
	ln := l.blank.Get().(*line)
	text := appendExcerpt(ln.text[:0], method, isPathRune)
	text = append(text, ' ')
	text = appendExcerpt(text, path, isPathRune)
	ln.text = appendStatus(text, ans.status)
	l.send(ln)
}

// send hands ln to the owner, or drops it.
func (l *Log) send(ln *line) {
	select {
	case l.lines <- ln:
	default:
		l.blank.Put(ln)
		l.drop(1)
	}
}

func (l *Log) drop(n int) {
	l.dropped <- n + <-l.dropped
}

// Run is the owner of the writer: it writes the lines that are sent, until ctx
// ends and those sent before are written. Call it once.
func (l *Log) Run(ctx context.Context) {
	var page []byte // what the next write will write
	var count int   // of the lines on it
	add := func(ln *line) {
		page = append(append(page, ln.text...), '\n')
		count++
		l.blank.Put(ln)
	}

	for ended := false; !ended; {
		select {
		case ln := <-l.lines:
			add(ln)
			time.Sleep(logPause)
		case <-ctx.Done():
		}
		ended = ctx.Err() != nil // if so, all lines that count have been sent
		for range len(l.lines) {
			add(<-l.lines)
		}
		dropped := <-l.dropped
		l.dropped <- 0
		if dropped > 0 {
			page = fmt.Appendf(page, "Log dropped %d lines\n", dropped)
		}

		if _, err := l.w.Write(page); err != nil {
			l.drop(dropped + count)
		}
		page, count = page[:0], 0
	}
}

func appendStatus(text []byte, status int) []byte {
	return strconv.AppendInt(append(text, " returning "...), int64(status), 10)
}

// appendExcerpt appends what a client sent: as it is, if it is short and each
// rune is plain, else quoted, and with its length where it is cut.
func appendExcerpt[T string | []byte](text []byte, sent T, plain func(rune) bool) []byte {
	shown := string(sent[:min(len(sent), logShown)])
	cut := len(shown) < len(sent)
	if !cut && !strings.ContainsFunc(shown, func(r rune) bool { return !plain(r) }) {
		return append(text, shown...)
	}
	text = strconv.AppendQuote(text, shown)
	if cut {
		text = append(text, "... ("...)
		text = strconv.AppendInt(text, int64(len(sent)), 10)
		text = append(text, " bytes)"...)
	}
	return text
}

// isPathRune reports whether r is plain in a method, a path or a key.
func isPathRune(r rune) bool {
	return r < 0x80 && isKeyByte(byte(r)) || r == '/'
}

// isTextRune reports whether r is plain in a value. A quotation mark is not: a
// value must not pass for one that is quoted.
func isTextRune(r rune) bool {
	return strconv.IsPrint(r) && r != '"'
}

// printable returns r, or a space if r doesn't print.
func printable(r rune) rune {
	if strconv.IsPrint(r) {
		return r
	}
	return ' '
}
