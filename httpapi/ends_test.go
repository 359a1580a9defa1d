package httpapi

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
)

// An end says what a client sends, and how its request and its connection end.
type end struct {
	name  string
	sends []string
	pause time.Duration // between two of them
	drips bool          // sends the last of them again and again
	held  time.Duration // for which other clients hold all units

	status   int           // of the response, or 0 if there is none
	responds time.Duration // when the response comes, or the end of what the server sends
	closes   time.Duration // when the server closes the connection, or 0 if it stays open
}

// TestTimesAndEnds is the table of times for clients that send slowly, stop sending or wait for
// units, and for the end of a connection: which response comes and when, and when the connection
// ends. Each row holds for the first request of a connection and for later ones.
//
// In addition, each row checks two rules. When the response has come, its request holds no
// units. What a client sends after the last response of its connection is not a request:
// here it asks to clear the store.
func TestTimesAndEnds(t *testing.T) {
	const (
		header = 5 * time.Second
		body   = 10 * time.Second // also for each part of a large body
		silent = 5 * time.Second  // after an early response
		early  = 30 * time.Second // after an early response, in all
		last   = 5 * time.Second  // after any other last response, in all

		slow, slowest = 4 * time.Second, 9999 * time.Millisecond

		rest = 64 << 10 // of a body, which is read before the response

		create, expect, lastRequest, keepAlive = "If-None-Match: *", "Expect: 100-continue", "Connection: close", "Connection: keep-alive"
	)
	put := func(n int64, fields ...string) string {
		return apitest.Header("PUT", "/kv/a", append(fields, length(n))...)
	}
	post := func(n int64, fields ...string) string {
		return apitest.Header("POST", "/kv/a", append(fields, length(n))...)
	}
	chunked, postChunked := apitest.Header("PUT", "/kv/a", apitest.Chunked), apitest.Header("POST", "/kv/a", apitest.Chunked)
	part, quarter := testLarge[:bodyPart], testLarge[:bodyPart/4]
	get := apitest.Header("GET", "/kv/large")
	value := apitest.Request("PUT", "/kv/a", testLarge)

	for _, row := range []end{
		// A header has 5 s from its first byte.
		{name: "header drips", sends: []string{"GET /health HTTP/1.1\r\nA: ", "x"}, pause: slow, drips: true, responds: header, closes: header + last},

		// A small request has 10 s from its first byte.
		{name: "value stalls", sends: []string{put(10) + "value"}, status: 408, responds: body, closes: body + silent},
		{name: "value of an existing key stalls", sends: []string{apitest.Header("PUT", "/kv/large", create, length(10)) + "value"}, status: 408, responds: body, closes: body + silent},
		{name: "value asked for stalls", sends: []string{put(5, expect)}, status: 408, responds: body, closes: body + silent},
		{name: "chunk stalls", sends: []string{chunked + "1000\r\nhalf"}, status: 408, responds: body, closes: body + silent},
		{name: "last chunk stalls", sends: []string{chunked + apitest.Chunks("one", testLarge[:3*unit])}, status: 408, responds: body, closes: body + silent},
		{name: "value and header drip", sends: []string{put(maxSmall)[:9], put(maxSmall)[9:], "x"}, pause: slow, drips: true, status: 408, responds: body, closes: body + early},
		{name: "chunks and header drip", sends: []string{chunked[:9], chunked[9:], apitest.Chunks("x")}, pause: slow, drips: true, status: 408, responds: body, closes: body + early},

		// Each part of a large value has 10 s, however long the value takes in all.
		{name: "large value, nothing sent", sends: []string{put(testMax)}, status: 408, responds: body, closes: body + silent},
		{name: "second part drips", sends: []string{put(testMax), part, quarter}, pause: slow, drips: true, status: 408, responds: slow + body, closes: slow + body + early},
		{name: "second part drips, chunked", sends: []string{chunked, apitest.Chunks(part), apitest.Chunks(quarter)}, pause: slow, drips: true,
			status: 408, responds: slow + body, closes: slow + body + early},
		{name: "large value, slow", sends: []string{put(4 * unit), part, part, part, part}, pause: slowest, status: 200, responds: 4 * slowest},
		{name: "large value, slow, chunked", sends: append(append([]string{chunked}, slices.Repeat([]string{apitest.Chunks(part)}, 4)...), "0\r\n\r\n"), pause: slowest,
			status: 200, responds: 5 * slowest},
		{name: "late part stalls", sends: []string{put(5 * unit), part, part, part, part}, pause: slowest,
			status: 408, responds: 4*slowest + body, closes: 4*slowest + body + silent},

		// A large value waits for units for 3 s. Its time begins after the wait.
		{name: "units come in time", sends: []string{value}, held: 2999 * time.Millisecond, status: 200, responds: 2999 * time.Millisecond},
		{name: "units come in time, GET", sends: []string{get}, held: 2999 * time.Millisecond, status: 200, responds: 2999 * time.Millisecond},
		{name: "units come too late", sends: []string{value}, held: time.Hour, status: 503, responds: 3 * time.Second, closes: 3*time.Second + silent},
		{name: "units come too late, existing key", sends: []string{apitest.Request("PUT", "/kv/large", testLarge, create)}, held: time.Hour,
			status: 503, responds: 3 * time.Second, closes: 3*time.Second + silent},
		{name: "units come too late, GET", sends: []string{get}, held: time.Hour, status: 503, responds: 3 * time.Second},
		{name: "units come in time, value is slow", sends: []string{put(2 * unit), part, part}, pause: slowest, held: 2900 * time.Millisecond, status: 200, responds: 2 * slowest},
		{name: "chunks do not wait for units", sends: []string{chunked + apitest.Chunks(testLarge[:2*unit], "")}, held: time.Hour, status: 503, closes: silent},

		// The response does not depend on the body. A short rest is read first.
		{name: "short body", sends: []string{post(rest) + testLarge[:rest]}, status: 405},
		{name: "short body stalls", sends: []string{post(1000) + "half"}, status: 405, responds: body, closes: body + silent},
		{name: "short body drips", sends: []string{post(rest), "x"}, pause: slow, drips: true, status: 405, responds: body, closes: body + early},
		{name: "short body stalls, last request", sends: []string{post(1000, lastRequest)}, status: 405, responds: body, closes: body + silent},
		{name: "short body of a large GET stalls, and it needs units only then", sends: []string{apitest.Header("GET", "/kv/large", length(5))}, held: 5 * time.Second,
			status: 200, responds: body, closes: body + silent},
		{name: "short body, not asked for", sends: []string{post(1000, expect)}, status: 405, closes: silent},
		{name: "long body, not asked for", sends: []string{post(testMax, expect)}, status: 405, closes: silent},
		{name: "long body", sends: []string{post(rest+1) + testLarge[:rest+1]}, status: 405, closes: silent},
		{name: "long body of a bad key", sends: []string{apitest.Header("PUT", "/kv/a%20b", length(rest+1))}, status: 400, closes: silent},
		{name: "long body of a DELETE", sends: []string{apitest.Header("DELETE", "/kv/a", length(rest+1))}, status: 200, closes: silent},
		{name: "long body drips", sends: []string{post(rest + 1), "x"}, pause: slow, drips: true, status: 405, closes: early},
		{name: "whole body in chunks", sends: []string{postChunked + apitest.Chunks("x", "")}, status: 405, closes: silent},
		{name: "body in chunks drips", sends: []string{postChunked, apitest.Chunks("x")}, pause: slow, drips: true, status: 405, closes: early},
		{name: "malformed chunk", sends: []string{chunked + "no number\r\n"}, status: 400, closes: silent},
		{name: "value too large", sends: []string{put(testMax + 1)}, status: 413, closes: silent},

		// The client asked for no other response.
		{name: "last request, client drips", sends: []string{apitest.Header("GET", "/health", lastRequest), "x"}, pause: slow, drips: true, status: 200, closes: last},

		// HTTP/1.0 has one request a connection, whatever it asks for. net/http ignores its
		// Transfer-Encoding, and could take the rest of a body for a request.
		{name: "HTTP/1.0, client drips", sends: []string{http10(apitest.Header("GET", "/health", keepAlive)), "x"}, pause: slow, drips: true, status: 200, closes: last},
		{name: "HTTP/1.0, refused", sends: []string{http10(apitest.Request("POST", "/kv/a", "value", keepAlive))}, status: 405, closes: last},
		{name: "HTTP/1.0, stalls", sends: []string{http10(put(5, keepAlive))}, status: 408, responds: body, closes: body + silent},
		{name: "HTTP/1.0, chunked", sends: []string{http10(apitest.Header("PUT", "/kv/a", keepAlive, apitest.Chunked)) + apitest.Chunks("value", "")}, status: 400, closes: last},
	} {
		onEachRequest(t, row.name, setup{}, row.check)
	}
}

// check checks that row becomes true. No other client of s is connected.
func (row end) check(t *testing.T, s *testServer, c apitest.Client) {
	s.put(t, "large", testLarge)
	others := 0 // clients that are still connected when the connection ends
	if row.held > 0 {
		in, out := s.holdIncoming(t), s.holdOutgoing(t, testMax)
		time.AfterFunc(row.held, func() { in.Close(); out.Close() })
		if row.held == time.Hour {
			others = 2
		}
	}
	isOpen := func() bool { return len(s.api.listener.places) > others }

	start := time.Now()
	go func() {
		_, err := io.WriteString(c, row.sends[0])
		for n := 1; err == nil && (n < len(row.sends) || row.drips); n++ {
			time.Sleep(row.pause)
			_, err = io.WriteString(c, row.sends[min(n, len(row.sends)-1)])
		}
	}()
	resp, body, err := c.Response("GET")
	if err == nil && resp.StatusCode == http.StatusContinue && row.responds > 0 {
		resp, body, err = c.Response("GET")
	}
	switch {
	case row.status == 0 && err == io.EOF:
	case err != nil || resp.StatusCode != row.status || resp.Close != (row.closes > 0):
		t.Fatalf("%v %.40q, %v, want %d, Connection: close %v", resp, body, err, row.status, row.closes > 0)
	case row.status == 408 && body != "value took too long",
		row.status == 503 && (body != "server is busy" || resp.Header.Get("Retry-After") != "1"):
		t.Errorf("%v %q", resp, body)
	}
	wantTime(t, start, row.responds)

	synctest.Wait()
	if row.held < time.Hour {
		s.wantAllUnits(t)
		wantTime(t, start, row.responds) // they are free at once
	}
	if row.closes == 0 {
		c.Want("GET", "/health", "", 200, "")
		return
	}
	send(c, apitest.Header("DELETE", "/clear"))
	if closes := row.closes - time.Since(start); closes > 0 {
		time.Sleep(closes - 1)
		if !isOpen() {
			t.Errorf("the connection is closed before %v", row.closes)
		}
	}
	c.WantEnd() // of what the server sends
	time.Sleep(time.Nanosecond)
	synctest.Wait()
	if _, err := io.WriteString(c, "x"); err == nil || isOpen() {
		t.Errorf("the connection is not closed after %v", row.closes)
	}
	s.want(t, "large", testLarge)
	s.want(t, "a", "")
}

// A connection that is silent from its beginning is closed after 5 s, one that is idle
// after 2 min.
func TestIdleConnection(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		start := time.Now()
		c := s.connect(t)
		c.WantEnd()
		wantTime(t, start, 5*time.Second)
		if _, err := io.WriteString(c, "x"); err == nil {
			t.Error("the server still reads from a connection that was silent")
		}

		c = s.connect(t)
		c.Want("PUT", "/kv/a", testLarge, 200, "") // the deadlines of the parts of a value end with the request
		time.Sleep(2*time.Minute - 1)
		c.Want("GET", "/kv/a", "", 200, testLarge)
		start = time.Now()
		c.WantEnd()
		wantTime(t, start, 2*time.Minute)
	})
}

// A small response has 20 s after the time for the request. A client that sends requests
// and does not read is cut off then.
func TestSmallResponsesThatAreNotRead(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		c := s.connect(t)
		start := time.Now()
		for err := error(nil); err == nil; {
			_, err = io.WriteString(c, apitest.Request("GET", "/kv/a", ""))
		}
		wantTime(t, start, 30*time.Second)
	})
}

// A large response has 60 s for each part of 256 KiB, as TestStalledReader shows, too. A client
// that reads 8 kB/s is never cut off, and here 256 KiB in 59 s are enough. Its connection serves
// the next request. A value of 64 KiB and a byte is large.
func TestSlowReader(t *testing.T) {
	for _, row := range []struct {
		value string
		n     int // bytes that the client reads in each pause
		pause time.Duration
		cut   bool // whether the client is cut off
	}{
		{testLarge, 256 << 10, 59 * time.Second, false},
		{testLarge, 256 << 10, 61 * time.Second, true},
		{testLarge[:unit+1], unit, 59 * time.Second, false},
		{testLarge[:unit], unit, 59 * time.Second, true}, // a small response
	} {
		inBubble(t, setup{}, func(t *testing.T, s *testServer) {
			s.put(t, "a", row.value)
			c := s.connect(t)
			c.R.Reset(slowReader{c.Conn, row.n, row.pause})
			for range 2 {
				io.WriteString(c, apitest.Request("GET", "/kv/a", ""))
				if _, got, err := c.Response("GET"); (got != row.value) != row.cut {
					t.Errorf("%d bytes in %v: the client receives %d of %d bytes, %v", row.n, row.pause, len(got), len(row.value), err)
				}
			}
		})
	}
}

// A slowReader reads little at a time, and n bytes in each pause.
type slowReader struct {
	io.Reader
	n     int
	pause time.Duration
}

func (r slowReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p[:min(len(p), r.n, 4<<10)])
	time.Sleep(r.pause * time.Duration(n) / time.Duration(r.n))
	return n, err
}

// A client that stops reading a large response is cut off after 60 s, wherever it stops. The
// server does not wait for it any longer, even if the response is the last one.
func TestStalledReader(t *testing.T) {
	for read, fields := range map[int64][]string{0: {"Connection: close"}, 1000: nil, responsePart: nil, testMax - 1: {"Connection: close"}} {
		onEachRequest(t, fmt.Sprintf("after %d bytes", read), setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "a", testLarge)
			c.Send(apitest.Header("GET", "/kv/a", fields...))
			io.CopyN(io.Discard, c.Conn, read)
			time.Sleep(time.Minute - 1)
			if n, err := c.Conn.Read(make([]byte, 1)); n != 1 {
				t.Fatalf("after 1m, the next byte does not come: %v", err)
			}
			time.Sleep(2 * time.Nanosecond)
			if rest, err := io.ReadAll(c.Conn); int64(len(rest))+read >= testMax {
				t.Errorf("%d bytes come after a pause, %v", len(rest), err)
			}
			synctest.Wait()
			if len(s.api.listener.places) > 0 {
				t.Error("the connection is still open")
			}
		})
	}
}

// No response is lost on its way. The kernel resets a connection that is closed with unread
// bytes, so the server reads on after the last response of a connection, whatever makes it the
// last one: the client, HTTP/1.0, a body that nobody wants, a full server or a stop. Here the
// connections are those of the kernel, and the client reads slowly.
func TestNoResponseIsLost(t *testing.T) {
	t.Parallel()
	server := func(conns int) *testServer {
		s := start(t, setup{Config: Config{MaxConns: conns, MaxInflightBytes: testBudget}})
		s.put(t, "60k", testLarge[:60_000])
		s.put(t, "1M", testLarge)
		return s
	}
	free := server(testConns)
	// run sends all of sent. When a response begins, it calls then. The responses must be want.
	run := func(name string, s *testServer, sent string, then func(apitest.Client), want ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.connect(t)
			defer c.Close()
			c.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10) // or the kernel takes it all
			c.Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
			c.Send(sent)
			c.R.Reset(slowReader{c.Conn, 64 << 10, 16 * time.Millisecond})
			if then != nil {
				c.R.Peek(1)
				then(c)
			}
			for _, want := range want {
				if resp, body, err := c.Response("GET"); err != nil || body != want {
					t.Errorf("%v, %d bytes, %v, want %d bytes", resp, len(body), err, len(want))
				}
			}
			c.WantEnd()
		})
	}

	// The client sends more behind a request whose response has begun.
	const closes = "Connection: close"
	more := func(text string) func(apitest.Client) { return func(c apitest.Client) { c.Send(text) } }
	for key, value := range map[string]string{"60k": testLarge[:60_000], "1M": testLarge} {
		get, getLast := apitest.Header("GET", "/kv/"+key), apitest.Header("GET", "/kv/"+key, closes)
		full, stops := server(1), server(testConns)
		for _, behind := range []string{"\r\n", get} {
			run(key+", last request", free, getLast, more(behind), value)
			run(key+", HTTP/1.0", free, http10(get), more(behind), value)
			run(key+", no place is free", full, get, more(behind), value)
		}
		run(key+", before what net/http refuses", free, get, more("\r\nGET\r\n\r\n"+testLarge[:60_000]), value, "400 Bad Request")
		run(key+", before a small last response", free, get+apitest.Header("GET", "/health", closes), more("\r\n"), value, "")
		run(key+", server stops", stops, get, func(c apitest.Client) {
			stopped := make(chan error, 1)
			go func() { stopped <- stops.Shutdown(context.Background()) }()
			t.Cleanup(func() { <-stopped })
			<-stops.api.listener.closed.Done()
			c.Send(get)
		}, value)
	}

	// The client sends all of a body that nobody wants before it reads.
	small := start(t, setup{Config: Config{MaxValueBytes: 1}})
	run("413", small, apitest.Request("PUT", "/kv/a", testLarge), nil, "value too large")
	run("413, chunked", small, apitest.ChunkedRequest("PUT", "/kv/a", testLarge), nil, "value too large")
	run("200", small, apitest.Request("DELETE", "/kv/a", testLarge), nil, "")
	run("malformed chunk", small, apitest.Header("PUT", "/kv/a", apitest.Chunked)+"no number\r\n"+testLarge, nil, "value is incomplete")
}

// No byte of a body is left when all of it has been read, even if the reader has not reported its
// end. (That of net/http reports it with the last bytes. Readers need not.) If bytes were left, the
// response would count as an early one, and end the connection.
func TestRestOfABodyIsCounted(t *testing.T) {
	x := newExchange(nil, httptest.NewRequest("PUT", "/kv/a", strings.NewReader("value")), nil)
	for _, want := range []int64{2, 0} {
		if _, err := x.Read(make([]byte, 3)); err != nil || x.left != want {
			t.Errorf("%d bytes are left, %v, want %d", x.left, err, want)
		}
	}
}
