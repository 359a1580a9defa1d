package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/julienschmidt/httprouter"

	"kvactor/actor"
)

const (
	// busyTimeout is how long a request may wait for units. It is less than the
	// time that clients usually give a request.
	busyTimeout = 3 * time.Second

	// healthTimeout is how long the owner may take to serve a health check.
	healthTimeout = time.Second
)

// A Store is what the API needs of the store behind it. *actor.Store is one, and
// describes the methods. Many goroutines call them at once.
//
// No handler passes on the context of its request. net/http cancels that context when the
// client closes its sending half, although the client still waits for the response. The
// owner serves a call in a microsecond, so a caller that gave up would save nothing. Only a
// health check gives up, after healthTimeout.
type Store interface {
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	Put(ctx context.Context, key string, value []byte) error
	Create(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) (found bool, err error)
	Clear(ctx context.Context) error
}

// An api serves requests. Its fields do not change.
type api struct {
	store         Store
	log           *Log
	quiet         bool // log no requests
	maxValueBytes int64
	incoming      *semaphore   // for large values that clients send
	outgoing      *semaphore   // for large values that clients receive
	full          <-chan token // holds a token while all connections are taken
}

// handler returns the handler of all requests.
func (a *api) handler() http.Handler {
	router := httprouter.New()
	router.RedirectTrailingSlash = false
	router.RedirectFixedPath = false
	router.HandleOPTIONS = false
	router.NotFound = http.HandlerFunc(a.serveNotFound)
	router.MethodNotAllowed = http.HandlerFunc(a.serveMethodNotAllowed)

	router.PUT("/kv/*key", a.withKey(a.put))
	router.GET("/kv/*key", a.withKey(a.get))
	router.DELETE("/kv/*key", a.withKey(a.delete))
	router.DELETE("/clear", a.withoutKey(a.clear))
	router.GET("/health", a.withoutKey(a.health))
	return router
}

// withKey returns a function that checks the key of a request before it calls serve.
func (a *api) withKey(serve func(x *exchange, key string) response) httprouter.Handle {
	return func(w http.ResponseWriter, r *http.Request, params httprouter.Params) {
		x := newExchange(w, r)
		defer a.releaseUnits(x)                              // in case serve panics
		key := strings.TrimPrefix(params.ByName("key"), "/") // *key matches the slash, too
		switch {
		case key == "":
			a.respond(x, keyEmpty)
		case !isKey(key):
			a.respond(x, keyInvalid)
		default:
			a.respond(x, serve(x, key))
		}
	}
}

func (a *api) withoutKey(serve func() response) httprouter.Handle {
	return func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
		a.respond(newExchange(w, r), serve())
	}
}

// serveNotFound serves a request for a path that has no route.
func (a *api) serveNotFound(w http.ResponseWriter, r *http.Request) {
	a.respond(newExchange(w, r), notFound)
}

// serveMethodNotAllowed serves a request for a path that has routes for other
// methods. The router has named these in the Allow header.
func (a *api) serveMethodNotAllowed(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "*" { // it stands for the server, and no path matches it
		w.Header().Del("Allow")
		a.serveNotFound(w, r)
		return
	}
	a.respond(newExchange(w, r), methodNotAllowed)
}

// respond logs resp, sends it to the client, and waits for what is left of the body. It
// holds no units while it waits.
func (a *api) respond(x *exchange, resp response) {
	if !a.quiet {
		a.log.Print(requestLine(x.r.Method, x.r.URL.Path, resp))
	}
	if len(a.full) > 0 {
		x.last = true
	}
	x.send(resp)
	a.releaseUnits(x)
	x.discardBody()
}

// releaseUnits gives back the units that x holds for its response.
func (a *api) releaseUnits(x *exchange) {
	if x.units > 0 {
		a.outgoing.release(x.units)
		x.units = 0
	}
}

func (a *api) put(x *exchange, key string) response {
	if _, found := x.r.Header["Content-Range"]; found {
		return rangeNotSupported // the body is a part of the value
	}
	if hasCondition(x.r.Header) && !isCreate(x.r.Header) {
		return conditionNotSupported
	}
	length := x.r.ContentLength
	if length < 0 {
		return a.putChunked(x, key)
	}
	n := units(length)
	if length > a.maxValueBytes || n > a.incoming.size {
		return valueTooLarge
	}
	if n > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
		defer cancel()
		if err := a.incoming.acquire(ctx, n); err != nil {
			return serverBusy
		}
		defer a.incoming.release(n)
	}

	value := make([]byte, length)
	for rest := value; len(rest) > 0; {
		part := rest[:min(len(rest), unit)]
		rest = rest[len(part):]
		if n > 0 {
			x.extendDeadlines()
		}
		if _, err := io.ReadFull(x, part); err != nil {
			return readFailed(err)
		}
	}
	return a.putValue(x, key, value)
}

// putChunked serves a PUT whose length is unknown until the body ends. The parts
// and then the value that they make need units for twice its length. They are taken
// while units are held, so this must not wait for them.
func (a *api) putChunked(x *exchange, key string) response {
	var held int64
	defer func() {
		if held > 0 {
			a.incoming.release(held)
		}
	}()

	var parts [][]byte
	var length int64
	for x.left != 0 {
		if len(parts) > 0 {
			x.extendDeadlines()
		}
		part, err := io.ReadAll(io.LimitReader(x, unit))
		if err != nil {
			return readFailed(err)
		}
		parts = append(parts, part)
		length += int64(len(part))

		needed := 2 * units(length)
		if length > a.maxValueBytes || needed > a.incoming.size {
			return valueTooLarge
		}
		if needed > held {
			if !a.incoming.tryAcquire(needed - held) {
				return serverBusy
			}
			held = needed
		}
	}
	return a.putValue(x, key, bytes.Join(parts, nil))
}

// putValue stores value, all of which has arrived.
func (a *api) putValue(x *exchange, key string, value []byte) response {
	switch {
	case len(value) == 0:
		return valueEmpty
	case !utf8.Valid(value):
		return valueNotUTF8
	}

	// The key is a part of the request's header. A copy keeps the header from
	// staying in memory for as long as the key is stored.
	key = strings.Clone(key)
	var err error
	if isCreate(x.r.Header) {
		err = a.store.Create(context.Background(), key, value)
	} else {
		err = a.store.Put(context.Background(), key, value)
	}
	if err != nil {
		return result(err)
	}
	return response{status: http.StatusOK, stored: excerpt(value, isTextRune)}
}

func (a *api) get(x *exchange, key string) response {
	value, found, err := a.store.Get(context.Background(), key)
	n := units(int64(len(value)))
	switch {
	case err != nil:
		return result(err)
	case !found:
		return keyNotFound
	case n > 0 && !a.outgoing.tryAcquire(n):
		return a.getLater(x, key, n)
	}
	x.units = n
	return response{status: http.StatusOK, body: value}
}

// getLater waits for n units, which the value of key needed, and then gets the value
// again. While it waits it holds no value, because that value may be replaced and would
// stay in memory.
func (a *api) getLater(x *exchange, key string, n int64) response {
	ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
	defer cancel()
	for {
		if err := a.outgoing.acquire(ctx, n); err != nil {
			return serverBusy
		}
		x.units = n
		value, found, err := a.store.Get(context.Background(), key)
		n = units(int64(len(value)))
		switch {
		case err != nil:
			return result(err)
		case !found:
			return keyNotFound
		case n <= x.units:
			return response{status: http.StatusOK, body: value}
		}
		a.releaseUnits(x) // the value was replaced by a larger one
	}
}

func (a *api) delete(x *exchange, key string) response {
	if hasCondition(x.r.Header) {
		return conditionNotSupported
	}
	_, err := a.store.Delete(context.Background(), key)
	return result(err)
}

func (a *api) clear() response {
	return result(a.store.Clear(context.Background()))
}

// health asks for a key that no client can store: any reply shows that the owner
// serves requests.
func (a *api) health() response {
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	_, _, err := a.store.Get(ctx, "")
	return result(err)
}

// isKey reports whether key, which is not empty, has only bytes that a key may have.
func isKey(key string) bool {
	for i := range len(key) {
		if !isKeyByte(key[i]) {
			return false
		}
	}
	return true
}

func isKeyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == ':' || c == '_' || c == '.' || c == '-'
}

// isCreate reports whether header asks to store a value only if its key does not exist.
func isCreate(header http.Header) bool {
	noneMatch := header["If-None-Match"]
	return len(noneMatch) == 1 && noneMatch[0] == "*" && len(header["If-Match"]) == 0
}

// hasCondition reports whether header asks to act only if the key has, or does not have,
// an entity tag (RFC 9110, section 13.1). The server gives out no entity tags.
func hasCondition(header http.Header) bool {
	_, match := header["If-Match"]
	_, noneMatch := header["If-None-Match"]
	return match || noneMatch
}

// A response is what a client gets.
type response struct {
	status     int
	body       []byte
	retryAfter string // in seconds, or empty
	stored     string // what the log shows of the value that a PUT stored
}

var (
	ok                    = response{status: http.StatusOK}
	keyEmpty              = newError(http.StatusBadRequest, "key cannot be empty")
	keyInvalid            = newError(http.StatusBadRequest, "key contains invalid characters")
	rangeNotSupported     = newError(http.StatusBadRequest, "content-range is not supported")
	conditionNotSupported = newError(http.StatusBadRequest, "condition is not supported")
	valueEmpty            = newError(http.StatusBadRequest, "value cannot be empty")
	valueNotUTF8          = newError(http.StatusBadRequest, "value must be valid UTF-8")
	valueIncomplete       = newError(http.StatusBadRequest, "value is incomplete")
	keyNotFound           = newError(http.StatusNotFound, "key not found")
	notFound              = newError(http.StatusNotFound, "not found")
	methodNotAllowed      = newError(http.StatusMethodNotAllowed, "method not allowed")
	valueStalled          = newError(http.StatusRequestTimeout, "value took too long")
	conditionFailed       = newError(http.StatusPreconditionFailed, "precondition failed")
	valueTooLarge         = newError(http.StatusRequestEntityTooLarge, "value too large")
	storeUnavailable      = newError(http.StatusServiceUnavailable, "store is unavailable")
	storeFull             = newError(http.StatusInsufficientStorage, "store is full")

	serverBusy = response{
		status:     http.StatusServiceUnavailable,
		body:       []byte("server is busy"),
		retryAfter: "1",
	}
)

func newError(status int, reason string) response {
	return response{status: status, body: []byte(reason)}
}

// result returns the response to a request for which the store returned err.
func result(err error) response {
	switch {
	case err == nil:
		return ok
	case errors.Is(err, actor.ErrFull):
		return storeFull
	case errors.Is(err, actor.ErrExists):
		return conditionFailed
	default:
		return storeUnavailable
	}
}

// readFailed returns the response to a PUT whose body could not be read.
func readFailed(err error) response {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return valueStalled
	}
	return valueIncomplete
}
