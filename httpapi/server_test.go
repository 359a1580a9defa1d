package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"kvactor/actor"
	"kvactor/httpapi/apitest"
)

// The limits of a server whose test does not choose others.
const (
	testBudget   = 4 << 20
	testMaxValue = 1 << 20
	testMaxConns = 1000
)

// slotSize is what the store counts for a key in addition to its bytes.
const slotSize = 128

// A setup is what a test chooses for its server. The zero value is good for most.
type setup struct {
	Config
	budget int64                      // of the store
	before func(op, key string) error // see hookedStore
}

// A testServer is a Server and the store behind it.
type testServer struct {
	*Server
	store   *actor.Store
	budget  int64
	connect func(t testing.TB) apitest.Client
	served  chan error // the result of Serve

	events  *Log
	logged  bytes.Buffer // the goroutine of events writes it until end
	endOnce sync.Once
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
		l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		test(t, startOn(t, l, with, func(t testing.TB) apitest.Client {
			conn, err := l.dial()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return apitest.New(t, conn)
		}))
	})
}

// onEachRequest runs test in three bubbles. The next request of c is the first, the
// second and the third of its connection.
func onEachRequest(t *testing.T, with setup, test func(t *testing.T, s *testServer, c apitest.Client)) {
	t.Helper()
	for n, name := range []string{"first request", "second request", "third request"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, with, func(t *testing.T, s *testServer) {
				c := s.connect(t)
				if n >= 1 {
					c.Want("PUT", "/kv/earlier", "value", 200, "")
				}
				if n >= 2 {
					c.Want("GET", "/kv/earlier", "", 200, "value")
				}
				test(t, s, c)
			})
		})
	}
}

// startOn starts a server that accepts from l. When the test ends, startOn shuts it
// down and checks what it leaves.
func startOn(t testing.TB, l net.Listener, with setup, connect func(testing.TB) apitest.Client) *testServer {
	if with.budget == 0 {
		with.budget = testBudget
	}
	if with.MaxValueBytes == 0 {
		with.MaxValueBytes = testMaxValue
	}
	if with.MaxConns == 0 {
		with.MaxConns = testMaxConns
	}
	s := &testServer{
		store:   actor.New(with.budget),
		budget:  with.budget,
		connect: connect,
		served:  make(chan error, 1),
	}
	go s.store.Run()
	t.Cleanup(s.store.Stop)

	s.events = NewLog(&s.logged)
	go s.events.Run()

	var store Store = s.store
	if with.before != nil {
		store = hookedStore{store, with.before}
	}
	s.Server = NewServer(l, store, s.events, with.Config)
	go func() { s.served <- s.Serve() }()
	t.Cleanup(func() { s.end(t) })
	return s
}

// end shuts the server down, returns what it has logged, and checks that nothing is
// left of its requests. It does so once.
func (s *testServer) end(t testing.TB) string {
	t.Helper()
	s.endOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
			s.Close()
			return
		}
		if err := <-s.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		s.events.Stop(context.Background())
		s.wantNothingInTransit(t)
	})
	return s.logged.String()
}

// wantNothingInTransit checks that the store has no byte counted for a value that
// arrives or leaves, and that it can be filled to its last byte. It clears the
// store. No request may be under way.
func (s *testServer) wantNothingInTransit(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	if err := s.store.Clear(ctx); errors.Is(err, actor.ErrStopped) {
		return
	}
	limit := s.budget + s.budget/4
	fits := s.store.Fits(ctx, "k", s.budget-slotSize-1)
	tooLarge := s.store.Fits(ctx, "k", s.budget-slotSize)
	all := s.store.Reserve(ctx, limit)
	for _, check := range []struct {
		what      string
		err, want error
	}{
		{"a value that fills the store", fits, nil},
		{"a value of one byte more", tooLarge, actor.ErrFull},
		{"all that may be in transit", all, nil},
		{"a byte more", s.store.Reserve(ctx, 1), actor.ErrFull},
	} {
		if check.err != check.want {
			t.Errorf("after all requests, %s: %v, want %v", check.what, check.err, check.want)
		}
	}
	if all == nil {
		s.store.Unreserve(limit)
	}
}

// A pipeListener accepts connections in memory. A connection is made when it is
// accepted.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) dial() (net.Conn, error) {
	toServer, fromClient := net.Pipe()
	toClient, fromServer := net.Pipe()
	select {
	case l.conns <- pipeConn{toClient, fromClient}:
		return pipeConn{toServer, fromServer}, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// A pipeConn is one end of a connection that consists of two pipes, one for each
// direction, so that a client can close its sending half.
type pipeConn struct {
	net.Conn // to the other end
	from     net.Conn
}

func (c pipeConn) Read(p []byte) (int, error)        { return c.from.Read(p) }
func (c pipeConn) SetReadDeadline(t time.Time) error { return c.from.SetReadDeadline(t) }
func (c pipeConn) CloseWrite() error                 { return c.Conn.Close() }

func (c pipeConn) Close() error {
	c.from.Close()
	return c.Conn.Close()
}

// A hookedStore calls before with the name of each method and its key. Before may
// wait, and may panic. If it returns an error, this is the result of the method.
type hookedStore struct {
	Store
	before func(op, key string) error
}

func (s hookedStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := s.before("Get", key); err != nil {
		return nil, false, err
	}
	return s.Store.Get(ctx, key)
}

func (s hookedStore) Fits(ctx context.Context, key string, n int64) error {
	if err := s.before("Fits", key); err != nil {
		return err
	}
	return s.Store.Fits(ctx, key, n)
}

func (s hookedStore) Reserve(ctx context.Context, n int64) error {
	if err := s.before("Reserve", ""); err != nil {
		return err
	}
	return s.Store.Reserve(ctx, n)
}

func (s hookedStore) Put(ctx context.Context, key string, value []byte, reserved int64) error {
	if err := s.before("Put", key); err != nil {
		return err
	}
	return s.Store.Put(ctx, key, value, reserved)
}

func (s hookedStore) Delete(ctx context.Context, key string) error {
	if err := s.before("Delete", key); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key)
}

func (s hookedStore) Clear(ctx context.Context) error {
	if err := s.before("Clear", ""); err != nil {
		return err
	}
	return s.Store.Clear(ctx)
}

func (s hookedStore) Ping(ctx context.Context) error {
	if err := s.before("Ping", ""); err != nil {
		return err
	}
	return s.Store.Ping(ctx)
}

// The header of an upload of unknown length.
const chunkedHeader = "PUT /kv/a HTTP/1.1\r\nHost: kv\r\nTransfer-Encoding: chunked\r\n\r\n"

// chunked returns chunks as they are sent. The last chunk of a body is empty.
func chunked(chunks ...string) string {
	var body strings.Builder
	for _, chunk := range chunks {
		fmt.Fprintf(&body, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return body.String()
}

// declared returns a header for a body of n bytes. More fields may follow.
func declared(method, target string, n int64) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n", method, target, n)
}

// MaxConns connections are served. The next one is accepted when one of them ends.
func TestMaxConns(t *testing.T) {
	inBubble(t, setup{Config: Config{MaxConns: 3}}, func(t *testing.T, s *testServer) {
		var open []apitest.Client
		for range 3 {
			open = append(open, s.connect(t))
		}
		for range 2 {
			accepted := make(chan apitest.Client, 1)
			go func() { accepted <- s.connect(t) }()
			synctest.Wait()
			if len(accepted) > 0 {
				t.Fatal("a fourth connection is accepted")
			}
			for _, c := range open {
				c.Want("GET", "/health", "", 200, "")
			}

			open[0].Close()
			synctest.Wait()
			if len(accepted) == 0 {
				t.Fatal("one of three connections has ended, and another is not accepted")
			}
			open = append(open[1:], <-accepted)
		}
	})
}

func TestFullConnectionsDoNotKeepShutdownWaiting(t *testing.T) {
	for _, conns := range []int{1, 3} {
		inBubble(t, setup{Config: Config{MaxConns: conns}}, func(t *testing.T, s *testServer) {
			for range conns {
				s.connect(t).Want("GET", "/health", "", 200, "")
			}
			start := time.Now()
			if err := s.Shutdown(t.Context()); err != nil || time.Since(start) > lingerTimeout {
				t.Errorf("with %d idle connections of %d, Shutdown returns %v after %v", conns, conns, err, time.Since(start))
			}
		})
	}
}

// A server keeps nothing of a connection that has ended.
func TestEndedConnectionIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &weakListener{pipeListener: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		startOn(t, l, setup{}, nil)
		client, err := l.dial()
		if err != nil {
			t.Fatal(err)
		}
		apitest.New(t, client).Want("GET", "/health", "", 200, "")
		client.Close()
		synctest.Wait()
		runtime.GC()
		if l.last.Value() != nil {
			t.Error("a connection has ended, and something still refers to it")
		}
	})
}

// A weakListener has a weak pointer to the last connection that was accepted.
type weakListener struct {
	*pipeListener
	last weak.Pointer[pipeConn]
}

func (l *weakListener) Accept() (net.Conn, error) {
	c, err := l.pipeListener.Accept()
	if err != nil {
		return nil, err
	}
	pipe := c.(pipeConn)
	l.last = weak.Make(&pipe)
	return &pipe, nil
}

// The largest limits that the command line accepts.
func TestLargestConfig(t *testing.T) {
	s := start(t, setup{Config: Config{MaxConns: math.MaxInt, MaxValueBytes: math.MaxInt64}})
	s.connect(t).Want("PUT", "/kv/a", "value", 200, "")
}

// The request line and the header together may have 9 KiB.
func TestHeaderSize(t *testing.T) {
	header := func(size int) string {
		const line, end = "GET /health HTTP/1.1\r\nHost: kv\r\n", "\r\n\r\n"
		return line + "A: " + strings.Repeat("x", size-len(line)-len("A: ")-len(end)) + end
	}
	fields := func(n int) string {
		return "GET /health HTTP/1.1\r\nHost: kv\r\n" + strings.Repeat("A:\r\n", n) + "\r\n"
	}
	for _, test := range []struct {
		name, sent string
		status     int
	}{
		{"URI of 8,000 octets", apitest.Request("PUT", "/kv/"+strings.Repeat("k", 8000-len("/kv/")), "value"), 200},
		{"9 KiB", header(9 << 10), 200},
		{"a header in 2,000 fields", fields(2000), 200},
		// net/http may read up to 4 KiB of a later request before it starts to count.
		{"13 KiB and a byte", header(13<<10 + 1), 431},
		{"64 KiB", header(64 << 10), 431},
		{"16,000 fields", fields(16_000), 431},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachRequest(t, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
				go c.Write([]byte(test.sent)) // the server need not read it all
				resp, body, err := c.Response("GET")
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != test.status {
					t.Errorf("%s: %s, want %d", resp.Status, body, test.status)
				}
			})
		})
	}
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		c := s.connect(t)
		go c.Write([]byte(header(9<<10 + 1)))
		if resp, _, err := c.Response("GET"); err != nil || resp.StatusCode != 431 {
			t.Errorf("the first header has 9 KiB and a byte: %v, %v, want 431", resp, err)
		}
	})
}

// A client that closes its sending half after its last request gets every response,
// although net/http cancels the context of a request when it reads the end.
func TestClientThatClosesItsSendingHalf(t *testing.T) {
	put := apitest.Request("PUT", "/kv/a", strings.Repeat("x", 10_000))
	for _, test := range []struct {
		name, sent string
		responses  int
	}{
		{"ten GETs", strings.Repeat(apitest.Request("GET", "/kv/b", ""), 10), 10},
		{"a PUT", put, 1},
		{"a small PUT", apitest.Request("PUT", "/kv/a", "value"), 1},
		{"a chunked PUT", chunkedHeader + chunked("value", ""), 1},
		{"five PUTs", strings.Repeat(put, 5), 5},
		{"all requests", put + apitest.Request("GET", "/kv/a", "") + apitest.Request("DELETE", "/kv/a", "") +
			apitest.Request("GET", "/health", "") + apitest.Request("DELETE", "/clear", ""), 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			var turn chan struct{} // holds a token when the store may do an operation
			before := func(op, _ string) error {
				if op != "Fits" && op != "Reserve" {
					<-turn
				}
				return nil
			}
			inBubble(t, setup{before: before}, func(t *testing.T, s *testServer) {
				turn = make(chan struct{})
				if err := s.store.Put(t.Context(), "b", []byte("value"), 0); err != nil {
					t.Fatal(err)
				}
				c := s.connect(t)
				go func() {
					io.WriteString(c, test.sent)
					c.Conn.(pipeConn).CloseWrite()
				}()
				for i := range test.responses {
					synctest.Wait() // the server has read all that it can
					turn <- struct{}{}
					if resp, body, err := c.Response("GET"); err != nil || resp.StatusCode != 200 {
						t.Fatalf("response %d of %d: %v %.20q, %v", i+1, test.responses, resp, body, err)
					}
				}
				if more, err := c.R.Peek(1); err != io.EOF {
					t.Errorf("then %q, %v, want the end of the connection", more, err)
				}
			})

			s := start(t, setup{})
			if err := s.store.Put(t.Context(), "b", []byte("value"), 0); err != nil {
				t.Fatal(err)
			}
			c := s.connect(t)
			c.Send(test.sent)
			c.Conn.(*net.TCPConn).CloseWrite()
			for i := range test.responses {
				if resp, body, err := c.Response("GET"); err != nil || resp.StatusCode != 200 {
					t.Fatalf("over TCP, response %d of %d: %v %.20q, %v", i+1, test.responses, resp, body, err)
				}
			}
		})
	}
}
