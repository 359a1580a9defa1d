package httpapi

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/julienschmidt/httprouter"

	"kvactor/actor"
)

// A Store is what the API needs of the store behind it. *actor.Store is one, and
// describes the methods. Many goroutines call them at once.
type Store interface {
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	Release(value []byte)
	Fits(ctx context.Context, key string, n int64) error
	Reserve(ctx context.Context, n int64) error
	Unreserve(n int64)
	Put(ctx context.Context, key string, value []byte, reserved int64) error
	Delete(ctx context.Context, key string) error
	Clear(ctx context.Context) error
	Ping(ctx context.Context) error
}

// An api serves requests. Its fields do not change.
type api struct {
	store         Store
	maxValueBytes int64
	log           *Log
	quiet         bool            // log no requests
	stopping      context.Context // done when no further request is wanted
}

// A route is a row of the API: handle serves the requests of method for path. If
// path ends in *key, handle is called with a valid key.
type route struct {
	method, path string
	handle       func(a *api, key string, b *body) response
}

var routes = []route{
	{http.MethodPut, "/kv/*key", (*api).put},
	{http.MethodGet, "/kv/*key", (*api).get},
	{http.MethodDelete, "/kv/*key", (*api).delete},
	{http.MethodDelete, "/clear", (*api).clear},
	{http.MethodGet, "/health", (*api).health},
}

// handler returns the handler of all requests.
func (a *api) handler() http.Handler {
	router := httprouter.New()
	router.RedirectTrailingSlash = false
	router.RedirectFixedPath = false
	router.HandleOPTIONS = false
	router.NotFound = http.HandlerFunc(a.serveNotFound)
	router.MethodNotAllowed = http.HandlerFunc(a.serveMethodNotAllowed)
	for _, route := range routes {
		router.Handle(route.method, route.path, a.serve(route))
	}
	return router
}

// serve returns a function that serves the requests of route.
func (a *api) serve(route route) httprouter.Handle {
	path, hasKey := strings.CutSuffix(route.path, "*key")

	return func(w http.ResponseWriter, r *http.Request, params httprouter.Params) {
		b := newBody(r)
		if !hasKey {
			a.finish(w, b, route.handle(a, "", b), route.method, path)
			return
		}

		key := strings.TrimPrefix(params.ByName("key"), "/") // *key matches the slash, too
		resp, valid := checkKey(key)
		if valid {
			resp = route.handle(a, key, b)
			defer a.store.Release(resp.read)
		}
		a.finish(w, b, resp, route.method, path+excerpt(key, isPathRune))
	}
}

// serveNotFound serves a request for a path that has no route.
func (a *api) serveNotFound(w http.ResponseWriter, r *http.Request) {
	a.finish(w, newBody(r), notFound, excerpt(r.Method, isPathRune), excerpt(r.URL.Path, isPathRune))
}

// serveMethodNotAllowed serves a request for a path that has routes for other
// methods. The router has named these in the Allow header.
func (a *api) serveMethodNotAllowed(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "*" { // it stands for the server, and no path matches it
		w.Header().Del("Allow")
		a.serveNotFound(w, r)
		return
	}
	a.finish(w, newBody(r), methodNotAllowed, excerpt(r.Method, isPathRune), excerpt(r.URL.Path, isPathRune))
}

// The handlers call the store with a context that is never done. net/http would
// cancel the context of a request when the client closes its sending half, although
// the client still waits for the response. And the owner takes a microsecond: to give
// up would save nothing.
var background = context.Background()

func (a *api) put(key string, b *body) response {
	up := upload{store: a.store, maxBytes: a.maxValueBytes}
	defer up.close()

	value, err := up.readAll(key, b)
	switch {
	case errors.Is(err, errTooLarge):
		return valueTooLarge
	case errors.Is(err, actor.ErrFull), errors.Is(err, actor.ErrStopped):
		return storeFailed(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return valueStalled
	case err != nil:
		return valueIncomplete
	case len(value) == 0:
		return valueEmpty
	case !utf8.Valid(value):
		return valueNotUTF8
	}

	// The key is a part of the request's header. A copy keeps the header from
	// staying in memory for as long as the key is stored.
	if err := up.put(strings.Clone(key), value); err != nil {
		return storeFailed(err)
	}
	return response{status: http.StatusOK, stored: excerpt(value, isTextRune)}
}

func (a *api) get(key string, _ *body) response {
	value, found, err := a.store.Get(background, key)
	switch {
	case err != nil:
		return storeFailed(err)
	case !found:
		return keyNotFound
	}
	return response{status: http.StatusOK, body: value, read: value}
}

func (a *api) delete(key string, _ *body) response {
	return okUnless(a.store.Delete(background, key))
}

func (a *api) clear(string, *body) response {
	return okUnless(a.store.Clear(background))
}

func (a *api) health(string, *body) response {
	ctx, cancel := context.WithTimeout(background, healthTimeout)
	defer cancel()
	return okUnless(a.store.Ping(ctx))
}

// healthTimeout is how long the owner may take to serve a health check.
const healthTimeout = time.Second

// checkKey returns true if key is valid. Otherwise it returns the response to a
// request with this key, and false.
func checkKey(key string) (response, bool) {
	if key == "" {
		return keyEmpty, false
	}
	for i := range len(key) {
		if !isKeyByte(key[i]) {
			return keyInvalid, false
		}
	}
	return response{}, true
}

func isKeyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == ':' || c == '_' || c == '.' || c == '-'
}

// A response is what a client gets.
type response struct {
	status int
	body   []byte
	read   []byte // the value to release when body is written
	stored string // what the log shows of the value that a PUT stored
}

var (
	ok               = response{status: http.StatusOK}
	keyEmpty         = newError(http.StatusBadRequest, "key cannot be empty")
	keyInvalid       = newError(http.StatusBadRequest, "key contains invalid characters")
	valueEmpty       = newError(http.StatusBadRequest, "value cannot be empty")
	valueNotUTF8     = newError(http.StatusBadRequest, "value must be valid UTF-8")
	valueIncomplete  = newError(http.StatusBadRequest, "value is incomplete")
	keyNotFound      = newError(http.StatusNotFound, "key not found")
	notFound         = newError(http.StatusNotFound, "not found")
	methodNotAllowed = newError(http.StatusMethodNotAllowed, "method not allowed")
	valueStalled     = newError(http.StatusRequestTimeout, "value took too long")
	valueTooLarge    = newError(http.StatusRequestEntityTooLarge, "value too large")
	storeUnavailable = newError(http.StatusServiceUnavailable, "store is unavailable")
	storeFull        = newError(http.StatusInsufficientStorage, "store is full")
)

func newError(status int, reason string) response {
	return response{status: status, body: []byte(reason)}
}

// okUnless returns the response to a request for which the store returned err.
func okUnless(err error) response {
	if err != nil {
		return storeFailed(err)
	}
	return ok
}

// storeFailed returns the response to a request for which the store returned err,
// which is not nil.
func storeFailed(err error) response {
	if errors.Is(err, actor.ErrFull) {
		return storeFull
	}
	return storeUnavailable
}

// finish logs resp and sends it to the client. Method and path are what the log
// shows of the request.
func (a *api) finish(w http.ResponseWriter, b *body, resp response, method, path string) {
	if !a.quiet {
		a.log.add(appendLine(make([]byte, 0, 256), method, path, resp))
	}

	// A connection is good for another request only if the body of this one is
	// read. There is no point in reading a value that is not wanted or does not come.
	var ended bool
	switch resp.status {
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusInsufficientStorage:
		ended = b.ended
	default:
		ended = b.discard(a.maxValueBytes)
	}
	if !ended {
		// net/http still reads some of the body after the response, so that the client
		// sees the response. conn limits the time for that from its first read.
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(stallTimeout))
	}
	if !ended || a.stopping.Err() != nil {
		w.Header()["Connection"] = connectionClose
	}
	write(w, resp)
}

// The values of headers are shared by all responses. No goroutine changes them.
var (
	plainText       = []string{"text/plain; charset=utf-8"}
	connectionClose = []string{"close"}
)

// maxSniffed is the length in bytes of a body up to which net/http finds out its
// type and its length by itself.
const maxSniffed = 2 << 10

// write sends resp to the client.
func write(w http.ResponseWriter, resp response) {
	// Headers that net/http sets by itself are not set here. This saves 9 % of the CPU
	// time of a small GET, because net/http copies the map of headers unless it is
	// empty.
	if len(resp.body) == 0 || len(resp.body) > maxSniffed || http.DetectContentType(resp.body) != plainText[0] {
		w.Header()["Content-Type"] = plainText
	}
	if len(resp.body) > maxSniffed {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(resp.body))}
	}
	w.WriteHeader(resp.status)
	w.Write(resp.body) // an error means that the client is gone
}
