package httpapi

import (
	"context"
	"errors"
	"fmt"
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
// happened. The channel receives the result of Shutdown. Only tests in a bubble may call
// it.
func (s *testServer) shutdown() <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.Shutdown(context.Background()) }()
	synctest.Wait()
	return result
}

// wantShutdown checks that Shutdown succeeds, soon after start: it polls.
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
	for name, sent := range map[string]string{
		"nothing": "", "a byte": "P", "four bytes": "PUT ", "half a header": put[:len(put)/2], "all but a byte": put[:len(put)-1],
	} {
		for _, conns := range []int{2, 3} {
			with := setup{Config: Config{MaxConns: conns}}
			onEachRequest(t, fmt.Sprintf("%s, %d connections", name, conns), with, func(t *testing.T, s *testServer, c apitest.Client) {
				silent := s.connect(t)
				waits := s.connect(t) // with 2 connections
				send(c, sent)
				synctest.Wait()
				start := time.Now()
				result := s.shutdown()
				c.WantEnd()
				silent.WantEnd()
				waits.WantEnd()
				wantTime(t, start, 0)
				send(c, put+"value")
				wantShutdown(t, result, start)
				if err := s.Shutdown(t.Context()); err != nil {
					t.Errorf("a second Shutdown: %v", err)
				}
				s.want(t, "a", "")
			})
		}
	}
}

// A request that has reached a handler before Shutdown gets its response, which is the
// last one of its connection. A request behind it on the same connection has no effect.
func TestShutdownWaitsForRequests(t *testing.T) {
	put := apitest.Request("PUT", "/kv/a", "value")
	large := apitest.Request("PUT", "/kv/a", testLarge)
	chunked := apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:testMax/2])
	behind := apitest.Request("PUT", "/kv/after", "value")
	for name, row := range map[string]struct {
		before, after string // what is sent before Shutdown and after
		store, units  bool   // whether the request waits for the store or for units until after
	}{
		"with the store":          {before: put, store: true},
		"a header":                {before: put[:len(put)-5], after: put[len(put)-5:]},
		"half a body":             {before: put[:len(put)-2], after: put[len(put)-2:]},
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
				s.fake.before = func(string) { <-release }
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
				for n := 0; ; n++ {
					if n%pipelined == 0 {
						io.WriteString(c, requests)
					}
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

// Shutdown returns when its context is done, and Close cuts off the requests that are left.
// Close does so without Shutdown, too, and while all connections are taken.
func TestCloseCutsOffRequests(t *testing.T) {
	for name, stalled := range map[string]func(s *testServer, t testing.TB) apitest.Client{
		"an upload":  (*testServer).holdIncoming,
		"a response": func(s *testServer, t testing.TB) apitest.Client { return s.holdOutgoing(t, testMax) },
	} {
		for _, conns := range []int{1, 10} {
			for _, waits := range []time.Duration{0, time.Second} {
				t.Run(name, func(t *testing.T) {
					inBubble(t, setup{Config: Config{MaxConns: conns}}, func(t *testing.T, s *testServer) {
						c := stalled(s, t)
						start := time.Now()
						ctx, cancel := context.WithTimeout(t.Context(), waits)
						defer cancel()
						if waits > 0 {
							if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
								t.Errorf("Shutdown: %v, want %v", err, context.DeadlineExceeded)
							}
						}
						s.Close()
						if err := <-s.served; err != nil {
							t.Errorf("Serve: %v", err)
						}
						io.ReadAll(c) // ends
						wantTime(t, start, waits)
					})
				})
			}
		}
	}
}

// NewServer says what it cannot work with.
func TestNewServerChecksItsArguments(t *testing.T) {
	log := NewLog(io.Discard)
	defer log.Stop(t.Context())
	for _, row := range []struct {
		log    *Log
		config Config
		want   string
	}{
		{log, Config{}, "Config.MaxValueBytes must be at least 1"},
		{log, Config{MaxValueBytes: 1}, "Config.MaxInflightBytes must be at least 1"},
		{log, Config{MaxValueBytes: 1, MaxInflightBytes: 1}, "Config.MaxConns must be at least 1"},
		{log, Config{MaxValueBytes: 1, MaxInflightBytes: 1, MaxConns: -1}, "Config.MaxConns must be at least 1"},
		{nil, Config{MaxValueBytes: 1, MaxInflightBytes: 1, MaxConns: 1}, "the log of NewServer must not be nil"},
	} {
		func() {
			defer func() {
				if got := recover(); got != "httpapi: "+row.want {
					t.Errorf("%+v: NewServer panics with %v, want %s", row.config, got, row.want)
				}
			}()
			NewServer(newPipeListener(), nil, row.log, row.config)
		}()
	}
}

func TestServeReturnsTheErrorOfItsListener(t *testing.T) {
	want := errors.New("no more connections")
	l := &fakeListener{newPipeListener(), func() (net.Conn, error) { return nil, want }}
	if err := NewServer(l, nil, NewLog(io.Discard), Config{1, 1, 1, true}).Serve(); err != want {
		t.Errorf("Serve: %v, want %v", err, want)
	}
}
