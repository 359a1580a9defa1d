package httpapi

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"kvactor/httpapi/apitest"
)

func TestUnitsOfAValue(t *testing.T) {
	for n, want := range map[int64]int64{
		0: 0, 1: 0, unit: 0, unit + 1: 2, 2 * unit: 2, 2*unit + 1: 3, 1<<63 - 1: 1 << 47,
	} {
		if got := units(n); got != want {
			t.Errorf("a value of %d bytes takes %d units, want %d", n, got, want)
		}
	}
	start(t, setup{Config: Config{MaxInflightBytes: unit + 1}}) // checks that a value of this size fits
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

// Values of up to 64 KiB never wait, though all units are taken.
func TestSmallValuesNeverWait(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		s.holdIncoming(t)
		s.holdOutgoing(t, testMax)
		c := s.connect(t)
		start := time.Now()
		for _, request := range []string{
			apitest.Request("PUT", "/kv/a", testLarge[:unit]),
			apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:unit]),
			apitest.Request("GET", "/kv/a", ""),
		} {
			send(c, request)
			c.WantOpen(200)
		}
		wantTime(t, start, 0)
	})
}

// A GET that waits for units holds no value. It serves the value as of the end of its
// wait.
func TestWaitingGetHoldsNoValue(t *testing.T) {
	for _, replacement := range []string{strings.Repeat("y", 5*unit), testLarge, testLarge[:2*unit], "small", ""} {
		name := fmt.Sprintf("5 units replaced by %d bytes", len(replacement))
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			value := make([]byte, 5*unit)
			reference := weak.Make(&value[0])
			s.store.Put(t.Context(), "a", value)
			value = nil
			holder := s.holdOutgoing(t, testMax)
			c.Send(apitest.Request("GET", "/kv/a", ""))
			synctest.Wait() // it waits for units

			status, want := 404, "key not found"
			if s.store.Clear(t.Context()); replacement != "" {
				s.put(t, "a", replacement)
				status, want = 200, replacement
			}
			if runtime.GC(); reference.Value() != nil {
				t.Error("the value is removed from the store, and something still refers to it")
			}
			holder.Close()
			c.WantResponse("GET", status, want)
		})
	}
}

// A connection that only discards holds no value: its response has given its units back.
func TestLingeringConnectionHoldsNoValue(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		value := make([]byte, testMax)
		reference := weak.Make(&value[0])
		s.store.Put(t.Context(), "a", value)
		value = nil
		c := s.connect(t)
		c.Send(apitest.Header("GET", "/kv/a", "Connection: close"))
		c.WantLast(200)
		synctest.Wait()
		s.store.Clear(t.Context())
		if runtime.GC(); reference.Value() != nil {
			t.Error("the value is removed from the store, and something still refers to it")
		}
		c.Send("x") // the server still reads
	})
}

// If the store stops while a GET waits for units, the GET gets the response of a stopped
// store. The key is not reported as missing.
func TestStoreStopsWhileAGetWaits(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		s.put(t, "a", testLarge)
		holder := s.holdOutgoing(t, testMax)
		c := s.connect(t)
		c.Send(apitest.Request("GET", "/kv/a", ""))
		synctest.Wait() // it waits for units
		s.store.Stop()
		holder.Close()
		c.WantResponse("GET", 503, "store is unavailable")
	})
}

// A GET whose value grows while it waits has 3 s in all.
func TestGetWaitsOnce(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		s.put(t, "a", testLarge[:unit+1])
		holder := s.holdOutgoing(t, testMax/2)
		s.holdOutgoing(t, testMax/2)
		c := s.connect(t)
		c.Send(apitest.Request("GET", "/kv/a", ""))
		start := time.Now()
		time.Sleep(2 * time.Second)
		s.put(t, "a", testLarge)
		holder.Close()
		c.WantOpen(503)
		wantTime(t, start, 3*time.Second)
	})
}

// The rest of a body is read before the request holds units, so two clients that never send
// it do not hold up others.
func TestRestOfABodyIsReadWithoutUnits(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		s.put(t, "a", testLarge)
		for range 2 {
			s.connect(t).Send(apitest.Header("GET", "/kv/a", length(5)))
		}
		start := time.Now()
		s.connect(t).Want("GET", "/kv/a", "", 200, testLarge)
		wantTime(t, start, 0)
	})
}

// An upload of unknown length needs twice its length, and does not wait for it. It gets what
// is free, past those that wait in line.
func TestChunkedUploadsOnlyTry(t *testing.T) {
	onEachRequest(t, "", setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
		send(c, apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:testMax/2]))
		c.WantOpen(200)
		send(c, apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:testMax/2], "x"))
		c.WantOpen(413) // it could never fit

		s.connect(t).Send(apitest.Header("PUT", "/kv/held", length(testMax-4*unit)))
		synctest.Wait()
		waits := s.connect(t)
		waits.Send(apitest.Header("PUT", "/kv/waits", length(testMax)))
		synctest.Wait()
		send(c, apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:2*unit]))
		c.WantOpen(200)
		waits.WantLast(503)
		time.Sleep(time.Minute) // until the other upload has ended, too

		holder := s.holdIncoming(t)
		start := time.Now()
		for range 2 { // the second would get 200 if the first had released units that it never took
			send(c, apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:unit], "x"))
			resp := c.WantResponse("PUT", 503, "server is busy")
			if got := resp.Header.Get("Retry-After"); got != "1" {
				t.Errorf("Retry-After is %q", got)
			}
		}
		wantTime(t, start, 0)
		holder.Close()
		synctest.Wait()
		send(c, apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:unit], "x"))
		c.WantOpen(200)
	})
}

// No unit is lost when a client goes away or a handler panics. TestEnds shows it for all other
// requests, and every test server checks at its end that all units and places are free.
func TestNoUnitIsLost(t *testing.T) {
	header := apitest.Header("PUT", "/kv/a", length(testMax))
	known := header + testLarge[:testMax/2]
	chunked := apitest.Header("PUT", "/kv/a", apitest.Chunked) + apitest.Chunks(testLarge[:testMax/4])
	get := apitest.Request("GET", "/kv/large", "")
	gone, stay := func(c apitest.Client) { c.Close() }, func(apitest.Client) {}

	for name, row := range map[string]struct {
		sent   string
		then   func(apitest.Client)
		held   bool // whether all units are taken
		panics bool // whether the store panics from then on, and units are free
	}{
		"client gone":                     {sent: known, then: gone},
		"client gone, chunked":            {sent: chunked, then: gone},
		"client gone, nothing sent":       {sent: header, then: gone},
		"client gone while it waits":      {sent: known, then: gone, held: true},
		"panic":                           {sent: known, then: func(c apitest.Client) { c.Send(testLarge[testMax/2:]) }, panics: true},
		"panic, chunked":                  {sent: chunked, then: func(c apitest.Client) { c.Send(apitest.Chunks("")) }, panics: true},
		"GET, reader gone":                {sent: get, then: func(c apitest.Client) { c.R.Peek(1); c.Close() }},
		"GET, reader gone while it waits": {sent: get, then: gone, held: true},
		"GET, panic after its wait":       {sent: get, then: stay, held: true, panics: true},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "large", testLarge)
			var panics atomic.Bool
			s.fake.before = func(string) {
				if panics.Load() {
					panic("a bug")
				}
			}
			holder := s.connect(t)
			if row.held {
				s.holdIncoming(t)
				holder = s.holdOutgoing(t, testMax)
			}
			send(c, row.sent)
			synctest.Wait()
			if row.panics {
				panics.Store(true)
				holder.Close()
			}
			row.then(c)
			if resp, body, err := c.Response("PUT"); err == nil {
				t.Errorf("%v %.40q, want no response", resp, body)
			}
			s.want(t, "a", "")
		})
	}
}
