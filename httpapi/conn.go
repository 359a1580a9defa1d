package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// A conn is a connection to a client. It differs from the connection that it wraps
// in three ways. A response that stalls is cut off, while one that moves may take
// any time. Shutdown closes the connection, but only between two requests: a request
// whose first bytes were read is served. And shutdown loses no response.
type conn struct {
	net.Conn
	stopping context.Context // done after Shutdown
	cutOff   context.Context // done after Close
	forget   func() bool     // unregisters closeIfWaiting from stopping

	phase phase

	// Ahead is true if net/http, which tries to read one byte while a handler runs,
	// has got the first byte of the next request.
	ahead bool

	// While the connection waits for a request, the token is in waiting. The
	// goroutine that takes it out decides: Read goes on to serve the request, or
	// closeIfWaiting closes the connection.
	waiting chan struct{}
}

// A phase is what a connection does. It follows the calls of net/http, which come one
// after another while the phase changes.
type phase int

const (
	opened    phase = iota // waits for its first request
	responded              // has sent a response
	idle                   // waits for another request
	begun                  // has read the first bytes of it, and limited the time for its header
	serving                // net/http knows of the request
)

// newConn returns c as a connection that shuts down when stopping is done, and that
// waits for nothing when cutOff is done.
func newConn(c net.Conn, stopping, cutOff context.Context) *conn {
	wrapped := &conn{Conn: c, stopping: stopping, cutOff: cutOff, waiting: make(chan struct{}, 1)}
	wrapped.forget = context.AfterFunc(stopping, wrapped.closeIfWaiting)
	return wrapped
}

// closeIfWaiting closes the connection if it waits for a request.
func (c *conn) closeIfWaiting() {
	select {
	case <-c.waiting:
		c.Close()
	default: // Read sees that stopping is done before it waits again
	}
}

// SetReadDeadline implements net.Conn. After a response, net/http calls it with the
// deadline of an idle connection, and then, when it has four bytes of the next request,
// with that of a header. But the time for a header starts with its first byte.
func (c *conn) SetReadDeadline(t time.Time) error {
	switch c.phase {
	case responded:
		c.phase = idle
		if c.ahead {
			c.phase = begun
			t = time.Now().Add(headerTimeout)
		}
	case idle: // the bytes had come together with the request before
		c.phase = serving
	case begun:
		c.phase = serving
		return nil // the header has its deadline
	}
	return c.Conn.SetReadDeadline(t)
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.phase == begun || c.phase == serving {
		n, err := c.Conn.Read(p)
		c.ahead = n == 1 && len(p) == 1
		return n, err
	}

	c.waiting <- struct{}{}
	n, err := 0, io.EOF
	if c.stopping.Err() == nil {
		n, err = c.Conn.Read(p)
	}
	select {
	case <-c.waiting:
	default:
		return 0, io.EOF // there would be no connection for the response
	}
	switch {
	case n == 0:
	case c.phase == opened:
		c.phase = serving // the time for its header is limited from the start
	default:
		c.phase = begun
		c.Conn.SetReadDeadline(time.Now().Add(headerTimeout))
	}
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
