package httpapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
)

// A token in a channel stands for something that is taken.
type token struct{}

// A limitListener accepts connections, a limited number of them at once.
type limitListener struct {
	net.Listener
	conns  chan token // holds a token for each open connection, and for the one that Accept waits for
	full   chan token // holds a token while all connections are taken
	told   bool       // whether the log says that all are taken
	events *Log
	closed context.Context    // done when the listener is closed
	cancel context.CancelFunc // makes closed done
}

func newLimitListener(l net.Listener, maxConns int, events *Log) *limitListener {
	closed, cancel := context.WithCancel(context.Background())
	return &limitListener{
		Listener: l,
		conns:    make(chan token, maxConns),
		full:     make(chan token, 1),
		events:   events,
		closed:   closed,
		cancel:   cancel,
	}
}

// Accept waits until a connection may be opened, and then for one.
func (l *limitListener) Accept() (net.Conn, error) {
	if len(l.conns) <= cap(l.conns)/2 {
		l.told = false // so many have ended that it is news when all are taken again
	}
	select {
	case l.conns <- token{}:
	case <-l.closed.Done():
		return nil, net.ErrClosed
	}
	if len(l.full) > 0 {
		<-l.full // only Accept sends and receives here
	}

	c, err := l.Listener.Accept()
	if err != nil {
		<-l.conns
		return nil, err
	}
	if len(l.conns) == cap(l.conns) { // c has the last place
		l.full <- token{}
		if !l.told { // not for each connection that ends and is replaced
			l.events.Print(fmt.Sprintf("All %d connections are taken, others wait", cap(l.conns)))
		}
		l.told = true
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetReadBuffer(receiveBuffer)
		tcp.SetWriteBuffer(sendBuffer)
	}
	keep := context.AfterFunc(l.closed, func() { c.Close() })
	return &conn{c.(halfCloser), keep}, nil
}

// Close closes the listener, and the connections that have not sent a whole header yet.
func (l *limitListener) Close() error {
	l.cancel()
	return l.Listener.Close()
}

// A halfCloser is a connection like those of TCP. net/http uses CloseWrite.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// A conn is a connection that is closed with its listener, unless keep was called.
type conn struct {
	halfCloser
	keep func() bool
}

// connState is called by net/http when the state of c changes. A connection is active
// when it has sent a whole header. From then on Shutdown waits for its requests.
func (l *limitListener) connState(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateActive:
		c.(*conn).keep()
	case http.StateClosed:
		c.(*conn).keep()
		<-l.conns
	}
}
