package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// A conn is a connection to a client. It limits the time for a header, and for each
// read of a body and each write of a response. A body or a response that moves may take
// any time. Shutdown closes a conn, but only between two requests: a request whose first
// bytes were read is served, but not those that are pipelined behind it. It loses no
// response, unless Close comes before the client has read it.
type conn struct {
	net.Conn
	stopping context.Context // done after Shutdown
	cutOff   context.Context // done after Close
	forget   func() bool     // unregisters stopWaiting from stopping

	phase phase

	// Unwanted is true when the response is settled and the rest of the body is not
	// wanted. It stays true, because such a connection serves no other request.
	// Limited is true when the time for that rest is limited.
	unwanted, limited bool

	// Waiting holds a token while Read waits for a request. StopWaiting borrows the
	// token while it sets a deadline in the past. Read takes the token out when it has
	// stopped waiting, so that no such deadline comes later.
	waiting chan struct{}
}

// A phase is what a connection does. It follows the calls of net/http, which come one
// after another while the phase changes.
type phase int

const (
	opened  phase = iota // waits for its first request
	idle                 // waits for another request
	begun                // has read the first bytes of a request, or has failed to
	header               // reads the rest of its header
	serving              // reads its body, and responds
)

// newConn returns c as a connection that shuts down when stopping is done, and that
// waits for nothing when cutOff is done.
func newConn(c net.Conn, stopping, cutOff context.Context) *conn {
	wrapped := &conn{Conn: c, stopping: stopping, cutOff: cutOff, waiting: make(chan struct{}, 1)}
	wrapped.forget = context.AfterFunc(stopping, wrapped.stopWaiting)
	return wrapped
}

// stopWaiting makes Read return if it waits for a request.
func (c *conn) stopWaiting() {
	select {
	case token := <-c.waiting:
		c.Conn.SetReadDeadline(time.Unix(0, 0))
		c.waiting <- token
	default: // Read does not wait, and checks stopping before it does
	}
}

// SetReadDeadline sets no deadline, because Read does. A handler calls it, with a time
// in the future, when it does not want the rest of a body.
func (c *conn) SetReadDeadline(t time.Time) error {
	if t.Unix() > 1 { // the calls of net/http have the zero time or a second of 1970
		c.unwanted = true
	}
	return nil
}

// readBuffer is the size of the buffer of net/http.
const readBuffer = 4 << 10

// Read implements net.Conn. It fails with os.ErrDeadlineExceeded if the client sends
// nothing for as long as it may.
func (c *conn) Read(p []byte) (int, error) {
	if c.phase == idle && len(p) < readBuffer {
		c.phase = begun // the buffer holds bytes that came with the request before
	}
	switch c.phase {
	case opened:
		return c.await(p, headerTimeout)
	case idle:
		return c.await(p, idleTimeout)
	case begun:
		c.phase = header
		c.Conn.SetReadDeadline(time.Now().Add(headerTimeout))
	case serving:
		if len(p) == 1 {
			// While a handler runs, net/http reads a byte to find out whether the
			// client is still there. It takes io.EOF for a client that has gone, and
			// cancels the context of the request, which no handler uses. To leave
			// the read out saves 3 % of the time of a request.
			return 0, io.EOF
		}
		if !c.limited {
			c.limited = c.unwanted
			c.Conn.SetReadDeadline(time.Now().Add(stallTimeout))
		}
	}
	return c.Conn.Read(p)
}

// await reads the first bytes of a request.
func (c *conn) await(p []byte, timeout time.Duration) (int, error) {
	c.Conn.SetReadDeadline(time.Now().Add(timeout))
	c.waiting <- struct{}{}
	n, err := 0, io.EOF
	if c.stopping.Err() == nil {
		n, err = c.Conn.Read(p)
	}
	<-c.waiting
	c.phase = begun
	return n, err
}

// Write implements net.Conn. It fails with os.ErrDeadlineExceeded if the client
// takes nothing for stallTimeout. A write that has sent a part of p in this time goes on
// with a new deadline.
func (c *conn) Write(p []byte) (int, error) {
	written := 0
	for {
		c.Conn.SetWriteDeadline(time.Now().Add(stallTimeout))
		n, err := c.Conn.Write(p[written:])
		written += n
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
	}
}

// Close implements net.Conn. During shutdown it first reads and discards what the
// client still sends, until there is nothing for lingerTimeout, or until cutOff is
// done. The kernel resets a connection that is closed with unread bytes, and discards
// the responses that the client has not received yet.
func (c *conn) Close() error {
	if c.stopping.Err() == nil || c.CloseWrite() != nil {
		return c.Conn.Close()
	}
	buf := make([]byte, 4<<10)
	for c.cutOff.Err() == nil {
		c.Conn.SetReadDeadline(time.Now().Add(lingerTimeout))
		if _, err := c.Conn.Read(buf); err != nil {
			break
		}
	}
	return c.Conn.Close()
}

// CloseWrite tells the client that no more will come. net/http calls it before it
// closes a connection on which the client may still be sending, so that the client
// sees the response before an error.
func (c *conn) CloseWrite() error {
	if c, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
