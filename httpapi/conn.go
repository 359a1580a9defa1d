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
// in two ways. A response that stalls is cut off, while one that moves may take
// any time. And shutdown closes the connection, but only between two requests: a
// request whose first bytes were read is served.
type conn struct {
	net.Conn
	stopping context.Context
	forget   func() bool // unregisters closeIfIdle from stopping

	// Idle is true until the first byte of the next request is read.
	idle bool

	// Ahead is true if net/http, which tries to read one byte while a handler runs,
	// has got the first byte of the next request.
	ahead bool

	// While the connection waits for a request, the token is in waiting. The
	// goroutine that takes it out decides: Read goes on to serve the request, or
	// closeIfIdle closes the connection.
	waiting chan struct{}
}

// newConn returns c as a connection that shuts down when stopping is done.
func newConn(c net.Conn, stopping context.Context) *conn {
	wrapped := &conn{Conn: c, stopping: stopping, idle: true, waiting: make(chan struct{}, 1)}
	wrapped.forget = context.AfterFunc(stopping, wrapped.closeIfIdle)
	return wrapped
}

// await notes that a response was sent and that the next request may begin.
func (c *conn) await() { c.idle, c.ahead = !c.ahead, false }

// closeIfIdle closes the connection if it waits for a request.
func (c *conn) closeIfIdle() {
	select {
	case <-c.waiting:
		c.Close()
	default: // Read sees that stopping is done before it waits again
	}
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if !c.idle {
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
		c.idle = n == 0
		return n, err
	default:
		return 0, io.EOF // there would be no connection for the response
	}
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

// CloseWrite tells the client that no more will come. net/http calls it before it
// closes a connection on which the client may still be sending, so that the client
// sees the response before an error.
func (c *conn) CloseWrite() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}
