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
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	headerTimeout = 5 * time.Second // for a client to send a header
	idleTimeout   = 2 * time.Minute // for a client to send another request; load balancers keep connections idle

	// maxHeaderBytes limits the request line and the header together. net/http adds
	// netHTTPSlack to what it is given.
	maxHeaderBytes = 9<<10 - netHTTPSlack
	netHTTPSlack   = 4 << 10
)

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

// check panics if a server cannot work with c.
func (c Config) check() {
	switch {
	case c.MaxValueBytes < 1:
		panic("httpapi: Config.MaxValueBytes must be at least 1")
	case c.MaxInflightBytes < 1:
		panic("httpapi: Config.MaxInflightBytes must be at least 1")
	case c.MaxConns < 1:
		panic("httpapi: Config.MaxConns must be at least 1")
	}
}

// A Server is an HTTP server for a store.
type Server struct {
	http http.Server
	api  *api
	end  context.CancelFunc // ends the limiters
}

// NewServer returns a server for store that accepts its connections from l. They must
// have a method CloseWrite, as those of TCP have. The server logs to log. NewServer starts
// goroutines, which Shutdown or Close ends. It panics if log is nil or a
// limit in config is less than 1.
func NewServer(l net.Listener, store Store, log *Log, config Config) *Server {
	config.check()
	if log == nil {
		panic("httpapi: the log of NewServer must not be nil")
	}
	ctx, end := context.WithCancel(context.Background())
	inflight := (config.MaxInflightBytes-1)/unit + 1
	a := &api{
		store:         store,
		log:           log,
		quiet:         config.Quiet,
		maxValueBytes: config.MaxValueBytes,
		incoming:      newLimiter(ctx, inflight),
		outgoing:      newLimiter(ctx, inflight),
		listener:      newLimitListener(l, config.MaxConns, log),
	}
	return &Server{api: a, end: end, http: http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      bodyTimeout + responseTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         connState,
		ErrorLog:          stdlog.New(errorLog{log}, "", 0),

		DisableGeneralOptionsHandler: true, // the API has no OPTIONS *
	}}
}

// An errorLog is where net/http reports what goes wrong. A report may have many lines and
// quote a client, so each line gets a prefix and cannot be mistaken for a line about a
// request.
type errorLog struct{ log *Log }

func (l errorLog) Write(report []byte) (int, error) {
	for line := range strings.Lines(string(report)) {
		l.log.Print("net/http: " + printable(line))
	}
	return len(report), nil
}

// Serve accepts connections and serves their requests. It returns nil after Shutdown
// or Close, and otherwise the error of the listener. Call it once.
func (s *Server) Serve() error {
	err := s.http.Serve(s.api.listener)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown closes the listener, and the connections that are idle or have not sent a whole
// header. Then it waits until the other requests have their responses and all connections
// have ended. If ctx is done before, Shutdown returns its error, and Close must follow.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return err
	}
	if err := s.api.listener.wait(ctx); err != nil {
		return err
	}
	s.end()
	return nil
}

// Close closes the listener and all connections. Those that only discard what their clients
// send end within half a second.
func (s *Server) Close() error {
	s.end()
	return s.http.Close()
}
