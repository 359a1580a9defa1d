package httpapi

import (
	"net"
	"net/http"
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

// MaxConns connections are served. The next one waits until one of them has ended. While all
// places are taken, each response is the last one of its connection.
func TestMaxConns(t *testing.T) {
	get := apitest.Request("GET", "/health", "")
	inBubble(t, setup{Config: Config{MaxConns: 3}}, func(t *testing.T, s *testServer) {
		var open []apitest.Client
		for range 3 {
			for _, c := range open { // while a place is free, they stay open
				c.Send(get)
				c.WantOpen(200)
			}
			open = append(open, s.connect(t))
			synctest.Wait()
		}
		waits := s.connect(t)
		served := false
		go func() {
			waits.Send(get)
			served = true
		}()
		if synctest.Wait(); served {
			t.Error("one connection too many is served")
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
// others take their places. It says so again after fewer than half were taken.
func TestMaxConnsIsLoggedOnce(t *testing.T) {
	inBubble(t, setup{Config: Config{MaxConns: 4, Quiet: true}}, func(t *testing.T, s *testServer) {
		var open []apitest.Client
		for _, left := range []int{2, 2, 1, 2, 2} { // connections that do not end; one is fewer than half
			for len(open) < 4 {
				open = append(open, s.connect(t))
				synctest.Wait()
			}
			for len(open) > left {
				open[0].Close()
				open = open[1:]
			}
			synctest.Wait()
		}
		const line = "All 4 connections are taken, others wait\n"
		if logged := s.end(t); logged != line+line {
			t.Errorf("logged\n%s, want two lines, one for each time", logged)
		}
	})
}

// A server keeps nothing of a connection that has ended.
func TestEndedConnectionIsForgotten(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		var last weak.Pointer[conn] // that changed its state
		s.http.ConnState = func(c net.Conn, state http.ConnState) {
			last = weak.Make(c.(*conn))
			connState(c, state)
		}
		for name, fields := range map[string]string{"not served": "", "served": "A: b", "last request": "Connection: close"} {
			c := s.connect(t)
			if fields != "" {
				c.Send(apitest.Header("GET", "/health", fields))
				c.WantResponse("GET", 200, "")
			}
			c.Close()
			time.Sleep(time.Minute) // a timer that was stopped may be in memory until it would fire
			synctest.Wait()
			if runtime.GC(); last.Value() != nil {
				t.Errorf("%s: the connection has ended, and something still refers to it", name)
			}
		}
	})
}

// A failed Accept takes no place. After a temporary error, such as too many open files,
// net/http tries again.
func TestFailedAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := apitest.NewListener()
		startOn(t, l, setup{Config: Config{MaxConns: 1}}, nil)
		l.Return(nil, syscall.EMFILE)
		l.Dial(t).Want("GET", "/health", "", 200, "")
	})
}

// The kernel buffers little for a connection. Linux takes twice the size that it is given.
func TestSocketBuffers(t *testing.T) {
	tcp := start(t, setup{}).connect(t).Conn.(*net.TCPConn)
	tcp.SetReadBuffer(8 << 10) // the default may be right by chance
	tcp.SetWriteBuffer(8 << 10)
	l := apitest.NewListener()
	go l.Return(tcp, nil)
	if _, err := newLimitListener(l, 2, nil).Accept(); err != nil {
		t.Fatal(err)
	}
	file, err := tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, option := range []int{syscall.SO_RCVBUF, syscall.SO_SNDBUF} {
		size, err := syscall.GetsockoptInt(int(file.Fd()), syscall.SOL_SOCKET, option)
		if size != 2*socketBuffer || err != nil {
			t.Errorf("option %d: %d bytes, %v, want %d", option, size, err, 2*socketBuffer)
		}
	}
}

// A client that closes its sending half after its last request gets every response, although
// net/http cancels the context of a request when it reads the end. Here the client has done so
// before the store serves the first request, and before there are units for it.
func TestClientThatClosesItsSendingHalf(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		for _, sent := range append(storeRequests, strings.Join(storeRequests, "")) {
			s.fake.before = func() {} // or holdOutgoing would wait
			in, out := s.holdIncoming(t), s.holdOutgoing(t, testMax)
			serve := make(chan token)
			s.fake.before = func() { <-serve }
			c := s.connect(t)
			sendLast(c, sent)
			synctest.Wait() // the server has read all that it can
			close(serve)
			synctest.Wait()
			in.Close()
			out.Close()
			for range strings.Count(sent, " HTTP/1.1\r\n") {
				if resp, body, err := c.Response("GET"); err != nil || resp.StatusCode != 200 {
					t.Fatalf("%.40q: %v %.20q, %v", sent, resp, body, err)
				}
			}
			c.WantEnd()
		}
	})
}

// A URI of 8,000 octets and 9 KiB of request line and header are served, and more than 14 KiB
// never, on every request of a connection. What is between may be served, because net/http adds
// what it has buffered of a header to its limit.
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
