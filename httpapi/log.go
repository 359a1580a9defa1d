package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

const (
	maxWaiting = 16 << 10              // lines that can wait to be written; others are dropped
	maxBatch   = 64 << 10              // bytes of lines that are written at once
	batchPause = 5 * time.Millisecond  // how long lines gather before they are written
	retryPause = 50 * time.Millisecond // how long the log waits after a write that failed
	maxShown   = 64                    // bytes of a key, a value or a path; the rest is cut
)

// A Log writes lines to a writer, which belongs to one goroutine, the owner. Any
// goroutine may call the methods of a Log.
//
// The log is the counterpart of the store. Senders wait for the store, and no request
// is lost. No sender waits for the log: its channel has a buffer, and a line that does
// not fit is dropped. The log says how many lines it dropped when it can write again.
type Log struct {
	lines   chan string   // from any goroutine to the owner
	dropped chan int      // holds the number of dropped lines not yet reported
	quit    chan struct{} // closed by Stop
	ended   chan struct{} // closed when the owner has ended
}

// NewLog returns a log that writes to w, and starts its owner. Call Stop to end the
// owner.
func NewLog(w io.Writer) *Log {
	l := &Log{
		lines:   make(chan string, maxWaiting),
		dropped: make(chan int, 1),
		quit:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
	l.dropped <- 0
	go l.run(w)
	return l
}

// Print logs text, which must be one line. A line that is logged after Stop is lost.
func (l *Log) Print(text string) {
	select {
	case l.lines <- text:
	default:
		n := <-l.dropped // no other goroutine has the number now
		l.dropped <- n + 1
	}
}

// Write implements io.Writer for the ErrorLog of an http.Server. What net/http
// reports may quote a client, so each line gets a prefix and cannot be mistaken
// for a line about a request.
func (l *Log) Write(report []byte) (int, error) {
	for line := range strings.Lines(string(report)) {
		l.Print("net/http: " + strings.TrimRight(strings.Map(printable, line), " "))
	}
	return len(report), nil
}

// Stop writes the lines that were logged before and ends the owner. It waits for
// that until ctx is done, because the writer may block. Call it once.
func (l *Log) Stop(ctx context.Context) {
	close(l.quit)
	select {
	case <-l.ended:
	case <-ctx.Done():
	}
}

// run is the owner's loop.
func (l *Log) run(w io.Writer) {
	defer close(l.ended)
	for {
		batch := l.gather()
		if len(batch) == 0 {
			return // Stop was called, and nothing is left
		}
		for stopping := false; len(batch) > 0; {
			n, err := w.Write(batch)
			batch = batch[n:] // w may take a part and then fail
			switch {
			case err == nil:
			case errors.Is(err, syscall.EAGAIN): // a full pipe, which may have a reader
				time.Sleep(retryPause)
			case stopping: // w still fails after Stop
				return
			default:
				stopping = l.pause(retryPause)
			}
		}
	}
}

// gather waits for a line, lets more lines gather, and returns them. After Stop it does
// not wait, and returns nothing if there are no lines.
func (l *Log) gather() []byte {
	var batch []byte
	select {
	case line := <-l.lines:
		batch = append(append(batch, line...), '\n')
		l.pause(batchPause)
	case <-l.quit:
	}
	for len(l.lines) > 0 && len(batch) < maxBatch { // only the owner receives: the lines are there
		batch = append(append(batch, <-l.lines...), '\n')
	}
	n := <-l.dropped
	l.dropped <- 0
	if n > 0 {
		batch = fmt.Appendf(batch, "Log dropped %d lines\n", n)
	}
	return batch
}

// pause waits for d or until Stop is called. It reports whether Stop was called.
func (l *Log) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return false
	case <-l.quit:
		return true
	}
}

// requestLine returns the line about a request and its response.
func requestLine(method, path string, resp response) string {
	prefix := ""
	if key, found := strings.CutPrefix(path, "/kv/"); found {
		prefix, path = "/kv/", key
	}
	outcome := " accepted"
	switch {
	case resp.status != http.StatusOK || method == http.MethodGet:
		outcome = " returning " + strconv.Itoa(resp.status)
	case method == http.MethodPut:
		outcome = " accepted, value=" + resp.stored
	}
	return excerpt(method, isPathRune) + " " + prefix + excerpt(path, isPathRune) + outcome
}

// excerpt returns what the log shows of something that a client sent. It is all of
// it if it is short and every rune is plain. Otherwise it is quoted, and if it is
// long it is cut between two runes and its length is added.
func excerpt[T string | []byte](sent T, plain func(rune) bool) string {
	cut := min(len(sent), maxShown)
	for cut < len(sent) && cut > maxShown-utf8.UTFMax && !utf8.RuneStart(sent[cut]) {
		cut--
	}
	shown := string(sent[:cut])
	switch {
	case cut < len(sent):
		return fmt.Sprintf("%q... (%d bytes)", shown, len(sent))
	case strings.ContainsFunc(shown, func(r rune) bool { return !plain(r) }):
		return strconv.Quote(shown)
	default:
		return shown
	}
}

// isPathRune reports whether r is plain in a method, a path or a key.
func isPathRune(r rune) bool {
	return r < utf8.RuneSelf && isKeyByte(byte(r)) || r == '/'
}

// isTextRune reports whether r is plain in a value. A quotation mark is not, so
// that no value looks like one that is quoted.
func isTextRune(r rune) bool {
	return strconv.IsPrint(r) && r != '"'
}

// printable returns r, or a space if r does not print.
func printable(r rune) rune {
	if strconv.IsPrint(r) {
		return r
	}
	return ' '
}
