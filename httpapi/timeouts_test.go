package httpapi

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// An ending is what becomes of a request that does not end in time.
type ending struct {
	status    int           // of the response; 0 for none, or net/http's 400
	responded time.Duration // when the response comes
	closed    time.Duration // when the connection is closed
}

// want checks that the connection of c, which is the only one of s and has just begun to
// send its request, has the ending e.
func (e ending) want(t *testing.T, s *testServer, c apitest.Client) {
	t.Helper()
	start := time.Now()
	resp, body, err := c.Response("GET")
	for err == nil && resp.StatusCode == http.StatusContinue {
		resp, body, err = c.Response("GET")
	}
	none := e.status == 0 && (err == io.EOF || err == nil && resp.StatusCode == 400)
	if !none && (err != nil || resp.StatusCode != e.status || !resp.Close) {
		t.Fatalf("%v %q, %v, want %d and Connection: close", resp, body, err, e.status)
	}
	wantTime(t, start, e.responded)
	if e.closed > e.responded {
		time.Sleep(e.closed - time.Since(start) - 1)
		if !s.isOpen() {
			t.Errorf("the connection is closed before %v", e.closed)
		}
	}
	c.WantEnd()             // of what the server sends
	time.Sleep(time.Second) // net/http may wait for half a second before it closes
	if s.isOpen() {
		t.Errorf("the connection is not closed after %v", e.closed)
	}
}

// isOpen reports whether a connection is open. Accept holds a token for the next one.
func (s *testServer) isOpen() bool { return len(s.listener.conns) > 1 }

// A request of which a part never comes gets its response, if it can have one, and loses
// its connection: a header after 5 s, a body after 10 s. If no handler wants a body, the
// response comes at once, and the server discards the body until the client has been silent
// for 5 s. A short rest of a body is read before the response, unless the request is the
// last one of its connection: net/http would not read the rest then.
func TestStalledRequest(t *testing.T) {
	const (
		header = 5 * time.Second
		body   = 10 * time.Second
		linger = 5 * time.Second // the connection ends when the client has been silent for so long
		expect = "Expect: 100-continue"
	)
	put := func(n int64, fields ...string) string {
		return apitest.Header("PUT", "/kv/a", append(fields, length(n))...)
	}
	chunked := apitest.Header("PUT", "/kv/a", apitest.Chunked)

	type row struct {
		name, sent string
		ending
	}
	rows := []row{
		{"four bytes", "GET ", ending{0, header, header}},
		{"half a header", "GET /health HTTP/1.1\r\nHost: kv\r\n", ending{0, header, header}},

		// The server waits for the value.
		{"half of a small value", put(10) + "value", ending{408, body, body + linger}},
		{"no byte of a large value", put(testMax), ending{408, body, body + linger}},
		{"a part of a large value", put(testMax) + testLarge[:5*unit], ending{408, body, body + linger}},
		{"all but a byte", put(testMax) + testLarge[1:], ending{408, body, body + linger}},
		{"a value that was asked for", put(5, expect), ending{408, body, body + linger}},
		{"a value in HTTP/1.0", http10(put(5)), ending{408, body, body + linger}},
		{"no chunk", chunked, ending{408, body, body + linger}},
		{"half a chunk", chunked + "1000\r\nhalf", ending{408, body, body + linger}},
		{"all chunks but the last", chunked + apitest.Chunks("one", testLarge[:3*unit]), ending{408, body, body + linger}},
		{"half a trailer", chunked + apitest.Chunks("one") + "0\r\nA: b\r\n", ending{400, body, body + linger}}, // net/http reports another error

		// net/http refuses the expectation.
		{"an unknown expectation", put(5, "Expect: more"), ending{417, 0, body}},

		{"too large", put(testMax + 1), ending{413, 0, linger}},
		{"too large, not asked for", put(testMax+1, expect), ending{413, 0, linger}},
	}
	// No handler wants the body. If its rest is short, it has its time before the response.
	for _, r := range refusals {
		rows = append(rows,
			row{r.name + ", half a body", r.header(length(1000)) + testLarge[:500], ending{r.status, body, body}},
			row{r.name + ", a body not asked for", r.header(length(1000), expect), ending{r.status, 0, body}},
			row{r.name + ", the last request", r.header(length(1000), "Connection: close"), ending{r.status, 0, linger}},
			row{r.name + ", HTTP/1.0", http10(r.header(length(1000))), ending{r.status, 0, linger}},
			row{r.name + ", no chunk", r.header(apitest.Chunked), ending{r.status, 0, linger}},
			row{r.name + ", a long body", r.header(length(testMax)), ending{r.status, 0, linger}},
			row{r.name + ", a long body not asked for", r.header(length(testMax), expect), ending{r.status, 0, linger}},
		)
	}
	for _, row := range rows {
		onEachRequest(t, row.name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			send(c, row.sent)
			row.want(t, s, c)
		})
	}
}

// The times for a header, a small request and each part of a large value are absolute: a
// byte now and then does not extend them. The 10 s of a small request begin with the first
// byte of its header. The 10 s of a later part of a large value begin when the part before
// it has arrived. After an early response, the server discards the body for 30 s at most. A
// short rest that no handler wants has the 10 s of its request, and the response follows.
func TestSlowRequest(t *testing.T) {
	const header, body, linger = 5 * time.Second, 10 * time.Second, 30 * time.Second
	const fast, slow = 700 * time.Millisecond, 4 * time.Second
	known, chunked := apitest.Header("PUT", "/kv/a", length(unit)), apitest.Header("PUT", "/kv/a", apitest.Chunked)
	large, chunk := apitest.Header("PUT", "/kv/a", length(testMax)), apitest.Chunks("x")
	part, quarter := testLarge[:unit], testLarge[:unit/4]
	for name, row := range map[string]struct {
		pause time.Duration
		sent  []string // with pauses, the last again and again
		ending
	}{
		"request line":         {fast, []string{"GET /", "x"}, ending{0, header, header}},
		"header":               {fast, []string{"GET /health HTTP/1.1\r\nHost: kv\r\nA: ", "x"}, ending{0, header, header}},
		"value":                {fast, []string{known, "x"}, ending{408, body, body + linger}},
		"value and its header": {slow, []string{known[:9], known[9:], "x"}, ending{408, body, body + linger}},
		"chunks":               {fast, []string{chunked, chunk}, ending{408, body, body + linger}},
		"chunks, their header": {slow, []string{chunked[:9], chunked[9:], chunk}, ending{408, body, body + linger}},
		"second part":          {slow, []string{large, part, quarter}, ending{408, slow + body, slow + body + linger}},
		"second part, chunked": {slow, []string{chunked, apitest.Chunks(part), apitest.Chunks(quarter)}, ending{408, slow + body, slow + body + linger}},
		"discarded":            {slow, []string{apitest.Header("POST", "/kv/a", length(unit+1)), "x"}, ending{405, 0, linger}},
		"discarded chunks":     {slow, []string{apitest.Header("POST", "/kv/a", apitest.Chunked), chunk}, ending{405, 0, linger}},
		"unwanted body":        {fast, []string{apitest.Header("POST", "/kv/a", length(unit)), "x"}, ending{405, body, body}},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			go func() {
				for n, err := 0, error(nil); err == nil; n++ { // until the connection ends
					_, err = io.WriteString(c, row.sent[min(n, len(row.sent)-1)])
					time.Sleep(row.pause)
				}
			}()
			row.want(t, s, c)
		})
	}
}

// A connection that is silent from its beginning is closed after 5 s, one that is idle
// after 2 min.
func TestIdleConnection(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		start := time.Now()
		c := s.connect(t)
		c.WantEnd()
		wantTime(t, start, 5*time.Second)

		c = s.connect(t)
		for _, value := range []string{"value", testLarge} {
			c.Want("PUT", "/kv/a", value, 200, "")
			time.Sleep(2*time.Minute - 1)
			c.Want("GET", "/kv/a", "", 200, value)
			time.Sleep(2*time.Minute - 1)
		}
		c.Want("GET", "/kv/a", "", 200, testLarge)
		start = time.Now()
		c.WantEnd()
		wantTime(t, start, 2*time.Minute)
	})
}

// A large body has 10 s for each part of 64 KiB, however long it takes in all. The time of
// the first part begins after the wait for units. The client sees its response, even if a
// late part stalls.
func TestSlowLargeValue(t *testing.T) {
	const parts, pause = 8, 9999 * time.Millisecond
	known, part := apitest.Header("PUT", "/kv/a", length(parts*unit)), testLarge[:unit]
	for name, row := range map[string]struct {
		header, part, end string
		wait              time.Duration // for units
	}{
		"known length":               {known, part, "", 0},
		"known length, after a wait": {known, part, "", 2900 * time.Millisecond},
		"chunked":                    {apitest.Header("PUT", "/kv/a", apitest.Chunked), apitest.Chunks(part), apitest.Chunks(""), 0},
	} {
		for _, stalls := range []bool{false, true} {
			onEachRequest(t, fmt.Sprintf("%s, stalls %v", name, stalls), setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
				holder := s.connect(t)
				if row.wait > 0 {
					holder = s.holdIncoming(t)
				}
				go func() {
					io.WriteString(c, row.header)
					time.Sleep(row.wait)
					holder.Close()
					for range parts - 1 {
						time.Sleep(pause)
						io.WriteString(c, row.part)
					}
					if !stalls {
						time.Sleep(pause)
						io.WriteString(c, row.part+row.end)
					}
				}()
				if stalls {
					c.WantResponse("PUT", 408, "value took too long")
					c.WantEnd()
					s.want(t, "a", "")
				} else {
					time.Sleep(row.wait + parts*pause + 20*time.Second) // the client has 20 s to read the response
					c.WantOpen(200)
					s.want(t, "a", testLarge[:parts*unit])
				}
			})
		}
	}
}

// A small response has 20 s after the time for the request. A client that sends requests
// and does not read is cut off then.
func TestSmallResponsesThatAreNotRead(t *testing.T) {
	for _, request := range []string{apitest.Request("GET", "/kv/a", ""), apitest.Request("PUT", "/kv/a", "value")} {
		onEachRequest(t, request[:3], setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "a", testLarge[:unit])
			start := time.Now()
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, request)
			}
			wantTime(t, start, 30*time.Second)
		})
	}
}

// A large response has 60 s for each part of 256 KiB. A client that reads 8 kB/s is never
// cut off, and its connection serves the next request. A value of 64 KiB and a byte is large.
func TestSlowReader(t *testing.T) {
	for _, row := range []struct {
		value string
		n     int // bytes that the client reads before each pause
		pause time.Duration
	}{
		{testLarge, 8_000, time.Second},
		{testLarge, responsePart, 59 * time.Second},
		{testLarge[:unit+1], unit, 59 * time.Second},
	} {
		inBubble(t, setup{}, func(t *testing.T, s *testServer) {
			s.put(t, "a", row.value)
			c := s.connect(t)
			c.R.Reset(slowReader{c.Conn, row.n, row.pause})
			for range 2 {
				c.Want("GET", "/kv/a", "", 200, row.value)
			}
		})
	}
}

// A slowReader reads at most n bytes and then waits.
type slowReader struct {
	io.Reader
	n     int
	pause time.Duration
}

func (r slowReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p[:min(len(p), r.n)])
	time.Sleep(r.pause * time.Duration(n) / time.Duration(r.n))
	return n, err
}

// A client that stops reading a large response is cut off after 60 s, wherever it stops.
func TestStalledReader(t *testing.T) {
	for _, read := range []int64{0, 1000, responsePart, testMax - 1} {
		onEachRequest(t, fmt.Sprintf("after %d bytes", read), setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "a", testLarge)
			c.Send(apitest.Request("GET", "/kv/a", ""))
			io.CopyN(io.Discard, c.Conn, read)
			time.Sleep(time.Minute - 1)
			if n, err := c.Conn.Read(make([]byte, 1)); n != 1 {
				t.Fatalf("after 1m, the next byte does not come: %v", err)
			}
			time.Sleep(2 * time.Nanosecond)
			if rest, err := io.ReadAll(c.Conn); int64(len(rest))+read >= testMax {
				t.Errorf("%d bytes come after a pause, %v", len(rest), err)
			}
		})
	}
}
