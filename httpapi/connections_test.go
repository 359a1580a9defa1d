package httpapi

import (
	"errors"
	"math"
	"net"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"kvactor/httpapi/apitest"
)

// MaxConns connections are served, and the next one when one of them has ended. While all
// places are taken, each response is the last one of its connection.
func TestMaxConns(t *testing.T) {
	get := apitest.Request("GET", "/health", "")
	inBubble(t, setup{Config: Config{MaxConns: 3}}, func(t *testing.T, s *testServer) {
		var open []apitest.Client
		for range 3 {
			for _, c := range open { // a place is free
				c.Send(get)
				c.WantOpen(200)
			}
			open = append(open, s.connect(t))
			synctest.Wait()
		}
		waits := s.connect(t)
		served := make(chan token)
		go func() {
			waits.Send(get)
			close(served)
		}()
		synctest.Wait()
		select {
		case <-served:
			t.Fatal("one connection too many is served")
		default:
		}

		// A connection that only discards keeps its place, so the next response is the last
		// one of its connection, too.
		open[2].Send(apitest.Header("POST", "/kv/a", apitest.Chunked))
		open[2].WantLast(405)
		open[0].Send(get)
		open[0].WantLast(200)
		open[0].WantEnd()
		open[0].Close()
		waits.WantLast(200)
		waits.Close()
		synctest.Wait() // until its place is free
		open[1].Send(get)
		open[1].WantOpen(200)
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
		for name, sent := range map[string]string{
			"not served":   "",
			"served":       apitest.Header("GET", "/health"),
			"last request": apitest.Header("GET", "/health", "Connection: close"),
		} {
			c := l.dial(t)
			if sent != "" {
				c.Send(sent)
				c.WantResponse("GET", 200, "")
			}
			c.Close()
			time.Sleep(time.Minute) // a timer that was stopped may be in memory until it would fire
			if runtime.GC(); last.Value() != nil {
				t.Errorf("%s: the connection has ended, and something still refers to it", name)
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
		if err := errors.Join(err1, err2); received != 2*socketBuffer || sent != 2*socketBuffer || err != nil {
			t.Errorf("the buffers have %d and %d bytes, %v, want %d each", received, sent, err, 2*socketBuffer)
		}
	})
}

// A server with the largest limits that the command line accepts serves requests.
func TestLargestLimitsAreServed(t *testing.T) {
	s := start(t, setup{Config: Config{MaxConns: 1 << 20, MaxValueBytes: math.MaxInt64}})
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
		"GET":         {apitest.Request("GET", "/health", "", keepAlive), 200},
		"POST":        {apitest.Request("POST", "/kv/a", "", keepAlive), 405},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			send(c, http10(row.request)+apitest.Request("PUT", "/kv/second", "x"))
			c.WantLast(row.status)
			c.WantEnd()
			s.want(t, "second", "")
		})
	}
}

// A client that closes its sending half after its last request gets every response,
// although net/http cancels the context of a request when it reads the end. Here the client
// has done so before the store serves its first request, and before there are units for it.
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
		for _, held := range []bool{false, true} {
			inBubble(t, setup{}, func(t *testing.T, s *testServer) {
				s.put(t, "a", testLarge)
				var holders []apitest.Client
				if held && name != "a chunked PUT" { // which does not wait
					holders = []apitest.Client{s.holdIncoming(t), s.holdOutgoing(t, testMax)}
				}
				serve := make(chan token)
				s.fake.before = func(string) { <-serve }
				c := s.connect(t)
				sendLast(c, row.sent)
				synctest.Wait() // the server has read all that it can
				close(serve)
				synctest.Wait()
				for _, holder := range holders {
					holder.Close()
				}
				for n := range row.responses {
					if resp, body, err := c.Response("GET"); err != nil || resp.StatusCode != 200 {
						t.Fatalf("%s: response %d is %v %.20q, %v", name, n, resp, body, err)
					}
				}
				c.WantEnd()
			})
		}
	}
}

// A URI of 8,000 octets and 9 KiB of request line and header are served, and 14 KiB never.
// (net/http adds netHTTPSlack to MaxHeaderBytes.)
func TestHeaderSize(t *testing.T) {
	header := func(size int) string {
		empty := len(apitest.Header("GET", "/health", "A: "))
		return apitest.Header("GET", "/health", "A: "+strings.Repeat("x", size-empty))
	}
	for sent, status := range map[string]int{
		apitest.Request("PUT", "/kv/"+strings.Repeat("k", 8000-len("/kv/")), "value"): 200,
		header(9 << 10):    200,
		header(14<<10 + 1): 431,
	} {
		onEachRequest(t, strconv.Itoa(len(sent)), setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			send(c, sent)
			if resp, body, err := c.Response("GET"); err != nil || resp.StatusCode != status {
				t.Errorf("%v %q, %v, want %d", resp, body, err, status)
			}
		})
	}
}
