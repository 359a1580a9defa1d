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
	for _, conns := range []int{1, 3} {
		inBubble(t, setup{Config: Config{MaxConns: conns}}, func(t *testing.T, s *testServer) {
			var open []apitest.Client
			for n := range conns {
				if n > 0 {
					if resp := open[0].Want("GET", "/health", "", 200, ""); resp.Close {
						t.Error("a connection is free, and the response says Connection: close")
					}
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
			if resp := open[0].Want("GET", "/health", "", 200, ""); !resp.Close {
				t.Error("all connections are taken, and the response does not say Connection: close")
			}
			open[0].WantEnd()
			synctest.Wait()
			if len(accepted) == 0 {
				t.Fatal("a connection has ended, and another is not accepted")
			}
			c := <-accepted
			c.Want("GET", "/health", "", 200, "")
			c.WantEnd()
			for _, c := range open[1:] {
				c.Want("GET", "/health", "", 200, "")
			}
		})
	}
}

// The log says once that all connections are taken, and not again while some end and
// others take their places. It says so again after half of them were free.
func TestMaxConnsIsLoggedOnce(t *testing.T) {
	const line = "All 4 connections are taken, others wait\n"
	inBubble(t, setup{Config: Config{MaxConns: 4, Quiet: true}}, func(t *testing.T, s *testServer) {
		var open []apitest.Client
		fill := func() {
			for len(open) < 4 {
				open = append(open, s.connect(t))
				synctest.Wait()
			}
		}
		end := func(n int) {
			for _, c := range open[:n] {
				c.Close()
			}
			open = open[n:]
			synctest.Wait()
		}
		for range 2 {
			for range 10 {
				fill()
				end(2)
			}
			end(1) // one of four is left
		}
		if logged := s.end(t); logged != line+line {
			t.Errorf("logged\n%s, want two lines, one for each time", logged)
		}
	})
}

// A server keeps nothing of a connection that has ended.
func TestEndedConnectionIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &weakListener{pipeListener: newPipeListener()}
		startOn(t, l, setup{}, nil)
		for _, request := range []string{"", apitest.Request("GET", "/health", "")} {
			c := l.dial(t)
			if request != "" {
				c.Send(request)
				c.WantResponse("GET", 200, "")
			}
			c.Close()
			synctest.Wait()
			if runtime.GC(); l.last.Value() != nil {
				t.Errorf("after %q, the connection has ended, and something still refers to it", request)
			}
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

// A failed Accept takes no connection. net/http tries again.
func TestFailedAcceptTakesNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &flakyListener{pipeListener: newPipeListener(), failures: 10}
		startOn(t, l, setup{Config: Config{MaxConns: 1}}, nil)
		l.dial(t).Want("GET", "/health", "", 200, "")
	})
}

// A flakyListener fails at first, as one does in a process without free files.
type flakyListener struct {
	*pipeListener
	failures int
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.failures--; l.failures >= 0 {
		return nil, temporary{errors.New("too many open files")}
	}
	return l.pipeListener.Accept()
}

type temporary struct{ error }

func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }

// The kernel buffers little for a connection. Linux takes twice the size that it is given.
func TestSocketBuffers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	apitest.Dial(t, l.Addr().String())
	c, err := newLimitListener(l, 1, nil).Accept()
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

// The largest limits that the command line accepts.
func TestLargestLimits(t *testing.T) {
	s := start(t, setup{Config: Config{MaxConns: math.MaxInt, MaxValueBytes: math.MaxInt64}})
	s.connect(t).Want("PUT", "/kv/a", "value", 200, "")
}

// The request line and the header together may have 9 KiB. No request may have more than
// 14 KiB: net/http may have read some KiB of a later request before it counts.
func TestHeaderSize(t *testing.T) {
	t.Parallel()
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
		"9,000 bytes":              {header(9000), 200},
		"9 KiB":                    {header(9 << 10), 200},
		"9,000 bytes in fields":    {fields((9000 - 42) / 4), 200},
		"14 KiB and a byte":        {header(14<<10 + 1), 431},
		"64 KiB":                   {header(64 << 10), 431},
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
		if resp, _, err := c.Response("GET"); err != nil || resp.StatusCode != 431 {
			t.Errorf("%v, %v, want 431 for a byte more than 9 KiB: net/http adds another number than netHTTPSlack to MaxHeaderBytes", resp, err)
		}
	})
}
