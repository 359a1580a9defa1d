// Package httpapi serves a key–value store over HTTP. It checks requests, asks the
// store, and tells the client and the log what happened. It owns no data.
//
//	log := httpapi.NewLog(os.Stderr)
//	go log.Run()
//
//	store := actor.New(1 << 30)
//	go store.Run()
//
//	server := httpapi.NewServer(listener, store, log, httpapi.Config{
//		MaxValueBytes: 64 << 20,
//		MaxConns:      1000,
//	})
//	err := server.Serve()
//
// The routes:
//
//	PUT    /kv/{key}   store the body, UTF-8 text, under key
//	GET    /kv/{key}   respond with the value of key
//	DELETE /kv/{key}   remove key, whether or not it exists
//	DELETE /clear      remove every key
//	GET    /health     respond with 200 if the store serves requests
//
// A key is one or more of the ASCII letters and digits, ':', '_', '.' and '-',
// after percent-decoding. A response other than 200 gives its reason as text.
package httpapi

import (
	"context"
	"log"
	"net"
	"net/http"
	"time"
)

// How long a client may take.
const (
	headerTimeout = 5 * time.Second  // to send the header of a request
	stallTimeout  = 10 * time.Second // to send or to receive the next byte of a body
	idleTimeout   = 2 * time.Minute  // to send the next request

	lingerTimeout = 500 * time.Millisecond // to send more after shutdown, which is discarded
)

const (
	// maxHeaderBytes limits the request line and the header together. net/http
	// adds 4 KiB to what it is given.
	maxHeaderBytes = 9<<10 - netHTTPSlack
	netHTTPSlack   = 4 << 10

	// socketBuffer limits what the kernel buffers for a connection. It counts as
	// memory of the container, and the kernel would use megabytes for a client
	// that reads slowly. The kernel takes twice this size in each direction.
	socketBuffer = 64 << 10

	// maxOpen limits Config.MaxConns. It is more than the file descriptors that
	// a process usually gets.
	maxOpen = 1 << 20

	// maxSize limits Config.MaxValueBytes so that no sum of sizes overflows.
	maxSize = 1 << 60
)

// A Config holds the limits of a Server and what it logs.
type Config struct {
	MaxValueBytes int64 // the size of the largest value; at least 1
	MaxConns      int   // how many connections may be open at once; at least 1
	Quiet         bool  // log errors, but not requests
}

// A Server is an HTTP server for a store.
type Server struct {
	http     http.Server
	listener net.Listener
	conns    chan struct{} // holds a token for each open connection

	stopping context.Context // done after Shutdown
	stop     context.CancelFunc
	drained  chan struct{} // closed when, after that, all connections have ended

	cutOff context.Context // done after Close
	cut    context.CancelFunc
}

// NewServer returns a server for store that accepts its connections from l. It
// logs every request to events, unless config says otherwise, and every error.
func NewServer(l net.Listener, store Store, events *Log, config Config) *Server {
	s := &Server{
		listener: l,
		conns:    make(chan struct{}, min(config.MaxConns, maxOpen)),
		drained:  make(chan struct{}),
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.cutOff, s.cut = context.WithCancel(context.Background())
	a := &api{
		store:         store,
		maxValueBytes: min(config.MaxValueBytes, maxSize),
		log:           events,
		quiet:         config.Quiet,
		stopping:      s.stopping,
	}
	s.http = http.Server{ // without timeouts: those of conn hold for every request
		Handler:        a.handler(),
		MaxHeaderBytes: maxHeaderBytes,
		ConnState:      s.connState,
		ErrorLog:       log.New(events, "", 0),

		DisableGeneralOptionsHandler: true, // the API has no OPTIONS *
	}
	return s
}

// Serve accepts connections and serves their requests. It returns nil after
// Shutdown, when all connections have ended. Otherwise it returns the error of the
// listener. Call it once.
func (s *Server) Serve() error {
	err := s.http.Serve(connListener{s})
	if s.stopping.Err() == nil {
		return err
	}
	// Each connection has a token in the channel until it ends. When the channel
	// is full of other tokens, all connections have ended.
	for range cap(s.conns) {
		s.conns <- struct{}{}
	}
	close(s.drained)
	return nil
}

// Shutdown closes the listener and all connections that have no request under way,
// and lets the others finish theirs. A connection has ended when the client has closed
// it too, or has been silent for half a second. Shutdown returns nil when all
// connections have ended and Serve is about to return, or the error of ctx if that is
// done first. It may be called more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	s.listener.Close()
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes all connections, whatever they are doing.
func (s *Server) Close() {
	s.cut()
	s.stop()
	s.http.Close()
}

// connState is called by net/http. For the states that matter here this is in the
// goroutine that serves c.
func (s *Server) connState(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateActive:
		c.(*conn).phase = serving
	case http.StateIdle:
		c.(*conn).phase = idle
	case http.StateClosed:
		c.(*conn).forget()
		<-s.conns
	}
}

// A connListener accepts connections for a server.
type connListener struct{ *Server }

// Accept waits until fewer connections are open than the limit allows, and then
// for the next connection.
func (s connListener) Accept() (net.Conn, error) {
	select {
	case s.conns <- struct{}{}:
	case <-s.stopping.Done():
		return nil, net.ErrClosed
	}
	c, err := s.listener.Accept()
	if err != nil {
		<-s.conns
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetReadBuffer(socketBuffer)
		tcp.SetWriteBuffer(socketBuffer)
	}
	return newConn(c, s.stopping, s.cutOff), nil
}

func (s connListener) Close() error   { return s.listener.Close() }
func (s connListener) Addr() net.Addr { return s.listener.Addr() }
