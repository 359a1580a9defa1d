package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

const (
	maxWaiting = 16 << 10              // lines that can wait to be written; others are dropped
	maxBatch   = 64 << 10              // bytes of lines that are written at once
	batchPause = 5 * time.Millisecond  // how long lines gather before they are written
	retryPause = 50 * time.Millisecond // how long the log waits after a write that failed
)

// A Log writes lines to a writer, which belongs to one goroutine, the owner. Any
// goroutine may call the methods of a Log.
//
// The log is the counterpart of the store. Senders wait for the store, and no request
// is lost. No sender waits for the writer: the channel has a buffer, and a line that does
// not fit is dropped. The log says how many lines it dropped when it can write again.
type Log struct {
	lines   chan string   // from any goroutine to the owner
	dropped chan int      // holds the number of dropped lines not yet reported
	ended   chan struct{} // closed when the owner has ended

	stopping context.Context    // done when Stop has been called
	stop     context.CancelFunc // makes stopping done; it may be called again
}

// NewLog returns a log that writes to w, and starts its owner. Call Stop to end the
// owner.
func NewLog(w io.Writer) *Log {
	l := &Log{
		lines:   make(chan string, maxWaiting),
		dropped: make(chan int, 1),
		ended:   make(chan struct{}),
	}
	l.stopping, l.stop = context.WithCancel(context.Background())
	l.dropped <- 0
	go l.run(w)
	return l
}

// Print logs text, which must be one line. A line that is logged after Stop is lost.
func (l *Log) Print(text string) {
	select {
	case l.lines <- text:
	default:
		// An atomic counter would do, but the code that serves uses messages alone. A
		// goroutine that has received the number is the only one that has it.
		n := <-l.dropped
		l.dropped <- n + 1
	}
}

// Stop writes the lines that were logged before and ends the owner. It waits for
// that until ctx is done, because the writer may block. Stop may be called more than once.
func (l *Log) Stop(ctx context.Context) {
	l.stop()
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
	case <-l.stopping.Done():
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
	case <-l.stopping.Done():
		return true
	}
}
