package httpapi

import (
	"errors"
	"net"
	"os"
	"time"
)

// A Listener hands out connections on which an answer that stands still is cut
// off, while one that moves may take as long as it needs. (The WriteTimeout of
// an http.Server can't tell the two apart.)
type Listener struct {
	net.Listener
}

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

type conn struct {
	net.Conn
	writeBy time.Time // the deadline that is set
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
