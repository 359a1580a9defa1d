package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
)

// shutdown calls Shutdown in a goroutine and waits until all that can happen has
// happened. The channel receives the result of Shutdown. Only tests in a bubble may
// call it.
func (s *testServer) shutdown() <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.Shutdown(context.Background()) }()
	synctest.Wait()
	return result
}

func TestShutdownClosesIdleConnections(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		var clients []apitest.Client
		for requests := range 4 {
			c := s.connect(t)
			for range requests {
				c.Want("PUT", "/kv/a", "value", 200, "")
			}
			clients = append(clients, c)
		}
		pipelined := s.connect(t)
		go io.WriteString(pipelined, strings.Repeat(apitest.Request("GET", "/kv/a", ""), 3))
		for range 3 {
			if resp, _, err := pipelined.Response("GET"); err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
		}
		clients = append(clients, pipelined)

		start := time.Now()
		result := s.shutdown()
		for i, c := range clients {
			if more, err := c.R.Peek(1); err != io.EOF {
				t.Errorf("connection %d: %q, %v, want its end", i, more, err)
			}
			c.Close()
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
		if waited := time.Since(start); waited > 0 {
			t.Errorf("Shutdown takes %v", waited)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("a second Shutdown: %v", err)
		}
	})
}

// A connection that is accepted while the server shuts down ends without a response.
func TestShutdownClosesNewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, conn := net.Pipe()
		l := lateListener{&pipeListener{closed: make(chan struct{})}, make(chan net.Conn, 1)}
		l.late <- conn
		s := startOn(t, l, setup{}, nil)
		synctest.Wait()
		result := s.shutdown()
		if sent, err := io.ReadAll(client); len(sent) > 0 || err != nil {
			t.Errorf("%q, %v, want the end of the connection", sent, err)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// A lateListener accepts a connection at the moment at which it is closed.
type lateListener struct {
	net.Listener
	late chan net.Conn
}

func (l lateListener) Accept() (net.Conn, error) {
	_, err := l.Listener.Accept() // returns when it is closed
	select {
	case c := <-l.late:
		return c, nil
	default:
		return nil, err
	}
}

// A request that has begun before Shutdown gets its response.
func TestShutdownWaitsForRequests(t *testing.T) {
	const get, put = "GET /health HTTP/1.1\r\nHost: kv\r\n\r\n", "PUT /kv/a HTTP/1.1\r\nHost: kv\r\nContent-Length: 5\r\n\r\nvalue"
	large := declared("PUT", "/kv/a", 100_000) + "\r\n"
	part := strings.Repeat("x", 50_000)

	for _, test := range []struct {
		name         string
		before, rest string // what is sent before Shutdown and after
		early        int    // responses that come before Shutdown
	}{
		{"a byte", get[:1], get[1:], 0},
		{"a part of the request line", get[:6], get[6:], 0},
		{"half a header", get[:30], get[30:], 0},
		{"a header", put[:len(put)-5], put[len(put)-5:], 0},
		{"half a body", put[:len(put)-2], put[len(put)-2:], 0},
		{"half a large body", large + part, part, 0},
		{"half a chunked body", chunkedHeader + chunked(part), chunked(part, ""), 0},
		{"half a body that no handler wants", declared("GET", "/health", 100) + "\r\n" + part[:50], part[:50], 0},
		{"a response and a byte", get + put[:1], put[1:], 1},
		{"a response and three bytes", get + put[:3], put[3:], 1},
		{"a response and four bytes", get + put[:4], put[4:], 1},
		{"a response and half a header", get + put[:30], put[30:], 1},
		{"a response and a header", get + put[:len(put)-5], put[len(put)-5:], 1},
		{"a response and half a body", get + put[:len(put)-2], put[len(put)-2:], 1},
		{"a response and half a large body", put + large + part, part, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachRequest(t, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
				go io.WriteString(c, test.before)
				for range test.early {
					if resp, _, err := c.Response("GET"); err != nil || resp.StatusCode != 200 {
						t.Fatal(resp, err)
					}
				}
				synctest.Wait() // the server has read what was sent
				result := s.shutdown()
				if len(result) > 0 {
					t.Error("Shutdown returns while a request is under way")
				}

				go io.WriteString(c, test.rest)
				resp, body, err := c.Response("GET")
				if err != nil || resp.StatusCode != 200 || !resp.Close {
					t.Errorf("%v %q, %v, want 200 and Connection: close", resp, body, err)
				}
				if err := <-result; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A request that is with the store gets its response, although it was received
// together with the request before it. The requests after it are not served.
func TestShutdownWaitsForPipelinedRequests(t *testing.T) {
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			var release chan struct{} // made in the bubble, to which it belongs
			var after atomic.Bool
			with := setup{before: func(_, key string) error {
				switch key {
				case "slow":
					<-release
				case "after":
					after.Store(true)
				}
				return nil
			}}
			inBubble(t, with, func(t *testing.T, s *testServer) {
				release = make(chan struct{})
				if err := s.store.Put(t.Context(), "slow", []byte("value"), 0); err != nil {
					t.Fatal(err)
				}
				c := s.connect(t)
				go io.WriteString(c, apitest.Request("GET", "/health", "")+apitest.Request(method, "/kv/slow", "value")+
					apitest.Request("PUT", "/kv/after", "value"))
				if resp, _, err := c.Response("GET"); err != nil || resp.StatusCode != 200 {
					t.Fatal(resp, err)
				}
				synctest.Wait()
				result := s.shutdown()
				close(release)
				resp, _, err := c.Response(method)
				if err != nil || resp.StatusCode != 200 || !resp.Close {
					t.Errorf("%v, %v, want 200 and Connection: close", resp, err)
				}
				if more, err := c.R.Peek(1); err != io.EOF {
					t.Errorf("then %q, %v, want the end of the connection", more, err)
				}
				if err := <-result; err != nil {
					t.Error(err)
				}
				if after.Load() {
					t.Error("the request after it is served")
				}
			})
		})
	}
}

// A request may begin while the one before it is with the store.
func TestShutdownWaitsForARequestThatBeganDuringAnother(t *testing.T) {
	next := apitest.Request("PUT", "/kv/next", "value")
	for _, begun := range []int{1, 2, len(next) / 2, len(next) - 1} {
		t.Run(next[:begun], func(t *testing.T) {
			var release chan struct{}
			with := setup{before: func(op, _ string) error {
				if op == "Ping" {
					<-release
				}
				return nil
			}}
			inBubble(t, with, func(t *testing.T, s *testServer) {
				release = make(chan struct{})
				c := s.connect(t)
				c.Send(apitest.Request("GET", "/health", ""))
				go io.WriteString(c, next[:begun])
				synctest.Wait() // the request waits for the store
				close(release)
				if resp, _, err := c.Response("GET"); err != nil || resp.StatusCode != 200 || resp.Close {
					t.Fatal(resp, err)
				}
				synctest.Wait()

				result := s.shutdown()
				go io.WriteString(c, next[begun:])
				if resp, _, err := c.Response("PUT"); err != nil || resp.StatusCode != 200 || !resp.Close {
					t.Errorf("%v, %v, want 200 and Connection: close", resp, err)
				}
				if err := <-result; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A PUT is logged as accepted only if its client gets the response, whenever Shutdown
// comes.
func TestAcceptedPutsHaveResponses(t *testing.T) {
	for round := range 20 {
		s := start(t, setup{})
		var responses atomic.Int64
		enough := make(chan struct{})
		var wg sync.WaitGroup
		for n := range 16 {
			c := s.connect(t)
			pipelined := 1 + n%4
			value := "value"
			if round%2 == 1 {
				value = strings.Repeat(value, 1000)
			}
			requests := strings.Repeat(apitest.Request("PUT", "/kv/a", value), pipelined)
			wg.Go(func() {
				defer c.Close()
				for {
					if _, err := io.WriteString(c, requests); err != nil {
						return
					}
					for range pipelined {
						resp, body, err := c.Response("PUT")
						if err != nil {
							return
						}
						if resp.StatusCode != 200 {
							t.Errorf("response %s: %s", resp.Status, body)
							return
						}
						if responses.Add(1) == 200 {
							close(enough)
						}
					}
				}
			})
		}
		<-enough
		if err := s.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		log := s.end(t)
		if accepted := strings.Count(log, " accepted"); int64(accepted) != responses.Load() || strings.Contains(log, "dropped") {
			t.Errorf("round %d: %d PUTs are logged as accepted, %d have a response", round, accepted, responses.Load())
		}
	}
}

// A client may send many requests before it reads a response. After shutdown it gets
// the responses to those that were served, although it still sends others.
func TestResponsesSurviveShutdown(t *testing.T) {
	const requests = 5000
	pipeline := strings.Repeat(apitest.Request("PUT", "/kv/a", "value"), requests)
	for round := range 5 {
		s := start(t, setup{})
		var clients []apitest.Client
		var sent sync.WaitGroup
		for range 4 {
			c := s.connect(t)
			c.Conn.(*net.TCPConn).SetReadBuffer(16 << 10) // most responses stay with the server
			sent.Go(func() {
				io.WriteString(c, pipeline)
				c.Conn.(*net.TCPConn).CloseWrite()
			})
			if _, err := c.R.Peek(1); err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
		}

		result := make(chan error, 1)
		go func() { result <- s.Shutdown(context.Background()) }()
		<-s.stopping.Done()
		var responses atomic.Int64
		var received sync.WaitGroup
		for _, c := range clients {
			received.Go(func() {
				for {
					resp, body, err := c.Response("PUT")
					if err != nil {
						return
					}
					if resp.StatusCode != 200 {
						t.Errorf("response %s: %s", resp.Status, body)
					}
					responses.Add(1)
				}
			})
		}
		sent.Wait()
		received.Wait()
		if err := <-result; err != nil {
			t.Error(err)
		}
		accepted := strings.Count(s.end(t), " accepted")
		if int64(accepted) != responses.Load() || accepted == len(clients)*requests {
			t.Errorf("round %d: of %d PUTs, %d are logged as accepted, %d have a response",
				round, len(clients)*requests, accepted, responses.Load())
		}
	}
}

// Shutdown may end the wait for a request at the moment at which the request begins. It
// does not change a deadline that comes later.
func TestShutdownWhileARequestBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		stopping, stop := context.WithCancel(t.Context())
		release := make(chan struct{})
		c := newConn(slowDeadline{server, release}, stopping, t.Context())

		read := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(c, make([]byte, len("GET /")))
			read <- err
		}()
		synctest.Wait()
		stop()
		synctest.Wait() // the deadline is about to pass
		go io.WriteString(client, "GET /")
		synctest.Wait()
		if len(read) > 0 {
			t.Error("Read returns before the deadline is set")
		}
		close(release)
		if err := <-read; err != nil {
			t.Errorf("Read: %v", err)
		}
	})
}

// A slowDeadline takes time to set a deadline in the past.
type slowDeadline struct {
	net.Conn
	release <-chan struct{}
}

func (c slowDeadline) SetReadDeadline(t time.Time) error {
	if t.Before(time.Now()) {
		<-c.release
	}
	return c.Conn.SetReadDeadline(t)
}

// Shutdown waits for a client that still sends, but not for one that is silent.
func TestShutdownWaitsUntilClientsAreSilent(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		const sends, pause = 10, lingerTimeout - time.Millisecond
		c := s.connect(t)
		c.Want("GET", "/health", "", 200, "")
		start := time.Now()
		result := s.shutdown()
		for range sends {
			time.Sleep(pause)
			c.Send(apitest.Request("PUT", "/kv/a", "value"))
		}
		if err := <-result; err != nil || time.Since(start) != sends*pause+lingerTimeout {
			t.Errorf("Shutdown returns %v after %v, want it after %v", err, time.Since(start), sends*pause+lingerTimeout)
		}
		if sent, err := io.ReadAll(c); len(sent) > 0 || err != nil {
			t.Errorf("%q, %v, want the end of the connection", sent, err)
		}
	})
}

// Close cuts off what Shutdown waits for.
func TestClose(t *testing.T) {
	for name, stalled := range map[string]func(t *testing.T, s *testServer) apitest.Client{
		"an upload": func(t *testing.T, s *testServer) apitest.Client {
			c := s.connect(t)
			c.Send(declared("PUT", "/kv/a", 100_000) + "\r\n")
			return c
		},
		"a response": func(t *testing.T, s *testServer) apitest.Client {
			s.putBig(t)
			c := s.connect(t)
			c.Send(apitest.Request("GET", "/kv/big", ""))
			return c
		},
		"a client that sends without end": func(t *testing.T, s *testServer) apitest.Client {
			c := s.connect(t)
			c.Want("GET", "/health", "", 200, "")
			ended := make(chan struct{})
			t.Cleanup(func() { <-ended })
			go func() {
				defer close(ended)
				for err := error(nil); err == nil; {
					time.Sleep(lingerTimeout / 2)
					_, err = io.WriteString(c, "x")
				}
			}()
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, setup{}, func(t *testing.T, s *testServer) {
				c := stalled(t, s)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Shutdown: %v, want %v", err, context.DeadlineExceeded)
				}
				s.Close()
				start := time.Now()
				if err := s.Shutdown(t.Context()); err != nil || time.Since(start) > 0 {
					t.Errorf("after Close, Shutdown: %v after %v", err, time.Since(start))
				}
				io.ReadAll(c) // ends, or the bubble deadlocks
			})
		})
	}
}

// Close ends Shutdown although no further connection may be open.
func TestCloseWhenConnectionsAreFull(t *testing.T) {
	inBubble(t, setup{Config: Config{MaxConns: 1}}, func(t *testing.T, s *testServer) {
		c := s.connect(t)
		c.Send(declared("PUT", "/kv/a", 100_000) + "\r\n")
		synctest.Wait()
		start := time.Now()
		s.Close()
		if err := <-s.served; err != nil || time.Since(start) > 0 {
			t.Errorf("Serve returns %v after %v", err, time.Since(start))
		}
		s.served <- nil // for end
	})
}

// Close without Shutdown ends Serve, too.
func TestCloseAlone(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		c := s.connect(t)
		c.Want("GET", "/health", "", 200, "")
		s.Close()
		if err := <-s.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		s.served <- nil // for end
	})
}

// Serve returns the error of its listener.
func TestServeReturnsTheErrorOfItsListener(t *testing.T) {
	want := errors.New("no more files")
	events := NewLog(io.Discard)
	server := NewServer(failingListener{&pipeListener{closed: make(chan struct{})}, want}, nil, events, Config{MaxValueBytes: 1, MaxConns: 1})
	if err := server.Serve(); !errors.Is(err, want) {
		t.Errorf("Serve: %v, want %v", err, want)
	}
}

// A failingListener accepts nothing.
type failingListener struct {
	net.Listener
	err error
}

func (l failingListener) Accept() (net.Conn, error) { return nil, l.err }
