package httpapi

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"kvactor/actor"
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
	if !s.tryAcquire(n) {
		t.Errorf("%d units are not free", n)
		return
	}
	if s.tryAcquire(1) {
		t.Errorf("more than %d units are free", n)
		s.release(1)
	}
	s.release(n)
}

// Units are taken all at once or not at all, and come back.
func TestUnitsAreTakenAtOnce(t *testing.T) {
	s := newSemaphore(8)
	for _, n := range []int64{9, 1 << 62} {
		if s.tryAcquire(n) {
			t.Errorf("%d of 8 units are taken", n)
		}
	}
	s.wantFree(t, 8)
	if !s.tryAcquire(5) || s.tryAcquire(4) || !s.tryAcquire(3) || s.tryAcquire(1) {
		t.Error("tries for 5, 4, 3 and 1 of 8 units do not end with success, failure, success, failure")
	}
	s.release(5)
	s.wantFree(t, 5)
	s.release(3)
	s.wantFree(t, 8)
}

func TestUnitsOfAValue(t *testing.T) {
	for n, want := range map[int64]int64{
		0: 0, 1: 0, unit: 0, unit + 1: 2, 2 * unit: 2, 2*unit + 1: 3, 1<<63 - 1: 1 << 47,
	} {
		if got := units(n); got != want {
			t.Errorf("a value of %d bytes takes %d units, want %d", n, got, want)
		}
	}
}

// Goroutines that wait are served in the order in which they came, although one that came
// later needs less.
func TestUnitsAreGivenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSemaphore(8)
		s.tryAcquire(8)
		var results []<-chan error
		for _, n := range []int64{6, 2, 8} {
			results = append(results, acquireLater(t.Context(), s, n))
		}
		for _, step := range []struct {
			released int64
			served   [3]int
		}{
			{5, [3]int{0, 0, 0}},
			{1, [3]int{1, 0, 0}},
			{2, [3]int{1, 1, 0}},
			{7, [3]int{1, 1, 0}},
			{1, [3]int{1, 1, 1}},
		} {
			s.release(step.released)
			synctest.Wait()
			if got := [3]int{len(results[0]), len(results[1]), len(results[2])}; got != step.served {
				t.Fatalf("%d units come back: %v are served, want %v", step.released, got, step.served)
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
		if len(behind) > 0 {
			t.Fatal("the third goroutine does not wait for its turn")
		}
		cancelSecond()
		if err := <-waitsForTurn; err != context.Canceled || len(hasTurn) > 0 {
			t.Errorf("%v, want %v", err, context.Canceled)
		}
		cancelFirst()
		if err := <-hasTurn; err != context.Canceled {
			t.Errorf("%v, want %v", err, context.Canceled)
		}
		if err := <-behind; err != nil {
			t.Error(err)
		}
		s.release(8)
		s.wantFree(t, 8)
	})
}

// Two tries that fit together both succeed, whenever they come. With a token for each
// unit, both could collect some, fail, and give them back.
func TestTriesThatFitSucceed(t *testing.T) {
	t.Parallel()
	s := newSemaphore(8)
	for range 2000 {
		results := make(chan bool)
		for range 2 {
			go func() { results <- s.tryAcquire(4) }()
		}
		if a, b := <-results, <-results; !a || !b {
			t.Fatal("one of two tries for half of the units fails")
		}
		s.release(8)
	}
}

// A token that tells of units that are taken again wakes a goroutine, which goes on to
// wait.
func TestStaleWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSemaphore(2)
		s.tryAcquire(2)
		s.release(2) // leaves a token
		s.tryAcquire(2)
		result := acquireLater(t.Context(), s, 2)
		if len(result) > 0 {
			t.Fatal("acquire takes units that are not free")
		}
		s.release(1)
		s.release(1)
		if err := <-result; err != nil {
			t.Error(err)
		}
		s.release(2)
		s.wantFree(t, 2)
	})
}

// A naive semaphore holds a token for each free unit. Two goroutines that need six of
// eight units have taken four each here, and wait for each other forever.
func TestATokenForEachUnitDeadlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := make(chan token, 8)
		for range cap(tokens) {
			tokens <- token{}
		}
		halfway, done := make(chan token), make(chan token, 2)
		for range 2 {
			go func() {
				for n := range 6 {
					if n == 4 {
						<-halfway
					}
					<-tokens
				}
				done <- token{}
			}()
		}
		synctest.Wait() // both have four
		close(halfway)
		time.Sleep(time.Hour)
		if len(done) > 0 {
			t.Error("a goroutine has its tokens")
		}
		for range 4 {
			tokens <- token{} // only now they end
		}
		<-done
		<-done

		s := newSemaphore(8)
		a, b := acquireLater(t.Context(), s, 6), acquireLater(t.Context(), s, 6)
		<-a
		s.release(6)
		<-b
		s.release(6)
		s.wantFree(t, 8)
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
	t.Parallel()
	for name, row := range map[string]struct {
		request string
		hold    func(*testServer, testing.TB) apitest.Client
		want    string
	}{
		"PUT": {apitest.Request("PUT", "/kv/a", testLarge[:unit+1]), (*testServer).holdIncoming, ""},
		"GET": {apitest.Request("GET", "/kv/a", ""), func(s *testServer, t testing.TB) apitest.Client {
			s.put(t, "a", testLarge[:unit+1])
			return s.holdOutgoing(t, testMax)
		}, testLarge[:unit+1]},
	} {
		for _, freed := range []time.Duration{0, time.Second, 2999 * time.Millisecond, time.Hour} {
			onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
				holder := row.hold(s, t)
				start := time.Now()
				send(c, row.request)
				time.AfterFunc(freed, func() { holder.Close() })
				if freed < busyTimeout {
					if resp := c.WantResponse("GET", 200, row.want); resp.Close {
						t.Error("the response says Connection: close")
					}
					if waited := time.Since(start); waited != freed {
						t.Errorf("the response comes after %v, want %v", waited, freed)
					}
					return
				}
				resp := c.WantResponse("GET", 503, "server is busy")
				if resp.Close != (name == "PUT") {
					t.Errorf("Connection: close is %v", resp.Close)
				}
				if got := resp.Header["Retry-After"]; len(got) != 1 || got[0] != "1" {
					t.Errorf("Retry-After is %q", got)
				}
				if waited := time.Since(start); waited != 3*time.Second {
					t.Errorf("the response comes after %v, want 3s", waited)
				}
			})
		}
	}
}

// Values of up to 64 KiB never wait, though all units are taken.
func TestSmallValuesNeverWait(t *testing.T) {
	onEachRequest(t, "", setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
		s.holdIncoming(t)
		s.holdOutgoing(t, testMax)
		start := time.Now()
		for _, n := range []int{1, 5000, unit} {
			for _, put := range []string{apitest.Request("PUT", "/kv/a", testLarge[:n]), chunkedPut("/kv/a", testLarge[:n])} {
				send(c, put)
				c.WantResponse("PUT", 200, "")
				c.Want("GET", "/kv/a", "", 200, testLarge[:n])
			}
		}
		if waited := time.Since(start); waited > 0 {
			t.Errorf("the requests take %v", waited)
		}
	})
}

// Of many large uploads at once, all are served, a few at a time.
func TestBurstOfUploads(t *testing.T) {
	inBubble(t, setup{Config: Config{Quiet: true}}, func(t *testing.T, s *testServer) {
		var clients []apitest.Client
		for n := range 50 {
			c := s.connect(t)
			send(c, apitest.Request("PUT", "/kv/a", testLarge[n*unit/4:]))
			clients = append(clients, c)
		}
		for _, c := range clients {
			c.WantResponse("PUT", 200, "")
		}
	})
}

// A GET that waits for units holds no value. It serves the value as of the end of its
// wait.
func TestWaitingGetHoldsNoValue(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change string // while the GET waits
		status int
		want   string
	}{
		"replaced by one as large":  {apitest.Request("PUT", "/kv/a", strings.Repeat("y", 5*unit)), 200, strings.Repeat("y", 5*unit)},
		"replaced by a larger one":  {apitest.Request("PUT", "/kv/a", testLarge), 200, testLarge},
		"replaced by a smaller one": {apitest.Request("PUT", "/kv/a", testLarge[:2*unit]), 200, testLarge[:2*unit]},
		"replaced by a small one":   {apitest.Request("PUT", "/kv/a", "small"), 200, "small"},
		"deleted":                   {apitest.Request("DELETE", "/kv/a", ""), 404, "key not found"},
		"cleared":                   {apitest.Request("DELETE", "/clear", ""), 404, "key not found"},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			value := make([]byte, 5*unit)
			reference := weak.Make(&value[0])
			if err := s.store.Put(t.Context(), "a", value); err != nil {
				t.Fatal(err)
			}
			value = nil
			holder := s.holdOutgoing(t, testMax)
			c.Send(apitest.Request("GET", "/kv/a", ""))
			synctest.Wait() // it waits for units

			other := s.connect(t)
			send(other, row.change)
			other.WantResponse("PUT", 200, "")
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
		c.WantResponse("GET", 503, "server is busy")
		if waited := time.Since(start); waited != 3*time.Second {
			t.Errorf("the response comes after %v, want 3s", waited)
		}
	})
}

// An upload of unknown length needs twice its length, and does not wait for it.
func TestChunkedUploadsOnlyTry(t *testing.T) {
	onEachRequest(t, "", setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
		send(c, chunkedPut("/kv/a", testLarge[:testMax/2]))
		c.WantResponse("PUT", 200, "")
		send(c, chunkedPut("/kv/a", testLarge[:testMax/2], "x"))
		c.WantResponse("PUT", 413, "value too large") // it could never fit

		holder := s.holdIncoming(t)
		start := time.Now()
		send(c, chunkedPut("/kv/a", testLarge[:unit], "x"))
		resp := c.WantResponse("PUT", 503, "server is busy")
		if waited := time.Since(start); waited > 0 || resp.Header.Get("Retry-After") != "1" {
			t.Errorf("the response comes after %v with %v, want it at once with Retry-After: 1", waited, resp.Header)
		}
		holder.Close()
		synctest.Wait()
		send(c, chunkedPut("/kv/a", testLarge[:unit], "x"))
		c.WantResponse("PUT", 200, "")
	})
}

// A request whose response has been sent holds no units while the server discards the
// rest of its body.
func TestLingeringRequestHoldsNoUnits(t *testing.T) {
	t.Parallel()
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
			var holder apitest.Client
			if row.status == 503 {
				holder = s.holdIncoming(t)
			}
			send(c, row.sent)
			if resp, _, err := c.Response("PUT"); err != nil || resp.StatusCode != row.status {
				t.Fatalf("%v, %v, want %d", resp, err, row.status)
			}
			if row.status == 503 {
				holder.Close()
			}
			synctest.Wait()
			start := time.Now()
			s.connect(t).Want("PUT", "/kv/a", testLarge, 200, "")
			s.connect(t).Want("GET", "/kv/a", "", 200, testLarge)
			if waited := time.Since(start); waited > 0 {
				t.Errorf("units are free after %v, want them at once", waited)
			}
			if more, err := c.Write([]byte("x")); err != nil {
				t.Errorf("the server no longer reads: %v, %v", more, err)
			}
		})
	}
}

// Whatever becomes of requests, no unit is lost: each test server checks at its end that
// all can be taken.
func TestNoUnitIsLost(t *testing.T) {
	t.Parallel()
	known := apitest.Header("PUT", "/kv/a", length(testMax)) + testLarge[:testMax/2]
	chunked := apitest.Header("PUT", "/kv/a", apitest.Chunked) + apitest.Chunks(testLarge[:testMax/4])
	get := apitest.Request("GET", "/kv/large", "")
	gone := func(c apitest.Client) { c.Close() }

	for name, row := range map[string]struct {
		sent   string
		then   func(apitest.Client)
		held   bool // whether all units are taken
		status int  // of the response; 0 for none
	}{
		"client gone":                     {sent: known, then: gone},
		"client gone, chunked":            {sent: chunked, then: gone},
		"client gone, nothing":            {sent: known[:len(known)-testMax/2], then: gone},
		"client gone while it waits":      {sent: known, then: gone, held: true},
		"torn":                            {sent: known, then: apitest.Client.CloseWrite, status: 400},
		"torn, chunked":                   {sent: chunked, then: apitest.Client.CloseWrite, status: 400},
		"torn while it waits":             {sent: known, then: apitest.Client.CloseWrite, held: true, status: 503},
		"malformed chunk":                 {sent: chunked + "no chunk\r\n", status: 400},
		"not UTF-8":                       {sent: known + testLarge[1:testMax/2] + "\xff", status: 400},
		"not UTF-8, chunked":              {sent: chunked + apitest.Chunks("\xff", ""), status: 400},
		"stalled":                         {sent: known, status: 408},
		"stalled, chunked":                {sent: chunked, status: 408},
		"condition":                       {sent: apitest.Request("PUT", "/kv/a", testLarge, "If-Match: *"), status: 412},
		"too large, chunked":              {sent: chunked + apitest.Chunks(testLarge), status: 413},
		"busy":                            {sent: known, held: true, status: 503},
		"busy, chunked":                   {sent: chunked, held: true, status: 503},
		"store is full":                   {sent: strings.Replace(known+testLarge[testMax/2:], "/kv/a", "/kv/full", 1), status: 507},
		"panic":                           {sent: strings.Replace(known+testLarge[testMax/2:], "/kv/a", "/kv/panic", 1)},
		"panic, chunked":                  {sent: strings.Replace(chunked+apitest.Chunks(""), "/kv/a", "/kv/panic", 1)},
		"GET":                             {sent: get, status: 200},
		"GET, reader gone":                {sent: get, then: func(c apitest.Client) { c.R.Peek(1); c.Close() }},
		"GET, reader gone while it waits": {sent: get, then: gone, held: true},
		"GET, reader stalls":              {sent: get, then: func(c apitest.Client) { time.Sleep(time.Hour); c.Close() }},
		"GET, busy":                       {sent: get, held: true, status: 503},
		"GET, deleted while it waits":     {sent: get, held: true, status: 404, then: func(apitest.Client) {}},
	} {
		before := func(key string) error {
			if key == "full" {
				return actor.ErrFull
			}
			return panicOnKey(key)
		}
		onEachRequest(t, name, setup{before: before}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "large", testLarge)
			if row.held {
				s.holdIncoming(t)
				holder := s.holdOutgoing(t, testMax)
				if row.status == 404 {
					time.AfterFunc(time.Second, func() { s.store.Clear(context.Background()); holder.Close() })
				}
			}
			send(c, row.sent)
			if row.then != nil {
				synctest.Wait()
				row.then(c)
			}
			resp, body, err := c.Response("PUT")
			if err == nil && resp.StatusCode != row.status || err != nil && row.status != 0 {
				t.Errorf("%v %.40q, %v, want %d", resp, body, err, row.status)
			}
			s.want(t, "a", "")
		})
	}
}

// No unit is lost if the store panics when a GET has waited for its units.
func TestPanicAfterAWait(t *testing.T) {
	gets := 0
	before := func(key string) error {
		if key == "a" {
			if gets++; gets == 2 {
				panic("a bug")
			}
		}
		return nil
	}
	inBubble(t, setup{before: before}, func(t *testing.T, s *testServer) {
		s.put(t, "a", testLarge)
		holder := s.holdOutgoing(t, testMax)
		c := s.connect(t)
		c.Send(apitest.Request("GET", "/kv/a", ""))
		synctest.Wait()
		holder.Close()
		c.WantEnd()
	})
}

// No unit is lost, and nothing is stored, if the client resets its connection.
func TestReset(t *testing.T) {
	s := start(t, setup{})
	for range 20 {
		for _, header := range []string{
			apitest.Header("PUT", "/kv/a", length(testMax), "Expect: 100-continue"),
			apitest.Header("PUT", "/kv/a", apitest.Chunked, "Expect: 100-continue") + apitest.Chunks(testLarge[:3*unit]),
		} {
			c := s.connect(t)
			c.Send(header)
			c.WantResponse("PUT", http.StatusContinue, "") // the server reads the body
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}
	s.end(t)
	s.want(t, "a", "")
}
