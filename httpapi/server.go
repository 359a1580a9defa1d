// Package httpapi serves a key–value store over HTTP. It checks requests, asks the
// store, and tells the client and the log what happened. It owns no data.
//
//	log := httpapi.NewLog(os.Stderr)
//	store := actor.New(1 << 30)
//	server := httpapi.NewServer(listener, store, log, httpapi.Config{
//		MaxValueBytes:    64 << 20,
//		MaxInflightBytes: 128 << 20,
//		MaxConns:         1000,
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
	"errors"
	"log"
	"net"
	"net/http"
	"time"
)

// How long a client may take. The times of a small request are absolute, so that no
// client makes it last longer by sending a byte now and then. A large body or
// response has its time for each part, so a slow client that goes on is not cut off.
const (
	headerTimeout   = 5 * time.Second  // to send a header
	bodyTimeout     = 10 * time.Second // to send a small request, or a part of a large body
	responseTimeout = 20 * time.Second // after that, to receive a small response
	partTimeout     = 60 * time.Second // to receive a part of a large response
	idleTimeout     = 2 * time.Minute  // to send another request; load balancers keep connections idle

	lingerTimeout = 30 * time.Second // to send what the server discards, in all
	lingerPause   = 5 * time.Second  // and without sending anything
)

// responsePart is how much of a large response has partTimeout. A client that
// receives 8 kB/s needs about half of it.
const responsePart = 256 << 10

const (
	// maxHeaderBytes limits the request line and the header together. net/http
	// adds 4 KiB to what it is given.
	maxHeaderBytes = 9<<10 - netHTTPSlack
	netHTTPSlack   = 4 << 10

	// The buffers of a socket count as memory of the container, and the kernel would use
	// megabytes for a client that reads slowly. It takes twice what it is given. A buffer
	// of 64 KiB for sending costs a tenth of the requests per second for values of 1 MiB.
	receiveBuffer = 64 << 10
	sendBuffer    = 128 << 10
)

// ConnBytes is the memory in bytes that the buffers of a connection may take.
const ConnBytes = 2 * (receiveBuffer + sendBuffer)

// A Config holds the limits of a Server and what it logs.
type Config struct {
	// MaxValueBytes is the size of the largest value.
	MaxValueBytes int64

	// MaxInflightBytes is how many bytes of large values may be on their way to the
	// store at once, and how many may be on their way to clients. A value of more
	// than 64 KiB is large.
	MaxInflightBytes int64

	// MaxConns is how many connections may be open at once. Others wait.
	MaxConns int

	// Quiet turns off the log of requests, but not that of errors.
	Quiet bool
}

// A Server is an HTTP server for a store.
type Server struct {
	http     http.Server
	listener *limitListener
}

// NewServer returns a server for store that accepts its connections from l. They must
// have a method CloseWrite, as those of TCP have. The server logs to events.
func NewServer(l net.Listener, store Store, events *Log, config Config) *Server {
	s := &Server{listener: newLimitListener(l, config.MaxConns, events)}
	inflight := (config.MaxInflightBytes-1)/unit + 1
	a := &api{
		store:         store,
		log:           events,
		quiet:         config.Quiet,
		maxValueBytes: config.MaxValueBytes,
		incoming:      newSemaphore(inflight),
		outgoing:      newSemaphore(inflight),
		full:          s.listener.full,
	}
	s.http = http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      bodyTimeout + responseTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState: s.listener.connState,
		ErrorLog:  log.New(events, "", 0),

		DisableGeneralOptionsHandler: true, // the API has no OPTIONS *
	}
	return s
}

// Serve accepts connections and serves their requests. It returns nil after Shutdown
// or Close, and otherwise the error of the listener. Call it once.
func (s *Server) Serve() error {
	err := s.http.Serve(s.listener)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown closes the listener, and the connections that are idle or have not sent a
// whole header. It waits until the other requests have their responses, or returns
// the error of ctx if that is done first.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }

// Close closes the listener and all connections.
func (s *Server) Close() error { return s.http.Close() }
