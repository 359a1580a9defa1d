package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/actor"
	"kvactor/httpapi/apitest"
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // unless the command line says another number: some tests wait for the kernel
	debug.SetGCPercent(400)        // saves a third of the CPU time
	m.Run()
}

// The limits of a server whose test does not choose others.
const (
	testBudget = 64 << 20
	testMax    = 1 << 20 // of a value, and of all large values in each direction
	testConns  = 1000
)

// testLarge is a value that needs all units of a server.
var testLarge = strings.Repeat("x", testMax)

// A setup is what a test chooses for its server. The zero value is good for most.
type setup struct {
	Config
	budget int64 // of the store
}

// A fakeStore passes each call on to Store. It calls before first, which may wait and may
// panic.
type fakeStore struct {
	Store
	before func()
}

func (s *fakeStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	s.before()
	return s.Store.Get(ctx, key)
}

func (s *fakeStore) Put(ctx context.Context, key string, value []byte) error {
	s.before()
	return s.Store.Put(ctx, key, value)
}

func (s *fakeStore) Create(ctx context.Context, key string, value []byte) error {
	s.before()
	return s.Store.Create(ctx, key, value)
}

func (s *fakeStore) Delete(ctx context.Context, key string) (bool, error) {
	s.before()
	return s.Store.Delete(ctx, key)
}

func (s *fakeStore) Clear(ctx context.Context) error {
	s.before()
	return s.Store.Clear(ctx)
}

// A testServer is a Server and the store behind it.
type testServer struct {
	*Server
	store   *actor.Store
	fake    *fakeStore // around store
	connect func(t testing.TB) apitest.Client

	served chan error // receives the result of Serve, and is then closed

	events *Log
	logged bytes.Buffer // the owner of events writes it until end
}

// start starts a server on a TCP port until the test ends.
func start(t testing.TB, with setup) *testServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, l, with, func(t testing.TB) apitest.Client { return apitest.Dial(t, l.Addr().String()) })
}

// inBubble runs test in a synctest bubble, with a server whose connections are in
// memory. Their deadlines follow the fake clock of the bubble. The bubble fails the
// test if a goroutine is left at its end.
func inBubble(t *testing.T, with setup, test func(t *testing.T, s *testServer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // goroutines that still sleep wake up before the bubble ends
		l := apitest.NewListener()
		test(t, startOn(t, l, with, l.Dial))
	})
}

// onEachRequest runs test in two bubbles. In one c has sent nothing, in the other two requests.
func onEachRequest(t *testing.T, name string, with setup, test func(t *testing.T, s *testServer, c apitest.Client)) {
	t.Helper()
	for _, served := range []int{0, 2} {
		t.Run(fmt.Sprintf("%s, request %d", name, served+1), func(t *testing.T) {
			t.Parallel()
			inBubble(t, with, func(t *testing.T, s *testServer) {
				c := s.connect(t)
				for range served {
					c.Want("POST", "/kv/a", "value", 405, "method not allowed")
				}
				test(t, s, c)
			})
		})
	}
}

// startOn starts a server that accepts from l. When the test ends, startOn shuts it
// down and checks what it leaves.
func startOn(t testing.TB, l net.Listener, with setup, connect func(testing.TB) apitest.Client) *testServer {
	with.budget = cmp.Or(with.budget, testBudget)
	with.MaxValueBytes = cmp.Or(with.MaxValueBytes, testMax)
	with.MaxInflightBytes = cmp.Or(with.MaxInflightBytes, min(with.MaxValueBytes, testMax))
	with.MaxConns = cmp.Or(with.MaxConns, testConns)
	s := &testServer{store: actor.New(with.budget), connect: connect, served: make(chan error, 1)}
	t.Cleanup(s.store.Stop)
	s.fake = &fakeStore{s.store, func() {}}
	s.events = NewLog(&s.logged)
	s.Server = NewServer(l, s.fake, s.events, with.Config)
	go func() {
		s.served <- s.Serve()
		close(s.served)
	}()
	t.Cleanup(func() { s.end(t) })
	return s
}

// end shuts the server down and returns what it has logged. It may be called again.
func (s *testServer) end(t testing.TB) string {
	t.Helper()
	if s.api.listener.closed.Err() == nil {
		s.wantAllUnits(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatalf("Shutdown: %v", err)
	}
	if err := <-s.served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	s.events.Stop(context.Background())
	return s.logged.String()
}

// wantAllUnits checks that no request has kept units, or has given some back twice.
func (s *testServer) wantAllUnits(t testing.TB) {
	t.Helper()
	for _, l := range []*limiter{s.api.incoming, s.api.outgoing} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if c := l.acquire(ctx, l.size); c == nil || l.tryAcquire(1) != nil {
			t.Error("a request has kept units, or has given some back twice")
		} else {
			c.release()
		}
		cancel()
	}
}

// holdIncoming takes all units for values that come in. They are free again when the
// client, which it returns, closes its connection.
func (s *testServer) holdIncoming(t testing.TB) apitest.Client {
	t.Helper()
	c := s.connect(t)
	c.Send(apitest.Header("PUT", "/kv/held", length(testMax), "Expect: 100-continue"))
	c.WantResponse("PUT", http.StatusContinue, "")
	return c
}

// holdOutgoing takes the units that a value of n bytes needs on its way out. They are
// free again when the client, which it returns, closes its connection. Only tests in a
// bubble may call it: the kernel would buffer the value.
func (s *testServer) holdOutgoing(t testing.TB, n int) apitest.Client {
	t.Helper()
	s.put(t, "held", testLarge[:n])
	c := s.connect(t)
	c.Send(apitest.Request("GET", "/kv/held", ""))
	if _, err := c.R.Peek(1); err != nil {
		t.Fatal(err)
	}
	return c
}

// put stores value without HTTP.
func (s *testServer) put(t testing.TB, key, value string) {
	t.Helper()
	if err := s.store.Put(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

// want checks the value of key without HTTP. No key has an empty value.
func (s *testServer) want(t testing.TB, key, want string) {
	t.Helper()
	value, found, err := s.store.Get(context.Background(), key)
	if string(value) != want || found != (want != "") || err != nil {
		t.Errorf("the store has %.40q (%d bytes) for %s, %v, %v; want %.40q (%d bytes)", value, len(value), key, found, err, want, len(want))
	}
}

// wantTime checks how much time has passed since start. Only in a bubble is it exact.
func wantTime(t testing.TB, start time.Time, want time.Duration) {
	t.Helper()
	if passed := time.Since(start); passed != want {
		t.Errorf("after %v, want %v", passed, want)
	}
}

// send sends text while the test goes on. The server may not read it all.
func send(c apitest.Client, text string) { go io.WriteString(c, text) }

// sendLast is like send, and then closes the sending half of the connection.
func sendLast(c apitest.Client, text string) {
	go func() {
		io.WriteString(c, text)
		c.CloseWrite()
	}()
}

// length returns a field for a body of n bytes.
func length(n int64) string { return fmt.Sprintf("Content-Length: %d", n) }

// http10 returns request with another version.
func http10(request string) string { return strings.Replace(request, "HTTP/1.1", "HTTP/1.0", 1) }

// NewServer says what it cannot work with.
func TestNewServerChecksItsArguments(t *testing.T) {
	log := NewLog(io.Discard)
	defer log.Stop(t.Context())
	check := func(log *Log, config Config, want string) {
		defer func() {
			if got := recover(); got != "httpapi: "+want {
				t.Errorf("%+v: NewServer panics with %v, want %s", config, got, want)
			}
		}()
		NewServer(apitest.NewListener(), nil, log, config)
	}
	check(log, Config{}, "Config.MaxValueBytes must be at least 1")
	check(log, Config{MaxValueBytes: 1}, "Config.MaxInflightBytes must be at least 1")
	check(log, Config{MaxValueBytes: 1, MaxInflightBytes: 1, MaxConns: -1}, "Config.MaxConns must be at least 1")
	check(nil, Config{MaxValueBytes: 1, MaxInflightBytes: 1, MaxConns: 1}, "the log of NewServer must not be nil")
}
