package apitest

import (
	"errors"
	"net"
	"testing"
	"time"
)

// A Listener accepts connections in memory, whose deadlines follow the fake clock of a
// synctest bubble. A connection is made when it is accepted.
type Listener chan accept

// An accept is what a call of Accept returns.
type accept struct {
	conn net.Conn
	err  error
}

// NewListener returns a listener. Whoever accepts from it closes it, once.
func NewListener() Listener { return make(Listener) }

// Dial connects to the listener until the test ends.
func (l Listener) Dial(t testing.TB) Client {
	toServer, fromClient := net.Pipe()
	toClient, fromServer := net.Pipe()
	l.Return(pipes{toClient, fromClient}, nil)
	c := pipes{toServer, fromServer}
	t.Cleanup(func() { c.Close() })
	return New(t, c)
}

// Return makes a call of Accept return conn and err.
func (l Listener) Return(conn net.Conn, err error) { l <- accept{conn, err} }

func (l Listener) Accept() (net.Conn, error) {
	a, open := <-l
	if !open {
		return nil, net.ErrClosed
	}
	return a.conn, a.err
}

func (l Listener) Close() error { close(l); return nil }

func (l Listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv6zero, Port: 80} }

// A pipes is one end of a connection that consists of two pipes, one for each direction, so
// that its sending half can be closed as that of a TCP connection.
type pipes struct {
	net.Conn // to the other end
	from     net.Conn
}

func (c pipes) Read(p []byte) (int, error)        { return c.from.Read(p) }
func (c pipes) SetReadDeadline(t time.Time) error { return c.from.SetReadDeadline(t) }
func (c pipes) CloseWrite() error                 { return c.Conn.Close() }
func (c pipes) Close() error                      { return errors.Join(c.from.Close(), c.Conn.Close()) }

func (c pipes) SetDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetWriteDeadline(t), c.from.SetReadDeadline(t))
}
