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
	*net.TCPListener
}

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return conn{c}, nil
}

type conn struct {
	*net.TCPConn
}

// Write implements net.Conn. It fails with os.ErrDeadlineExceeded if nothing of
// p can be sent for as long as patience.
func (c conn) Write(p []byte) (int, error) {
	sent := 0
	for {
		c.SetWriteDeadline(time.Now().Add(patience))
		n, err := c.TCPConn.Write(p[sent:])
		sent += n
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return sent, err
		}
	}
}
