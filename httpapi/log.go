package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxBatch   = 1 << 20              // bytes of lines that can wait to be written
	batchPause = 5 * time.Millisecond // how long Run lets lines gather before it writes them
	maxShown   = 64                   // bytes of a key, a value or a path; the rest is cut
)

// A Log writes lines to a writer, which belongs to the goroutine that calls Run. Any
// goroutine may call the other methods. They never wait for the writer: when too many
// lines are waiting to be written, new ones are dropped, and the log says how many.
//
// The lines gather in a batch, which goroutines pass from hand to hand through a
// channel of capacity one. A goroutine takes the batch out of the channel, appends
// a line, and puts the batch back. Other goroutines cannot reach the batch in that
// time, and wait for it: such a channel is a mutex that carries the data that it
// protects.
type Log struct {
	batch chan batch
	added chan struct{} // holds a token if lines were added since Run last looked
	quit  chan struct{} // holds a token if Stop was called
	ended chan struct{} // closed when Run returns
	w     io.Writer
}

// A batch is what is written next.
type batch struct {
	text    []byte
	lines   int // in text
	dropped int // lines that did not fit or could not be written
}

// NewLog returns a log that writes to w while Run runs.
func NewLog(w io.Writer) *Log {
	l := &Log{
		batch: make(chan batch, 1),
		added: make(chan struct{}, 1),
		quit:  make(chan struct{}, 1),
		ended: make(chan struct{}),
		w:     w,
	}
	l.batch <- batch{}
	return l
}

// Print logs text, which must be one line.
func (l *Log) Print(text string) { l.add([]byte(text)) }

// Write implements io.Writer for the ErrorLog of an http.Server. What net/http
// reports may quote a client, so each line gets a prefix and cannot be mistaken
// for a line about a request.
func (l *Log) Write(report []byte) (int, error) {
	for line := range strings.Lines(string(report)) {
		l.Print("net/http: " + strings.TrimRight(strings.Map(printable, line), " "))
	}
	return len(report), nil
}

// add appends line to the batch, or drops it. The batch is out of the channel only
// while line is copied, and nothing that can fail happens in that time.
func (l *Log) add(line []byte) {
	b := <-l.batch
	if len(b.text) < maxBatch {
		b.text = append(append(b.text, line...), '\n')
		b.lines++
	} else {
		b.dropped++
	}
	l.batch <- b

	select {
	case l.added <- struct{}{}:
	default: // there is a token already
	}
}

// Run writes the lines that are added, until Stop is called and the lines from
// before are written. Call it once, usually in a goroutine of its own.
func (l *Log) Run() {
	defer close(l.ended)

	var spare []byte // the memory of the last batch, for the next one
	for quit := false; !quit; {
		select {
		case <-l.added:
			time.Sleep(batchPause)
		case <-l.quit:
			quit = true
		}

		b := <-l.batch
		l.batch <- batch{text: spare}
		if b.dropped > 0 {
			b.text = fmt.Appendf(b.text, "Log dropped %d lines\n", b.dropped)
		}
		if _, err := l.w.Write(b.text); err != nil {
			next := <-l.batch
			next.dropped += b.dropped + b.lines
			l.batch <- next
		}
		spare = b.text[:0]
	}
}

// Stop makes Run write what was added before and return. It waits for that until
// ctx is done, because the writer may block.
func (l *Log) Stop(ctx context.Context) {
	select {
	case l.quit <- struct{}{}:
	default: // Stop was called before
	}
	select {
	case <-l.ended:
	case <-ctx.Done():
	}
}

// appendLine appends the line about a request and its response. Method and path
// are excerpts of what the client sent.
func appendLine(line []byte, method, path string, resp response) []byte {
	line = append(line, method...)
	line = append(line, ' ')
	line = append(line, path...)
	if resp.status != http.StatusOK || method == http.MethodGet {
		line = append(line, " returning "...)
		return strconv.AppendInt(line, int64(resp.status), 10)
	}
	line = append(line, " accepted"...)
	if method == http.MethodPut {
		line = append(line, ", value="...)
		line = append(line, resp.stored...)
	}
	return line
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
