package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
)

// shutdownTime is more than Shutdown takes to notice that it is done.
const shutdownTime = time.Second

// shutdown calls Shutdown in a goroutine and waits until all that can happen has
// happened. The channel receives the result of Shutdown. Only tests in a bubble may call
// it.
func (s *testServer) shutdown() <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.Shutdown(context.Background()) }()
	synctest.Wait()
	return result
}

// Shutdown ends at once the connections that are idle, that are silent, and that have not
// sent a whole header. What they have sent has no effect.
func TestShutdownEndsConnectionsWithoutARequest(t *testing.T) {
	t.Parallel()
	put := apitest.Header("PUT", "/kv/a", length(5))
	for _, served := range []int{0, 1, 3} {
		for name, sent := range map[string]string{
			"silent": "", "a byte": "P", "four bytes": "PUT ", "half a header": put[:len(put)/2], "all but a byte": put[:len(put)-1],
		} {
			t.Run(name+" after "+strconv.Itoa(served), func(t *testing.T) {
				inBubble(t, setup{}, func(t *testing.T, s *testServer) {
					c := s.connect(t)
					for range served {
						c.Want("PUT", "/kv/a", "value", 200, "")
					}
					s.store.Clear(t.Context())
					send(c, sent)
					synctest.Wait()
					start := time.Now()
					result := s.shutdown()
					c.WantEnd()
					if waited := time.Since(start); waited > 0 {
						t.Errorf("the connection ends after %v, want it at once", waited)
					}
					send(c, put+"value")
					if err := <-result; err != nil || time.Since(start) > shutdownTime {
						t.Errorf("Shutdown returns %v after %v", err, time.Since(start))
					}
					if err := s.Shutdown(t.Context()); err != nil {
						t.Errorf("a second Shutdown: %v", err)
					}
					s.want(t, "a", "")
				})
			})
		}
	}
}

// Shutdown does the same while all connections are taken and no other can be accepted. It
// waits for those that have a request until its context is done.
func TestShutdownWhileAllConnectionsAreTaken(t *testing.T) {
	for _, uploads := range []int{0, 1} {
		inBubble(t, setup{Config: Config{MaxConns: 5}}, func(t *testing.T, s *testServer) {
			var without []apitest.Client
			for n := range 5 - uploads {
				c := s.connect(t)
				if n < 4 { // while all are taken, a response would end its connection
					c.Want("GET", "/health", "", 200, "")
				}
				without = append(without, c)
			}
			var want error
			if uploads > 0 {
				s.holdIncoming(t)
				want = context.DeadlineExceeded
			}
			synctest.Wait()
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			result := make(chan error)
			go func() { result <- s.Shutdown(ctx) }()
			for _, c := range without {
				c.WantEnd()
			}
			if waited := time.Since(start); waited > shutdownTime {
				t.Errorf("the connections without a request end after %v", waited)
			}
			if err, waited := <-result, time.Since(start); err != want || waited > 4*time.Second {
				t.Errorf("Shutdown returns %v after %v, want %v", err, waited, want)
			}
		})
	}
}

// A request that has reached a handler before Shutdown gets its response, which is the
// last one of its connection. A request that was received together with it has no effect.
func TestShutdownWaitsForRequests(t *testing.T) {
	put := apitest.Request("PUT", "/kv/a", "value")
	large := apitest.Request("PUT", "/kv/a", testLarge)
	chunked := chunkedPut("/kv/a", testLarge[:testMax/2])
	for name, row := range map[string]struct {
		before, rest string // what is sent before Shutdown and after
		store, units bool   // whether the request waits for the store or for units until after
	}{
		"with the store":          {before: put, store: true},
		"with the store, large":   {before: large, store: true},
		"a header":                {before: put[:len(put)-5], rest: put[len(put)-5:]},
		"half a body":             {before: put[:len(put)-2], rest: put[len(put)-2:]},
		"half a large body":       {before: large[:testMax/2], rest: large[testMax/2:]},
		"half a chunked body":     {before: chunked[:testMax/4], rest: chunked[testMax/4:]},
		"waiting for units":       {before: large, units: true},
		"another one behind it":   {before: put + apitest.Request("PUT", "/kv/after", "value"), store: true},
		"half of one behind it":   {before: put + apitest.Header("PUT", "/kv/after", length(5))[:20], store: true},
		"one behind it, unwanted": {before: put[:len(put)-2], rest: put[len(put)-2:] + apitest.Request("PUT", "/kv/after", "value")},
	} {
		var release chan struct{} // made in the bubble, to which it belongs
		with := setup{before: func(string) error {
			if row.store {
				<-release
			}
			return nil
		}}
		onEachRequest(t, name, with, func(t *testing.T, s *testServer, c apitest.Client) {
			release = make(chan struct{})
			var holder apitest.Client
			if row.units {
				holder = s.holdIncoming(t)
			}
			send(c, row.before)
			synctest.Wait()
			result := s.shutdown()
			if len(result) > 0 {
				t.Error("Shutdown returns while a request is under way")
			}
			close(release)
			if row.units {
				holder.Close()
			}
			send(c, row.rest)
			if resp := c.WantResponse("PUT", 200, ""); !resp.Close {
				t.Error("the response does not say Connection: close")
			}
			c.WantEnd()
			start := time.Now()
			if err := <-result; err != nil || time.Since(start) > shutdownTime {
				t.Errorf("Shutdown returns %v after %v", err, time.Since(start))
			}
			s.want(t, "after", "")
		})
	}
}

// A PUT is logged as accepted only if its client gets the response, whenever Shutdown
// comes.
func TestAcceptedPutsHaveResponses(t *testing.T) {
	t.Parallel()
	for round := range 10 {
		s := start(t, setup{})
		var responses atomic.Int64
		enough := make(chan struct{})
		var wg sync.WaitGroup
		for n := range 16 {
			c := s.connect(t)
			pipelined := 1 + n%4
			requests := strings.Repeat(apitest.Request("PUT", "/kv/a", testLarge[:10+round%2*5000]), pipelined)
			wg.Go(func() {
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
		log := s.end(t)
		wg.Wait()
		if accepted := strings.Count(log, " accepted"); int64(accepted) != responses.Load() || strings.Contains(log, "dropped") {
			t.Errorf("round %d: %d PUTs are logged as accepted, %d have a response", round, accepted, responses.Load())
		}
	}
}

// Shutdown returns when its context is done. Close cuts off what it waited for.
func TestClose(t *testing.T) {
	for name, stalled := range map[string]func(s *testServer, t testing.TB) apitest.Client{
		"an upload":  (*testServer).holdIncoming,
		"a response": func(s *testServer, t testing.TB) apitest.Client { return s.holdOutgoing(t, testMax) },
		"a body that is discarded": func(s *testServer, t testing.TB) apitest.Client {
			c := s.connect(t)
			c.Send(apitest.Header("PUT", "/kv/", apitest.Chunked))
			c.WantResponse("PUT", 400, "key cannot be empty")
			return c
		},
	} {
		for _, conns := range []int{1, 10} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, setup{Config: Config{MaxConns: conns}}, func(t *testing.T, s *testServer) {
					c := stalled(s, t)
					start := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
						t.Errorf("Shutdown: %v, want %v", err, context.DeadlineExceeded)
					}
					s.Close()
					<-s.served
					if waited := time.Since(start); waited != time.Second {
						t.Errorf("all is closed after %v, want 1s", waited)
					}
					io.ReadAll(c) // ends at once
					if waited := time.Since(start); waited != time.Second {
						t.Errorf("the connection ends after %v, want 1s", waited)
					}
				})
			})
		}
	}
}

// Close without Shutdown ends Serve, too, also while all connections are taken.
func TestCloseAlone(t *testing.T) {
	for _, conns := range []int{1, 10} {
		inBubble(t, setup{Config: Config{MaxConns: conns}}, func(t *testing.T, s *testServer) {
			s.holdIncoming(t)
			start := time.Now()
			s.Close()
			<-s.served
			if s.serveErr != nil || time.Since(start) > 0 {
				t.Errorf("Serve returns %v after %v", s.serveErr, time.Since(start))
			}
		})
	}
}

// Serve returns the error of its listener.
func TestServeReturnsTheErrorOfItsListener(t *testing.T) {
	want := errors.New("no more connections")
	events := NewLog(io.Discard)
	defer events.Stop(t.Context())
	server := NewServer(brokenListener{newPipeListener(), want}, nil, events, Config{MaxConns: 1})
	if err := server.Serve(); err != want {
		t.Errorf("Serve: %v, want %v", err, want)
	}
}

// A brokenListener accepts nothing.
type brokenListener struct {
	net.Listener
	err error
}

func (l brokenListener) Accept() (net.Conn, error) { return nil, l.err }
