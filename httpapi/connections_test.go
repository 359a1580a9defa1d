package httpapi

import (
	"errors"
	"math"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"weak"

	"kvactor/httpapi/apitest"
)

// MaxConns connections are served, and the next one is accepted when one of them ends.
// While all are taken, each response is the last one of its connection.
func TestMaxConns(t *testing.T) {
	get := apitest.Request("GET", "/health", "")
	for _, conns := range []int{1, 3} {
		inBubble(t, setup{Config: Config{MaxConns: conns}}, func(t *testing.T, s *testServer) {
			var open []apitest.Client
			for range conns {
				for _, c := range open { // a connection is free
					c.Send(get)
					c.WantOpen(200)
				}
				open = append(open, s.connect(t))
				synctest.Wait()
			}
			accepted := make(chan apitest.Client, 1)
			go func() { accepted <- s.connect(t) }()
			synctest.Wait()
			if len(accepted) > 0 {
				t.Fatal("one connection too many is accepted")
			}
			if conns == 3 {
				// The server still discards the body, so open[2] keeps its place. All places
				// are taken, and the next response to open[0] is its last one, too.
				open[2].Send(apitest.Header("POST", "/kv/a", apitest.Chunked))
				open[2].WantLast(405)
			}
			open[0].Send(get)
			open[0].WantLast(200)
			open[0].WantEnd()
			c := <-accepted
			synctest.Wait()
			c.Send(get)
			c.WantLast(200)
			c.WantEnd()
			synctest.Wait()
			if conns == 3 { // c has ended, so a connection is free again
				open[1].Send(get)
				open[1].WantOpen(200)
			}
		})
	}
}

// The listener reports that all connections are taken before Accept is called again.
// Otherwise the first response on the last connection might keep it open for 2 min.
func TestLastPlaceIsKnownAtOnce(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		pipes := newPipeListener()
		l := newLimitListener(pipes, 2, s.events)
		for n, full := range []int{0, 1} {
			go pipes.dial(t)
			if _, err := l.Accept(); err != nil || len(l.full) != full {
				t.Errorf("after %d of 2 connections: %d tokens, %v, want %d", n+1, len(l.full), err, full)
			}
		}
	})
}

// The log says once that all connections are taken, and not again while some end and
// others take their places. It says so again after half of them were free.
func TestMaxConnsIsLoggedOnce(t *testing.T) {
	const line = "All 4 connections are taken, others wait\n"
	inBubble(t, setup{Config: Config{MaxConns: 4, Quiet: true}}, func(t *testing.T, s *testServer) {
		var open []apitest.Client
		for range 2 {
			for range 10 {
				for len(open) < 4 {
					open = append(open, s.connect(t))
					synctest.Wait()
				}
				open[0].Close()
				open[1].Close()
				open = open[2:]
				synctest.Wait()
			}
			open[0].Close()
			open = open[1:] // one of four is left
			synctest.Wait()
		}
		if logged := s.end(t); logged != line+line {
			t.Errorf("logged\n%s, want two lines, one for each time", logged)
		}
	})
}

// A server keeps nothing of a connection that has ended.
func TestEndedConnectionIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last weak.Pointer[pipeConn] // that was accepted
		l := &fakeListener{pipeListener: newPipeListener()}
		l.accept = func() (net.Conn, error) {
			c, err := l.pipeListener.Accept()
			if err == nil {
				last = weak.Make(c.(*pipeConn))
			}
			return c, err
		}
		startOn(t, l, setup{}, nil)
		for _, served := range []bool{false, true} {
			c := l.dial(t)
			if served {
				c.Want("GET", "/health", "", 200, "")
			}
			c.Close()
			synctest.Wait()
			if runtime.GC(); last.Value() != nil {
				t.Errorf("the connection has ended, and something still refers to it (served: %v)", served)
			}
		}
	})
}

// A failed Accept, as in a process without free files, takes no connection. net/http tries
// again.
func TestFailedAcceptTakesNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &fakeListener{pipeListener: newPipeListener()}
		failures := 10
		l.accept = func() (net.Conn, error) {
			if failures--; failures >= 0 {
				return nil, syscall.EMFILE
			}
			return l.pipeListener.Accept()
		}
		startOn(t, l, setup{Config: Config{MaxConns: 1}}, nil)
		l.dial(t).Want("GET", "/health", "", 200, "")
	})
}

// The kernel buffers little for a connection. Linux takes twice the size that it is given.
func TestSocketBuffers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	apitest.Dial(t, l.Addr().String())
	c, err := newLimitListener(l, 2, nil).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*conn).halfCloser.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		received, err1 := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		sent, err2 := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
		if err := errors.Join(err1, err2); received+sent != ConnBytes || err != nil {
			t.Errorf("the buffers have %d and %d bytes, %v, want %d in all", received, sent, err, ConnBytes)
		}
	})
}

// A server with the largest limits that the command line accepts serves requests.
func TestLargestLimitsAreServed(t *testing.T) {
	s := start(t, setup{Config: Config{MaxConns: math.MaxInt, MaxValueBytes: math.MaxInt64}})
	s.connect(t).Want("PUT", "/kv/a", "value", 200, "")
}

// A request of HTTP/1.0 is the only one of its connection, whatever it asks for: net/http
// ignores its Transfer-Encoding and could take the rest of its body for a request.
func TestHTTP10(t *testing.T) {
	const keepAlive = "Connection: keep-alive"
	for name, row := range map[string]struct {
		request string
		status  int
	}{
		"two lengths": {apitest.Header("PUT", "/kv/a", keepAlive, apitest.Chunked, length(5)) + "0\r\n\r\n", 200},
		"chunked":     {apitest.Header("PUT", "/kv/a", keepAlive, apitest.Chunked) + apitest.Chunks("value", ""), 400},
		"PUT":         {apitest.Request("PUT", "/kv/a", "value", keepAlive), 200},
		"GET":         {apitest.Request("GET", "/kv/kept", "", keepAlive), 200},
		"DELETE":      {apitest.Request("DELETE", "/kv/a", "", keepAlive), 200},
		"clear":       {apitest.Request("DELETE", "/clear", "", keepAlive), 200},
		"POST":        {apitest.Request("POST", "/kv/a", "", keepAlive), 405},
		"not found":   {apitest.Request("GET", "/none", "", keepAlive), 404},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "kept", "value")
			send(c, http10(row.request)+apitest.Request("PUT", "/kv/second", "x"))
			c.WantLast(row.status)
			c.WantEnd()
			s.want(t, "second", "")
		})
	}
}

// A client that closes its sending half after its last request gets every response,
// although net/http cancels the context of a request when it reads the end.
func TestClientThatClosesItsSendingHalf(t *testing.T) {
	put, get := apitest.Request("PUT", "/kv/a", testLarge), apitest.Request("GET", "/kv/a", "")
	for name, row := range map[string]struct {
		sent      string
		responses int
	}{
		"GETs":          {strings.Repeat(get, 10), 10},
		"each request":  {strings.Join(storeRequests, ""), len(storeRequests)},
		"a chunked PUT": {apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:testMax/2]), 1},
		"large PUTs":    {strings.Repeat(put, 5), 5},
	} {
		inBubble(t, setup{}, func(t *testing.T, s *testServer) {
			turn := make(chan token) // lets the store serve a request
			s.fake.before = func(string) { <-turn }
			s.put(t, "a", testLarge)
			c := s.connect(t)
			sendLast(c, row.sent)
			for n := range row.responses {
				synctest.Wait() // the server has read all that it can
				turn <- token{}
				if resp, body, err := c.Response("GET"); err != nil || resp.StatusCode != 200 {
					t.Fatalf("%s: response %d is %v %.20q, %v", name, n, resp, body, err)
				}
			}
			c.WantEnd()
		})
	}
}

// The request line and the header together may have 9 KiB. No request may have more than
// 14 KiB. The limit is not exact, because net/http does not count what it had read of a
// request before the previous one ended.
func TestHeaderSize(t *testing.T) {
	header := func(size int) string {
		empty := len(apitest.Header("GET", "/health", "A: "))
		return apitest.Header("GET", "/health", "A: "+strings.Repeat("x", size-empty))
	}
	fields := func(n int) string {
		return apitest.Header("GET", "/health", strings.Split(strings.Repeat("A:|", n)+"B:", "|")...)
	}
	for name, row := range map[string]struct {
		sent   string
		status int
	}{
		"a URI of 8,000 octets":    {apitest.Request("PUT", "/kv/"+strings.Repeat("k", 8000-len("/kv/")), "value"), 200},
		"9 KiB":                    {header(9 << 10), 200},
		"9,000 bytes in fields":    {fields((9000 - 42) / 4), 200},
		"14 KiB and a byte":        {header(14<<10 + 1), 431},
		"16,000 fields":            {fields(16_000), 431},
		"a request line of 15,000": {apitest.Header("GET", "/"+strings.Repeat("x", 15_000)), 431},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			send(c, row.sent)
			if resp, body, err := c.Response("GET"); err != nil || resp.StatusCode != row.status {
				t.Errorf("%v %q, %v, want %d", resp, body, err, row.status)
			}
		})
	}
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		c := s.connect(t)
		send(c, header(9<<10+1))
		c.WantLast(431) // or net/http adds another number than netHTTPSlack to MaxHeaderBytes
	})
}
