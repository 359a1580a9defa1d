package httpapi

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
)

// shutdown calls Shutdown in a goroutine and waits until all that can happen has
// happened. The channel receives the result of Shutdown. Only tests in a bubble may call
// it.
func (s *testServer) shutdown() <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.Shutdown(context.Background()) }()
	synctest.Wait()
	return result
}

// wantShutdown checks that Shutdown succeeds within a second after start, because net/http
// polls.
func wantShutdown(t *testing.T, result <-chan error, start time.Time) {
	t.Helper()
	if err := <-result; err != nil || time.Since(start) > time.Second {
		t.Errorf("Shutdown returns %v after %v", err, time.Since(start))
	}
}

// Shutdown ends at once the connections that are idle, that are silent, that have not sent a
// whole header, and that wait for a place while all are taken. What they have sent has no
// effect.
func TestShutdownEndsConnectionsWithoutARequest(t *testing.T) {
	put := apitest.Header("PUT", "/kv/a", length(5))
	for name, sent := range map[string]string{"nothing": "", "four bytes": "PUT ", "all but a byte": put[:len(put)-1]} {
		onEachRequest(t, name, setup{Config: Config{MaxConns: 2}}, func(t *testing.T, s *testServer, c apitest.Client) {
			silent := s.connect(t)
			waits := s.connect(t)
			send(c, sent)
			synctest.Wait()
			start := time.Now()
			result := s.shutdown()
			for _, c := range []apitest.Client{c, silent, waits} {
				c.WantEnd()
			}
			wantTime(t, start, 0)
			send(c, put[len(sent):]+"value")
			wantShutdown(t, result, start)
			s.want(t, "a", "")
		})
	}
}

// A request that has reached a handler before Shutdown gets its response, which is the last
// one of its connection. A request behind it on the same connection has no effect. So a PUT
// that the log calls accepted has its response, whenever Shutdown comes.
func TestShutdownWaitsForRequests(t *testing.T) {
	put := apitest.Request("PUT", "/kv/a", "value")
	large := apitest.Request("PUT", "/kv/a", testLarge)
	chunked := apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:testMax/2])
	behind := apitest.Request("PUT", "/kv/after", "value")
	for name, row := range map[string]struct {
		before, after string // what is sent before Shutdown and after
		store, units  bool   // whether the request waits for the store or for units until after is sent
	}{
		"with the store":          {before: put, store: true},
		"a header":                {before: put[:len(put)-5], after: put[len(put)-5:]},
		"half a large body":       {before: large[:testMax/2], after: large[testMax/2:]},
		"half a chunked body":     {before: chunked[:testMax/4], after: chunked[testMax/4:]},
		"waiting for units":       {before: large, units: true},
		"another one behind it":   {before: put + behind, store: true},
		"half of one behind it":   {before: put + behind[:20], store: true},
		"one behind it, unwanted": {before: put[:len(put)-2], after: put[len(put)-2:] + behind},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			release := make(chan token)
			holder := s.connect(t)
			if row.store {
				s.fake.before = func() { <-release }
			}
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
			holder.Close()
			send(c, row.after)
			c.WantLast(200)
			c.WantEnd()
			wantShutdown(t, result, time.Now())
			s.want(t, "after", "")
			if accepted := strings.Count(s.end(t), " accepted"); accepted != 1 {
				t.Errorf("%d PUTs are logged as accepted, one has a response", accepted)
			}
		})
	}
}

// A connection that only discards what its client sends has half a second from the stop on,
// so that a client that is still sending can read its response. Shutdown waits for it.
func TestStopWaitsForClientsThatStillSend(t *testing.T) {
	for _, sends := range []time.Duration{400 * time.Millisecond, time.Hour} {
		inBubble(t, setup{}, func(t *testing.T, s *testServer) {
			c, begun := s.connect(t), time.Now()
			c.Send(apitest.Header("PUT", "/kv/", length(testMax)))
			go func() {
				for time.Since(begun) < sends {
					time.Sleep(100 * time.Millisecond)
					if _, err := io.WriteString(c, "x"); err != nil {
						return
					}
				}
				c.CloseWrite()
			}()
			c.R.Peek(1) // the response is there
			if err := <-s.shutdown(); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			wantTime(t, begun, min(sends, 500*time.Millisecond))
			c.WantResponse("PUT", 400, "key cannot be empty")
		})
	}
}

// Shutdown returns when its context is done, and Close cuts off the requests that are left.
// Close does so without Shutdown, too, and ends the owners of units. Here all places are taken,
// and another connection waits.
func TestCloseCutsOffRequests(t *testing.T) {
	for name, connect := range map[string]func(s *testServer, t testing.TB) apitest.Client{
		"upload":   (*testServer).holdIncoming,
		"response": func(s *testServer, t testing.TB) apitest.Client { return s.holdOutgoing(t, testMax) },
		"client that still sends": func(s *testServer, t testing.TB) apitest.Client {
			c := s.connect(t)
			c.Send(apitest.Header("PUT", "/kv/", length(testMax)))
			c.WantLast(400)
			return c
		},
	} {
		for _, waits := range []time.Duration{0, 100 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, Close after %v", name, waits), func(t *testing.T) {
				inBubble(t, setup{Config: Config{MaxConns: 1}}, func(t *testing.T, s *testServer) {
					c := connect(s, t)
					s.connect(t)
					start := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), waits)
					defer cancel()
					if waits > 0 {
						if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
							t.Errorf("Shutdown: %v, want %v", err, context.DeadlineExceeded)
						}
					}
					s.Close()
					<-s.api.incoming.ended
					<-s.api.outgoing.ended
					io.ReadAll(c) // ends
					wantTime(t, start, waits)
				})
			})
		}
	}
}
