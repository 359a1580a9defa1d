package httpapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	// socketBuffer is the size of a socket's buffer in each direction. The kernel takes
	// twice what it is given, and would use megabytes for a client that reads slowly.
	socketBuffer = 64 << 10

	// ConnBytes is how many bytes of memory a connection counts: a full buffer of the kernel
	// in one direction, and what Go keeps. A client rarely fills both directions.
	ConnBytes = 2*socketBuffer + 32<<10
)

const (
	lingerPause = 5 * time.Second        // how long a client may be silent while the server discards
	stopLinger  = 500 * time.Millisecond // how long the server goes on discarding after a stop
)

// A token in places stands for a connection that is open.
type token struct{}

// A limitListener accepts connections, and hands over a limited number of them at once.
type limitListener struct {
	net.Listener
	places chan token // holds a token for each connection that was handed over and is open
	log    *Log
	told   bool // whether the log says that all places are taken

	closed context.Context    // done when the listener is closed
	cancel context.CancelFunc // makes closed done
}

func newLimitListener(l net.Listener, maxConns int, log *Log) *limitListener {
	closed, cancel := context.WithCancel(context.Background())
	return &limitListener{
		Listener: l,
		places:   make(chan token, maxConns),
		log:      log,
		closed:   closed,
		cancel:   cancel,
	}
}

// Accept waits for a connection, and then for a place for it.
func (l *limitListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if len(l.places) < cap(l.places)/2 {
		l.told = false // so many are free that it is news when all are taken again
	}
	select {
	case l.places <- token{}:
	case <-l.closed.Done():
		accepted.Close()
		return nil, net.ErrClosed
	}
	if l.isFull() && !l.told { // not for each connection that ends and is replaced
		l.log.Print(fmt.Sprintf("All %d connections are taken, others wait", cap(l.places)))
		l.told = true
	}
	if tcp, ok := accepted.(*net.TCPConn); ok {
		tcp.SetReadBuffer(socketBuffer)
		tcp.SetWriteBuffer(socketBuffer)
	}
	c := &conn{halfCloser: accepted.(halfCloser), listener: l}
	c.keep = context.AfterFunc(l.closed, func() { c.Close() })
	return c, nil
}

// isFull reports whether all places are taken.
func (l *limitListener) isFull() bool { return len(l.places) == cap(l.places) }

// isClosed reports whether the listener is closed.
func (l *limitListener) isClosed() bool { return l.closed.Err() != nil }

// Close closes the listener, and the connections that have not sent a whole header yet.
func (l *limitListener) Close() error {
	l.cancel()
	return l.Listener.Close()
}

// wait waits until all connections have ended: whoever can take every place knows that no
// connection is left. If ctx is done before, wait returns its error.
func (l *limitListener) wait(ctx context.Context) error {
	taken := 0
	defer func() {
		for range taken {
			<-l.places
		}
	}()
	for taken < cap(l.places) {
		select {
		case l.places <- token{}:
			taken++
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// A halfCloser is a connection like those of TCP.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// A conn is a connection that has a place. It is closed with its listener, unless keep was
// called.
type conn struct {
	halfCloser
	listener *limitListener
	keep     func() bool
}

// connState is called by net/http when the state of c changes. It is active before its first
// request reaches a handler. From then on Shutdown waits for its requests. It is never closed
// after it was hijacked.
func (l *limitListener) connState(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateActive:
		c.(*conn).keep()
	case http.StateClosed:
		c.(*conn).keep()
		<-l.places
	}
}

// end closes a hijacked connection and gives its place back.
func (c *conn) end() {
	c.Close()
	<-c.listener.places
}

// discard closes the sending half of c, and reads what the client still sends until the
// client closes the connection, is silent for lingerPause, or limit is over. The kernel
// resets a connection that is closed with unread bytes, and a client may then lose a
// response that is still on its way.
func (c *conn) discard(limit time.Duration) {
	c.CloseWrite() // the client sees that the response has ended
	cut := time.AfterFunc(limit, func() { c.Close() })
	defer cut.Stop()
	keep := context.AfterFunc(c.listener.closed, func() { cut.Reset(stopLinger) })
	defer keep()
	buf := make([]byte, 4<<10)
	for {
		c.SetReadDeadline(time.Now().Add(lingerPause))
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}
