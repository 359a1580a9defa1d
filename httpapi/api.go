package httpapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/julienschmidt/httprouter"
)

// unit is the number of bytes in which values in flight are counted.
const unit = 64 << 10

// units returns how many units a value of n bytes takes while it is in flight. A value that
// is not large takes none.
func units(n int64) int64 {
	if n <= maxSmall {
		return 0
	}
	return (n-1)/unit + 1
}

const (
	// busyTimeout is how long a request may wait for units. It is less than the
	// time that clients usually give a request.
	busyTimeout = 3 * time.Second

	// healthTimeout is how long the owner may take to serve a health check.
	healthTimeout = time.Second
)

// A Store is what the API needs of the store behind it. *actor.Store is one, and describes
// the methods. Many goroutines call them at once. Put and Create return an error that wraps
// actor.ErrFull if there is no space, and Create one that wraps actor.ErrExists if the key
// exists. A method returns one that wraps actor.ErrStopped if the store has stopped. Other
// errors are logged.
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
	incoming      *limiter // of large values that clients send
	outgoing      *limiter // of large values that clients receive
	listener      *limitListener
}

// handler returns the handler of all requests.
func (a *api) handler() http.Handler {
	router := httprouter.New()
	router.RedirectTrailingSlash = false
	router.RedirectFixedPath = false
	router.HandleOPTIONS = false
	router.NotFound = a.always(notFound)
	router.MethodNotAllowed = a.always(methodNotAllowed) // the router has set Allow

	router.PUT("/kv/*key", a.withKey(a.put))
	router.GET("/kv/*key", a.withKey(a.get))
	router.DELETE("/kv/*key", a.withKey(a.delete))
	router.DELETE("/clear", a.withoutKey(a.clear))
	router.GET("/health", a.withoutKey(a.health))

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "*" { // stands for the server as a whole, and not for a path
			router.NotFound.ServeHTTP(w, r)
			return
		}
		router.ServeHTTP(w, r)
	})
}

// withKey returns a function that checks the key of a request before it calls serve.
func (a *api) withKey(serve func(x *exchange, key string) response) httprouter.Handle {
	return func(w http.ResponseWriter, r *http.Request, params httprouter.Params) {
		x := newExchange(w, r, a.listener)
		defer x.release()                                    // when the response is sent, or after a panic
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
		a.respond(newExchange(w, r, a.listener), serve())
	}
}

// always returns a handler that responds with resp to every request.
func (a *api) always(resp response) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.respond(newExchange(w, r, a.listener), resp)
	})
}

// respond logs resp and sends it to the client.
func (a *api) respond(x *exchange, resp response) {
	if !a.quiet {
		a.log.Print(requestLine(x.r.Method, x.r.URL.Path, resp))
	}
	if resp.cause != nil {
		a.log.Print("The store failed: " + printable(resp.cause.Error()))
	}
	x.respond(resp)
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
	needed := units(length)
	if length > a.maxValueBytes || needed > a.incoming.size {
		return valueTooLarge
	}
	if needed > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
		defer cancel()
		c := a.incoming.acquire(ctx, needed)
		if c == nil {
			return serverBusy
		}
		defer c.release()
	}

	value := make([]byte, length)
	for part := range slices.Chunk(value, bodyPart) {
		if length > maxSmall {
			x.extendDeadlines()
		}
		if _, err := io.ReadFull(x, part); err != nil {
			return responseToRead(err)
		}
	}
	return a.putValue(x, key, value)
}

// putChunked serves a PUT whose length is unknown until the body ends. The parts
// and then the value that they make need units for twice its length. The request claims
// them while it holds units, so it must not wait for them.
func (a *api) putChunked(x *exchange, key string) response {
	var parts [][]byte
	var length, held int64
	for x.left != 0 {
		if len(parts) > 0 {
			x.extendDeadlines()
		}
		part, err := io.ReadAll(io.LimitReader(x, bodyPart))
		if err != nil {
			return responseToRead(err)
		}
		parts = append(parts, part)
		length += int64(len(part))

		needed := 2 * units(length)
		if length > a.maxValueBytes || needed > a.incoming.size {
			return valueTooLarge
		}
		if needed > held {
			c := a.incoming.tryAcquire(needed - held)
			if c == nil {
				return serverBusy
			}
			defer c.release() // when the value is stored or refused
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
	resp := responseTo(err)
	if err == nil && !a.quiet {
		resp.stored = excerpt(value, isTextRune)
	}
	return resp
}

func (a *api) get(x *exchange, key string) response {
	x.readRest() // before the request holds units
	value, found, err := a.store.Get(context.Background(), key)
	needed := units(int64(len(value)))
	switch {
	case err != nil:
		return responseTo(err)
	case !found:
		return keyNotFound
	case needed > 0:
		return a.getLarge(x, key, needed)
	}
	return response{status: http.StatusOK, body: value}
}

// getLarge claims the units that the value of key needed, and then gets the value again.
// While it waits it holds no value, because that value may be replaced and would stay in
// memory.
func (a *api) getLarge(x *exchange, key string, needed int64) response {
	ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
	defer cancel()
	for {
		if x.claim = a.outgoing.acquire(ctx, needed); x.claim == nil {
			return serverBusy
		}
		value, found, err := a.store.Get(context.Background(), key)
		held := needed
		needed = units(int64(len(value)))
		switch {
		case err != nil:
			return responseTo(err)
		case !found:
			return keyNotFound
		case needed <= held: // the response keeps all of them, even if it needs fewer now
			return response{status: http.StatusOK, body: value}
		}
		x.claim.release() // the value was replaced by a larger one
	}
}

func (a *api) delete(x *exchange, key string) response {
	if hasCondition(x.r.Header) {
		return conditionNotSupported
	}
	_, err := a.store.Delete(context.Background(), key)
	return responseTo(err)
}

func (a *api) clear() response {
	return responseTo(a.store.Clear(context.Background()))
}

// health asks for a key that no client can store: any reply shows that the owner
// serves requests.
func (a *api) health() response {
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	_, _, err := a.store.Get(ctx, "")
	return responseTo(err)
}
