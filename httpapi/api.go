// Package httpapi serves a key–value store over HTTP. It judges requests, asks
// the store, and tells client and log what came of it. It owns no data.
//
//	log := httpapi.NewLog(os.Stderr)
//	go log.Run(ctx)
//
//	store := actor.New(1 << 30)
//	go store.Run(ctx)
//
//	http.ListenAndServe(":8080", httpapi.New(store, 64<<20, log))
//
// The routes:
//
//	PUT    /kv/{key}   store the body, UTF-8 text, under key
//	GET    /kv/{key}   answer with the value of key
//	DELETE /kv/{key}   remove key, whether or not it is there
//	DELETE /clear      remove every key
//	GET    /health     answer 200 if the store is answering
//
// A key is one or more of the ASCII letters and digits, ':', '_', '.' and '-',
// after percent-decoding. An answer other than 200 gives its reason as text.
//
// The request log has an owner too: one goroutine, Log.Run, has the writer to
// itself. But where handlers wait for the store, they never wait for the writer.
package httpapi

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/julienschmidt/httprouter"

	"kvactor/actor"
)

// A Store is what the API needs of the store behind it; *actor.Store is one.
// Many goroutines call its methods at once.
type Store interface {
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	Clear(ctx context.Context) error
	Ping(ctx context.Context) error
}

type api struct {
	store         Store
	maxValueBytes int64
	log           *Log
}

// A route is a row of the API: handle answers the requests of method for path.
// A path that ends in /*key gives it the key.
type route struct {
	method, path string
	handle       func(a *api, ctx context.Context, key string, body *upload) answer
}

var routes = []route{
	{http.MethodPut, "/kv/*key", (*api).put},
	{http.MethodGet, "/kv/*key", (*api).get},
	{http.MethodDelete, "/kv/*key", (*api).delete},
	{http.MethodDelete, "/clear", (*api).clear},
	{http.MethodGet, "/health", (*api).health},
}

// New returns the handler of the API in front of store. A value may have up to
// maxValueBytes. Every request makes a line in log; a nil log is for none.
func New(store Store, maxValueBytes int64, log *Log) http.Handler {
	a := &api{store, maxValueBytes, log}

	router := httprouter.New()
	router.RedirectTrailingSlash = false
	router.RedirectFixedPath = false
	router.HandleOPTIONS = false
	router.NotFound = http.HandlerFunc(a.notFound)
	router.MethodNotAllowed = http.HandlerFunc(a.methodNotAllowed)
	for _, route := range routes {
		router.Handle(route.method, route.path, a.serve(route))
	}
	return router
}

// serve returns the function that serves the requests of route.
func (a *api) serve(route route) httprouter.Handle {
	path, keyed := strings.CutSuffix(route.path, "*key")

	return func(w http.ResponseWriter, r *http.Request, params httprouter.Params) {
		body := openUpload(w, r, a.maxValueBytes)

		var key string
		var ans answer
		if keyed {
			key = params[0].Value[len("/"):]
			ans = judge(key)
		}
		if ans.status == 0 {
			ans = route.handle(a, r.Context(), key, body)
		}

		a.log.request(route.method, path, key, ans)
		write(w, body, ans)
	}
}

func (a *api) notFound(w http.ResponseWriter, r *http.Request) {
	a.refuse(w, r, notFound)
}

// methodNotAllowed refuses a request for which httprouter has found that other
// methods work on its path, and has named them in the Allow header.
func (a *api) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "*" { // it stands for the server, and is no path of it
		w.Header().Del("Allow")
		a.refuse(w, r, notFound)
		return
	}
	a.refuse(w, r, methodNotAllowed)
}

// refuse answers a request of no route.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, ans answer) {
	body := openUpload(w, r, a.maxValueBytes)
	a.log.refusal(r.Method, r.URL.Path, ans)
	write(w, body, ans)
}

func (a *api) put(ctx context.Context, key string, body *upload) answer {
	value, err := body.readAll()
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return valueTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return valueStalled
	case err != nil:
		return valueIncomplete
	case len(value) == 0:
		return valueEmpty
	case !utf8.Valid(value):
		return valueNotUTF8
	}

	// With this the value is the store's, and nobody's to change (the store's
	// guarantee 6, sent means given). The key is a part of the request's header:
	// the store gets a copy, or it would keep the whole header in memory.
	if err := a.store.Put(ctx, strings.Clone(key), value); err != nil {
		return failure(err)
	}
	return answer{status: http.StatusOK, stored: value} // the log may read it
}

func (a *api) get(ctx context.Context, key string, _ *upload) answer {
	value, found, err := a.store.Get(ctx, key)
	switch {
	case err != nil:
		return failure(err)
	case !found:
		return keyNotFound
	}
	return answer{status: http.StatusOK, body: value}
}

func (a *api) delete(ctx context.Context, key string, _ *upload) answer {
	return outcome(a.store.Delete(ctx, key))
}

func (a *api) clear(ctx context.Context, _ string, _ *upload) answer {
	return outcome(a.store.Clear(ctx))
}

func (a *api) health(ctx context.Context, _ string, _ *upload) answer {
	return outcome(a.store.Ping(ctx))
}

// judge returns the answer to a request for a key that is none, or the zero
// answer if key is one.
func judge(key string) answer {
	if key == "" {
		return keyEmpty
	}
	for i := range len(key) {
		if !isKeyByte(key[i]) {
			return keyInvalid
		}
	}
	return answer{}
}

func isKeyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == ':' || c == '_' || c == '.' || c == '-'
}

// An answer is what a request comes to.
type answer struct {
	status int
	body   []byte
	stored []byte // the value that a PUT stored, for the log
}

var (
	done             = answer{status: http.StatusOK}
	keyEmpty         = refusal(http.StatusBadRequest, "key cannot be empty")
	keyInvalid       = refusal(http.StatusBadRequest, "key contains invalid characters")
	valueEmpty       = refusal(http.StatusBadRequest, "value cannot be empty")
	valueNotUTF8     = refusal(http.StatusBadRequest, "value must be valid UTF-8")
	valueIncomplete  = refusal(http.StatusBadRequest, "value is incomplete")
	keyNotFound      = refusal(http.StatusNotFound, "key not found")
	notFound         = refusal(http.StatusNotFound, "not found")
	methodNotAllowed = refusal(http.StatusMethodNotAllowed, "method not allowed")
	valueStalled     = refusal(http.StatusRequestTimeout, "value took too long")
	valueTooLarge    = refusal(http.StatusRequestEntityTooLarge, "value too large")
	storeUnavailable = refusal(http.StatusServiceUnavailable, "store is unavailable")
	storeFull        = refusal(http.StatusInsufficientStorage, "store is full")
)

func refusal(status int, reason string) answer {
	return answer{status: status, body: []byte(reason)}
}

// outcome returns the answer to a request that the store has nothing to say to
// but err.
func outcome(err error) answer {
	if err != nil {
		return failure(err)
	}
	return done
}

// failure returns the answer to a request that the store refused with err.
func failure(err error) answer {
	if errors.Is(err, actor.ErrFull) {
		return storeFull
	}
	return storeUnavailable
}

// The values of headers are shared by all answers: nobody changes them.
var (
	plainText = []string{"text/plain; charset=utf-8"}
	closing   = []string{"close"}
)

// smallBody is the length up to which net/http counts a body itself.
const smallBody = 2 << 10

// write sends ans to the client, once the rest of its upload is out of the way.
func write(w http.ResponseWriter, body *upload, ans answer) {
	if ans.status != http.StatusRequestEntityTooLarge {
		body.discard()
	}

	// Headers cost more than all else in here. Where net/http comes to the
	// same type by looking at the body, it is left to it.
	if ans.body == nil || len(ans.body) > smallBody || http.DetectContentType(ans.body) != plainText[0] {
		header := w.Header()
		header["Content-Type"] = plainText
		if len(ans.body) > smallBody {
			header["Content-Length"] = []string{strconv.Itoa(len(ans.body))}
		}
	}
	if ans.status == http.StatusServiceUnavailable {
		// The store has stopped, or net/http took the client for gone; if so,
		// it will for as long as the connection lasts.
		w.Header()["Connection"] = closing
	}
	w.WriteHeader(ans.status)
	w.Write(ans.body) // an error means that the client is gone
}
