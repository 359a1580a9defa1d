package httpapi

import (
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"kvactor/httpapi/apitest"
)

// A value of up to 64 KiB takes no units. A larger one takes one for each 64 KiB that it
// begins, and the limiters have as many as the largest value in flight needs. TestLimiter shows
// how units are granted, and TestTimesAndEnds how long a request waits for them.
func TestUnitsOfAValue(t *testing.T) {
	for n, want := range map[int64]int64{
		0: 0, unit: 0, unit + 1: 2, 2 * unit: 2, 2*unit + 1: 3, math.MaxInt64: 1 << 47,
	} {
		if got := units(n); got != want {
			t.Errorf("a value of %d bytes takes %d units, want %d", n, got, want)
		}
	}
	s := start(t, setup{Config: Config{MaxValueBytes: math.MaxInt64, MaxInflightBytes: unit + 1}})
	s.connect(t).Want("PUT", "/kv/a", testLarge[:unit+1], 200, "")
}

// A value of up to 64 KiB needs no units. It passes those that wait for some.
func TestSmallValuesDoNotWait(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		s.holdIncoming(t)
		s.holdOutgoing(t, testMax)
		s.put(t, "large", testLarge)
		for _, waits := range []string{apitest.Header("PUT", "/kv/a", length(testMax)), apitest.Header("GET", "/kv/large")} {
			s.connect(t).Send(waits)
		}
		synctest.Wait()
		start, c := time.Now(), s.connect(t)
		c.Want("PUT", "/kv/a", testLarge[:unit], 200, "")
		c.Want("GET", "/kv/a", "", 200, testLarge[:unit])
		c.Send(apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:unit]))
		c.WantOpen(200)
		wantTime(t, start, 0)
	})
}

// A GET that waits for units holds no value. It serves what the store has at the end of its
// wait.
func TestWaitingGetHoldsNoValue(t *testing.T) {
	const five = 5 * unit
	put := func(value string) func(*testing.T, *testServer) {
		return func(t *testing.T, s *testServer) { s.put(t, "a", value) }
	}
	clear := func(t *testing.T, s *testServer) { s.store.Clear(t.Context()) }
	stop := func(t *testing.T, s *testServer) { s.store.Clear(t.Context()); s.store.Stop() }
	for name, row := range map[string]struct {
		change func(*testing.T, *testServer) // while the GET waits
		status int
		want   string
	}{
		"a value of the same size": {put(strings.Repeat("y", five)), 200, strings.Repeat("y", five)},
		"a larger value":           {put(testLarge), 200, testLarge},
		"a smaller value":          {put(testLarge[:2*unit]), 200, testLarge[:2*unit]},
		"a small value":            {put("small"), 200, "small"},
		"no value":                 {clear, 404, "key not found"},
		"no store":                 {stop, 503, "store is unavailable"},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			value := make([]byte, five)
			reference := weak.Make(&value[0])
			s.store.Put(t.Context(), "a", value)
			value = nil
			holder := s.holdOutgoing(t, testMax)
			c.Send(apitest.Request("GET", "/kv/a", ""))
			synctest.Wait() // it waits for units
			row.change(t, s)
			if runtime.GC(); reference.Value() != nil {
				t.Error("the value is removed from the store, and something still refers to it")
			}
			holder.Close()
			c.WantResponse("GET", row.status, row.want)
		})
	}
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

// An upload of unknown length needs units for twice its length, and does not wait for them: it
// gets what is free, past those that wait in line. TestValueTooLarge shows what could never fit.
func TestChunkedUploadsOnlyTry(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		start, c := time.Now(), s.connect(t)
		want := func(status, value int) {
			t.Helper()
			send(c, apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:value]))
			c.WantOpen(status)
		}
		want(200, testMax/2)

		holder := s.connect(t)
		holder.Send(apitest.Header("PUT", "/kv/held", length(testMax-4*unit)))
		synctest.Wait()
		waits := s.connect(t)
		send(waits, apitest.Request("PUT", "/kv/waits", testLarge))
		synctest.Wait()
		want(200, 2*unit)
		for range 2 { // a claim that is refused frees no units, so the second is refused, too
			want(503, 2*unit+1)
		}
		holder.Close()
		waits.WantOpen(200)
		want(200, 2*unit+1)
		wantTime(t, start, 0)
	})
}

// No unit is lost when a client goes away or a handler panics. TestTimesAndEnds shows it for
// all other requests, and every test server checks at its end that all units and places are
// free.
func TestNoUnitIsLost(t *testing.T) {
	known := apitest.Header("PUT", "/kv/a", length(testMax)) + testLarge[:testMax/2]
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
		"client gone while it waits":      {sent: known, then: gone, held: true},
		"panic":                           {sent: known, then: func(c apitest.Client) { c.Send(testLarge[testMax/2:]) }, panics: true},
		"panic, chunked":                  {sent: chunked, then: func(c apitest.Client) { c.Send(apitest.Chunks("")) }, panics: true},
		"GET, reader gone":                {sent: get, then: func(c apitest.Client) { c.R.Peek(1); c.Close() }},
		"GET, reader gone while it waits": {sent: get, then: gone, held: true},
		"GET, panic after its wait":       {sent: get, then: stay, held: true, panics: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, setup{}, func(t *testing.T, s *testServer) {
				s.put(t, "large", testLarge)
				c, holder := s.connect(t), s.connect(t)
				if row.held {
					s.holdIncoming(t)
					holder = s.holdOutgoing(t, testMax)
				}
				send(c, row.sent)
				synctest.Wait()
				if row.panics {
					s.fake.before = func() { panic("a bug") }
					holder.Close()
				}
				row.then(c)
				if resp, body, err := c.Response("PUT"); err == nil {
					t.Errorf("%v %.40q, want no response", resp, body)
				}
				s.want(t, "a", "")
			})
		})
	}
}
