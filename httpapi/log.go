package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	logRoom  = 1 << 20              // bytes of lines that can wait for the writer
	logPause = 5 * time.Millisecond // in which lines gather before a write
	logShown = 64                   // bytes of a key, a value or a path; the rest is cut
)

// A Log writes lines to a writer that one goroutine, Run, owns. Its methods may
// be called by any goroutine. They never wait for the writer: a line for which
// there is no room is dropped, and the log says how many were once it can.
//
// Lines gather on a page that goes from hand to hand: a handler takes it out of
// its channel, adds a line, and puts it back. Run takes it for good, and leaves
// a blank one.
type Log struct {
	page  chan page     // holds the page; it belongs to whoever takes it out
	added chan struct{} // holds a token if lines were added since Run looked
	w     io.Writer
}

// A page is what is to be written next.
type page struct {
	text    []byte
	lines   int // in text
	dropped int // for which there was no room, or which could not be written
}

// NewLog returns a log that will write to w once Run is called.
func NewLog(w io.Writer) *Log {
	l := &Log{
		page:  make(chan page, 1),
		added: make(chan struct{}, 1),
		w:     w,
	}
	l.page <- page{}
	return l
}

// Print logs text, which must be one line.
func (l *Log) Print(text string) {
	l.add(func(to []byte) []byte { return append(to, text...) })
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
	l.add(func(to []byte) []byte {
		to = append(to, method...)
		to = append(to, ' ')
		to = append(to, path...)
		to = appendExcerpt(to, key, isPathRune)
		switch {
		case ans.status != http.StatusOK || method == http.MethodGet:
			return appendStatus(to, ans.status)
		case method == http.MethodPut:
			return appendExcerpt(append(to, " accepted, value="...), ans.stored, isTextRune)
		default:
			return append(to, " accepted"...)
		}
	})
}

// refusal logs the answer to a request of no route. Method and path are what
// the client sent.
func (l *Log) refusal(method, path string, ans answer) {
	if l == nil {
		return
	}
	l.add(func(to []byte) []byte {
		to = appendExcerpt(to, method, isPathRune)
		to = append(to, ' ')
		to = appendExcerpt(to, path, isPathRune)
		return appendStatus(to, ans.status)
	})
}

// add puts a line on the page, the one that appendLine appends, or drops it.
func (l *Log) add(appendLine func(to []byte) []byte) {
	p := <-l.page
	if len(p.text) < logRoom {
		p.text = append(appendLine(p.text), '\n')
		p.lines++
	} else {
		p.dropped++
	}
	l.page <- p

	select {
	case l.added <- struct{}{}:
	default: // there is a token already
	}
}

// Run is the owner of the writer: it writes the lines that are added, until ctx
// ends and those added before are written. Call it once.
func (l *Log) Run(ctx context.Context) {
	var blank []byte // for the page after this one
	for ended := false; !ended; {
		select {
		case <-l.added:
			time.Sleep(logPause)
		case <-ctx.Done():
		}
		ended = ctx.Err() != nil // if so, all lines that count have been added

		p := <-l.page
		l.page <- page{text: blank}
		if p.dropped > 0 {
			p.text = fmt.Appendf(p.text, "Log dropped %d lines\n", p.dropped)
		}
		if _, err := l.w.Write(p.text); err != nil {
			next := <-l.page
			next.dropped += p.dropped + p.lines
			l.page <- next
		}
		blank = p.text[:0]
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
