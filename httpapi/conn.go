package httpapi

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// NewListener returns a listener that hands out the connections of l, changed in
// two ways. An answer that stands still is cut off, while one that moves may
// take as long as it needs; the WriteTimeout of an http.Server can't tell the
// two apart. And when ctx ends, connections on which nothing has ever come are
// closed: to an http.Server in Shutdown they look as if something were to come.
func NewListener(ctx context.Context, l net.Listener) net.Listener {
	return listener{l, ctx}
}

type listener struct {
	net.Listener
	ctx context.Context
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, begin: context.AfterFunc(l.ctx, func() { c.Close() })}, nil
}

type conn struct {
	net.Conn
	begin   func() bool // has the end of the context mean nothing any more
	writeBy time.Time   // the deadline that is set
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.begin != nil {
		c.begin()
		c.begin = nil
	}
	return n, err
}

// CloseWrite tells the client that the answer was the last. The server does so
// before it closes a connection on which the client may still be sending, for
// the client to see the answer before the error.
func (c *conn) CloseWrite() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// Write implements net.Conn. It fails with os.ErrDeadlineExceeded if nothing of
// p can be sent for as long as patience, or up to three times that: a deadline
// has its price, and one that leaves enough time is not set anew.
func (c *conn) Write(p []byte) (int, error) {
	sent := 0
	for wait := 2 * patience; ; wait = patience {
		if now := time.Now(); c.writeBy.Sub(now) < patience {
			c.writeBy = now.Add(wait)
			c.SetWriteDeadline(c.writeBy)
		}
		n, err := c.Conn.Write(p[sent:])
		sent += n
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return sent, err
		}
	}
}
