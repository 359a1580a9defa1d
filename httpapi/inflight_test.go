package httpapi

import (
	"context"
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

// acquireLater calls acquire in a goroutine. The channel receives its result.
func acquireLater(ctx context.Context, s *semaphore, n int64) <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.acquire(ctx, n) }()
	synctest.Wait()
	return result
}

// wantFree checks how many units are free.
func (s *semaphore) wantFree(t *testing.T, n int64) {
	t.Helper()
	free := <-s.free
	s.free <- free
	if free != n {
		t.Errorf("%d units are free, want %d", free, n)
	}
}

// Units are taken all at once or not at all, and come back. If each unit were taken by
// itself, two goroutines that each need more than half of the units could take half each.
// Then neither could get the rest.
func TestUnitsAreTakenAtOnce(t *testing.T) {
	s := newSemaphore(8)
	if !s.tryAcquire(5) || s.tryAcquire(4) || s.tryAcquire(1<<62) || !s.tryAcquire(3) || s.tryAcquire(1) {
		t.Error("tries for 5, 4, 1<<62, 3 and 1 of 8 units do not end with success, failure, failure, success, failure")
	}
	s.release(5)
	s.wantFree(t, 5)
	s.release(3)
	s.wantFree(t, 8)
	for range 20_000 {
		results := make(chan bool)
		for range 2 {
			go func() { results <- s.tryAcquire(5) }()
		}
		if a, b := <-results, <-results; a == b {
			t.Fatal("two tries for five of eight units both fail, or both succeed")
		}
		s.release(5)
	}
}

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

// Goroutines that wait are served in the order in which they came, although one that came
// later needs less.
func TestUnitsAreGivenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSemaphore(8)
		s.tryAcquire(8)
		var waiting []<-chan error
		for _, n := range []int64{6, 2, 8} {
			waiting = append(waiting, acquireLater(t.Context(), s, n))
		}
		for _, step := range []struct {
			released int64
			served   int // how many goroutines have their units then
		}{{5, 0}, {1, 1}, {2, 2}, {7, 2}, {1, 3}} {
			s.release(step.released)
			synctest.Wait()
			for i, result := range waiting {
				if served := len(result) > 0; served != (i < step.served) {
					t.Fatalf("%d units come back: goroutine %d has its units: %v, want the first %d", step.released, i+1, served, step.served)
				}
			}
		}
		s.release(8)
		s.wantFree(t, 8)
	})
}

// A goroutine that gives up leaves its units to others, those that wait behind it
// included.
func TestGivingUpTakesNoUnits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSemaphore(8)
		s.tryAcquire(5)
		first, cancelFirst := context.WithCancel(t.Context())
		second, cancelSecond := context.WithCancel(t.Context())
		hasTurn := acquireLater(first, s, 8)
		waitsForTurn := acquireLater(second, s, 8)
		behind := acquireLater(t.Context(), s, 3)
		cancelSecond()
		if err := <-waitsForTurn; err != context.Canceled || len(hasTurn)+len(behind) > 0 {
			t.Errorf("%v, want %v, and the others wait", err, context.Canceled)
		}
		cancelFirst()
		if err := <-hasTurn; err != context.Canceled {
			t.Errorf("%v, want %v", err, context.Canceled)
		}
		if err := <-behind; err != nil {
			t.Error(err)
		}
		s.wantFree(t, 0)
	})
}

// No goroutine waits for units that came back just before it began to wait.
func TestUnitsComeBackBeforeTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSemaphore(8)
		s.tryAcquire(8)
		for range 50_000 {
			go s.release(8)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // passes if all others wait
			if err := s.acquire(ctx, 8); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
	})
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

// A large value waits for its units. It is served if they come within 3 s.
func TestLargeValuesWaitForUnits(t *testing.T) {
	value := testLarge[:unit+1]
	for request, want := range map[string]string{
		apitest.Request("PUT", "/kv/a", value): "",
		apitest.Request("GET", "/kv/a", ""):    value,
	} {
		method := request[:3]
		for _, freed := range []time.Duration{0, 2999 * time.Millisecond, time.Hour} {
			onEachRequest(t, fmt.Sprintf("%s, units come after %v", method, freed), setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
				s.connect(t).Want("PUT", "/kv/a", value, 200, "") // gives its units back, and no more
				s.connect(t).Want("GET", "/kv/a", "", 200, value)
				holders := []apitest.Client{s.holdIncoming(t), s.holdOutgoing(t, testMax)}
				time.AfterFunc(freed, func() { holders[0].Close(); holders[1].Close() })
				start := time.Now()
				sendLast(c, request) // it still gets its response
				if freed < time.Hour {
					c.WantResponse(method, 200, want)
					wantTime(t, start, freed)
					return
				}
				resp := c.WantResponse(method, 503, "server is busy")
				wantTime(t, start, 3*time.Second)
				if got := resp.Header.Get("Retry-After"); got != "1" || resp.Close != (method == "PUT") {
					t.Errorf("Retry-After is %q, Connection: close is %v", got, resp.Close)
				}
			})
		}
	}
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

// An upload of unknown length needs twice its length, and does not wait for it.
func TestChunkedUploadsOnlyTry(t *testing.T) {
	onEachRequest(t, "", setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
		send(c, apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:testMax/2]))
		c.WantOpen(200)
		send(c, apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:testMax/2], "x"))
		c.WantOpen(413) // it could never fit

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

// A request whose response has been sent holds no units while the server discards the
// rest of its body.
func TestLingeringRequestHoldsNoUnits(t *testing.T) {
	for name, row := range map[string]struct {
		sent   string
		status int
	}{
		"busy":               {apitest.Header("PUT", "/kv/b", length(testMax)), 503},
		"too large, chunked": {apitest.Header("PUT", "/kv/b", apitest.Chunked) + apitest.Chunks(testLarge), 413},
		"stalled":            {apitest.Header("PUT", "/kv/b", length(testMax)), 408},
		"a large response":   {apitest.Header("GET", "/kv/a", length(testMax)), 200},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "a", testLarge)
			holder := s.connect(t)
			if row.status == 503 {
				holder = s.holdIncoming(t)
			}
			send(c, row.sent)
			c.WantLast(row.status)
			holder.Close()
			synctest.Wait()
			start := time.Now()
			s.connect(t).Want("PUT", "/kv/a", testLarge, 200, "")
			s.connect(t).Want("GET", "/kv/a", "", 200, testLarge)
			wantTime(t, start, 0)
			c.Send("x") // the server still reads
		})
	}
}

// However a request ends, no unit is lost. Every test server checks at its end that all
// units can be taken, so each test of this package shows it for the requests that it sends.
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
		status int  // of the response; 0 for none
	}{
		"client gone":                     {sent: known, then: gone},
		"client gone, chunked":            {sent: chunked, then: gone},
		"client gone, nothing sent":       {sent: header, then: gone},
		"client gone while it waits":      {sent: known, then: gone, held: true},
		"torn while it waits":             {sent: known, then: apitest.Client.CloseWrite, held: true, status: 503},
		"malformed chunk":                 {sent: chunked + "no chunk\r\n", then: stay, status: 400},
		"stalled, chunked":                {sent: chunked, then: stay, status: 408},
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
			if row.status != 0 {
				c.WantLast(row.status)
			} else if resp, body, err := c.Response("PUT"); err == nil {
				t.Errorf("%v %.40q, want no response", resp, body)
			}
			s.want(t, "a", "")
		})
	}
}

// In a naive semaphore each unit is taken by itself. Two goroutines that need six of eight
// units have taken four each here, and wait for each other forever.
func TestATokenForEachUnitDeadlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := make(chan token, 8)
		halfway, done := make(chan token), make(chan token, 2)
		for range 2 {
			go func() {
				for n := range 6 {
					if n == 4 {
						<-halfway
					}
					taken <- token{}
				}
				done <- token{}
			}()
		}
		synctest.Wait() // both have four
		close(halfway)
		time.Sleep(time.Hour)
		if len(done) > 0 {
			t.Error("a goroutine has its units")
		}
		for range 4 {
			<-taken // only now they end
		}
	})
}
