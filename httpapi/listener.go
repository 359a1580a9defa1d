package httpapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	// socketBuffer is the size that the kernel is asked for, for the buffer of a connection
	// in each direction. It takes twice as much, and without limits it would take megabytes
	// for a client that reads slowly.
	socketBuffer = 64 << 10

	// ConnBytes is how many bytes of memory are counted for a connection: a full buffer of
	// the kernel in one direction, and what Go keeps. A client rarely fills both directions.
	ConnBytes = 2*socketBuffer + 32<<10
)

// What a client sends after the last response of its connection is discarded for a while.
const (
	earlyLinger = 30 * time.Second       // in all, if the body of the last request has not ended
	lastLinger  = 5 * time.Second        // in all, otherwise
	stopLinger  = 500 * time.Millisecond // in all, after a stop
	lingerPause = 5 * time.Second        // without a byte
)

// A token in a channel stands for a connection that is open.
type token struct{}

// A limitListener accepts connections, and hands over a limited number of them at once.
type limitListener struct {
	net.Listener
	places chan token // holds a token for each connection that was handed over and is open
	log    *Log
	told   bool // whether the log says that all places are taken; only Accept uses it

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

// Accept waits for a connection, and then for a place for it. So one more connection than
// there are places may be accepted and wait.
func (l *limitListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if 2*len(l.places) < cap(l.places) {
		l.told = false // so few are taken that it is news when all are taken again
	}
	select {
	case l.places <- token{}:
	case <-l.closed.Done():
		accepted.Close()
		return nil, net.ErrClosed
	}
	if l.isFull() && !l.told {
		l.log.Print(fmt.Sprintf("All %d connections are taken, others wait", cap(l.places)))
		l.told = true
	}
	if tcp, ok := accepted.(*net.TCPConn); ok {
		tcp.SetReadBuffer(socketBuffer)
		tcp.SetWriteBuffer(socketBuffer)
	}
	c := &conn{halfCloser: accepted.(halfCloser), listener: l, open: make(chan token, 1)}
	c.open <- token{}
	c.detach = context.AfterFunc(l.closed, func() { c.halfCloser.Close() })
	return c, nil
}

// isFull reports whether all places are taken.
func (l *limitListener) isFull() bool { return len(l.places) == cap(l.places) }

// Close closes the listener, and the connections that have not sent a whole header.
func (l *limitListener) Close() error {
	l.cancel()
	return l.Listener.Close()
}

// wait waits until all connections have ended: whoever can take every place knows that no
// connection is left. If ctx is done before, wait returns its error. It gives the places back,
// so it may be called again. Call it after Close, and not twice at once.
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

// A conn is a connection that has a place.
type conn struct {
	halfCloser
	listener *limitListener
	detach   func() bool // makes the listener forget c, which it would close with itself
	open     chan token  // holds a token until c ends
}

// connState is called by net/http when the state of c changes. A connection becomes active
// before its first request reaches a handler: when it has sent a whole header, as
// TestShutdownEndsConnectionsWithoutARequest shows. From then on Shutdown waits for it.
func connState(c net.Conn, state http.ConnState) {
	if state == http.StateActive {
		c.(*conn).detach()
	}
}

// Write closes c if it fails: the client is gone, or too slow.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.halfCloser.Write(p)
	if err != nil {
		c.halfCloser.Close()
	}
	return n, err
}

// Close is called by net/http after the last response of a connection, or when no request
// comes. It may be called again. It does not wait for the end.
func (c *conn) Close() error {
	if c.detach() {
		c.halfCloser.Close() // c has sent no header, so no response is on its way
	}
	go c.end(lastLinger)
	return nil
}

// end is the goroutine that owns c from its last response on. It ends c, unless another one
// does, and gives its place back.
//
// The kernel resets a connection that is closed with unread bytes, and then the client may
// lose a response that is still on its way. So end first discards what the client sends, until
// it closes the connection, is silent for lingerPause, or limit has passed. After a stop it
// goes on for stopLinger.
func (c *conn) end(limit time.Duration) {
	select {
	case <-c.open:
	default:
		return
	}
	c.CloseWrite() // the client sees that the response has ended
	cut := time.AfterFunc(limit, func() { c.halfCloser.Close() })
	detach := context.AfterFunc(c.listener.closed, func() { cut.Reset(stopLinger) })
	buf := make([]byte, 4<<10)
	for err := error(nil); err == nil; {
		c.SetReadDeadline(time.Now().Add(lingerPause))
		_, err = c.Read(buf)
	}
	detach()
	cut.Stop()
	c.halfCloser.Close()
	<-c.listener.places
}
