package httpapi

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
)

// A request of which a part never comes gets its response, if it can have one, and loses
// its connection: a header after 5 s, a body after 10 s.
func TestStalledRequest(t *testing.T) {
	t.Parallel()
	const (
		header = 5 * time.Second
		body   = 10 * time.Second
		expect = "Expect: 100-continue"
	)
	put := func(n int64, fields ...string) string {
		return apitest.Header("PUT", "/kv/a", append(fields, length(n))...)
	}
	chunked := apitest.Header("PUT", "/kv/a", apitest.Chunked)

	type row struct {
		name, sent string
		status     int           // of the response; 0 for none, or net/http's 400
		responded  time.Duration // when the response comes
		closed     time.Duration // when the connection is closed
	}
	rows := []row{
		{"four bytes", "GET ", 0, 0, header},
		{"half a request line", "GET /hea", 0, 0, header},
		{"half a header", "GET /health HTTP/1.1\r\nHost: kv\r\n", 0, 0, header},

		// The server waits for the value.
		{"no byte of a small value", put(1), 408, body, body},
		{"half of a small value", put(10) + "value", 408, body, body},
		{"no byte of a large value", put(testMax), 408, body, body},
		{"a part of a large value", put(testMax) + testLarge[:5*unit], 408, body, body},
		{"all but a byte", put(testMax) + testLarge[1:], 408, body, body},

		{"no chunk", chunked, 408, body, body},
		{"half a chunk size", chunked + "1", 408, body, body},
		{"half a chunk", chunked + "1000\r\nhalf", 408, body, body},
		{"all chunks but the last", chunked + apitest.Chunks("one", testLarge[:3*unit]), 408, body, body},
		{"half a trailer", chunked + apitest.Chunks("one") + "0\r\nA: b\r\n", 400, body, body}, // net/http reports another error
		{"a value that was asked for", put(5, expect), 408, body, body},
		{"a value in HTTP/1.0", http10(put(5)), 408, body, body},

		// net/http refuses the expectation.
		{"an unknown expectation", put(5, "Expect: more"), 417, 0, body},
	}
	// No handler wants the body. If its rest is short, it has its time before the response.
	for _, r := range append(refusals, tooLarge) {
		if r.status == 413 {
			rows = append(rows, row{r.name, put(testMax + 1), 413, 0, 0}, row{r.name + ", not asked for", put(testMax+1, expect), 413, 0, 0})
			continue
		}
		at := func(fields ...string) string {
			return apitest.Header(r.method, r.target, append(r.fields, fields...)...)
		}
		rows = append(rows,
			row{r.name + ", no byte", at(length(1000)), r.status, body, body},
			row{r.name + ", half a body", at(length(1000)) + testLarge[:500], r.status, body, body},
			row{r.name + ", a body not asked for", at(length(1000), expect), r.status, 0, body},
			row{r.name + ", the last request", at(length(1000), "Connection: close"), r.status, 0, 0},
			row{r.name + ", HTTP/1.0", http10(at(length(1000))), r.status, 0, 0},
			row{r.name + ", no chunk", at(apitest.Chunked), r.status, 0, 0},
			row{r.name + ", a long body", at(length(testMax)), r.status, 0, 0},
			row{r.name + ", a long body not asked for", at(length(testMax), expect), r.status, 0, 0},
		)
	}

	for _, test := range rows {
		onEachRequest(t, test.name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			start := time.Now()
			send(c, test.sent)
			resp, body, err := c.Response("GET")
			for err == nil && resp.StatusCode == http.StatusContinue {
				resp, body, err = c.Response("GET")
			}
			switch responded := time.Since(start); {
			case test.status == 0:
				if err == nil && resp.StatusCode != 400 || err != nil && err != io.EOF {
					t.Errorf("response %v, %v, want none or 400", resp, err)
				}
			case err != nil || resp.StatusCode != test.status || !resp.Close:
				t.Fatalf("%v %q, %v, want %d and Connection: close", resp, body, err, test.status)
			case responded != test.responded:
				t.Errorf("the response comes after %v, want %v", responded, test.responded)
			}
			c.WantEnd()
			// net/http may wait for another half second before it closes.
			if closed := time.Since(start); closed < test.closed || closed > test.closed+time.Second {
				t.Errorf("the connection ends after %v, want %v", closed, test.closed)
			}
		})
	}
}

// The times for a header and for a small request are absolute: a byte now and then does
// not help.
func TestSlowSmallRequest(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		header, more string
		status       int // of the response; 0 for none, or net/http's 400
		responded    time.Duration
	}{
		"header":        {"GET /health HTTP/1.1\r\nHost: kv\r\nA: ", "x", 0, 5 * time.Second},
		"request line":  {"GET /", "x", 0, 5 * time.Second},
		"fields":        {"GET /health HTTP/1.1\r\nHost: kv\r\n", "A: b\r\n", 0, 5 * time.Second},
		"small value":   {apitest.Header("PUT", "/kv/a", length(unit)), "x", 408, 10 * time.Second},
		"small chunks":  {apitest.Header("PUT", "/kv/a", apitest.Chunked), apitest.Chunks("x"), 408, 10 * time.Second},
		"unwanted body": {apitest.Header("POST", "/kv/a", length(unit)), "x", 405, 10 * time.Second},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			start := time.Now()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, err := io.WriteString(c, row.header)
				for err == nil {
					time.Sleep(700 * time.Millisecond)
					_, err = io.WriteString(c, row.more)
				}
			}()
			resp, body, err := c.Response("GET")
			switch {
			case row.status == 0 && (err == nil && resp.StatusCode != 400 || err != nil && err != io.EOF):
				t.Errorf("%v %q, %v, want no response or 400", resp, body, err)
			case row.status > 0 && (err != nil || resp.StatusCode != row.status || !resp.Close):
				t.Errorf("%v %q, %v, want %d and Connection: close", resp, body, err, row.status)
			}
			if responded := time.Since(start); responded != row.responded {
				t.Errorf("after %v, want it after %v", responded, row.responded)
			}
			c.Close()
			<-ended
		})
	}
}

// The 10 s of a small request begin with its first byte, not with its body.
func TestSmallRequestWithASlowHeader(t *testing.T) {
	for _, field := range []string{length(unit), apitest.Chunked} {
		onEachRequest(t, field, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			header := apitest.Header("PUT", "/kv/a", field)
			c.Send(header[:len(header)/2])
			start := time.Now()
			time.Sleep(4 * time.Second)
			c.Send(header[len(header)/2:])
			c.WantResponse("PUT", 408, "value took too long")
			if responded := time.Since(start); responded != 10*time.Second {
				t.Errorf("the response comes after %v, want 10s", responded)
			}
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
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("the silent connection ends after %v, want 5s", waited)
		}

		c = s.connect(t)
		for range 3 {
			c.Want("PUT", "/kv/a", "value", 200, "")
			time.Sleep(2*time.Minute - 1)
		}
		c.Want("GET", "/kv/a", "", 200, "value")
		start = time.Now()
		c.WantEnd()
		if waited := time.Since(start); waited != 2*time.Minute {
			t.Errorf("the idle connection ends after %v, want 2m0s", waited)
		}
	})
}

// A large body has 10 s for each part of 64 KiB, however long it takes in all. Its
// response arrives, also that to a body that stalls late. The wait for units, which comes
// before, takes nothing from that time.
func TestSlowLargeValue(t *testing.T) {
	t.Parallel()
	const parts = testMax / unit
	for _, pause := range []time.Duration{1500 * time.Millisecond, 9999 * time.Millisecond} {
		for _, wait := range []time.Duration{0, 2900 * time.Millisecond} {
			for _, stall := range []bool{false, true} {
				for _, chunked := range []bool{false, true} {
					n, header, part, end := parts, apitest.Header("PUT", "/kv/a", length(testMax)), testLarge[:unit], ""
					if chunked {
						if wait > 0 {
							continue // it does not wait
						}
						n, header, part, end = parts/2, apitest.Header("PUT", "/kv/a", apitest.Chunked), apitest.Chunks(part), apitest.Chunks("")
					}
					onEachRequest(t, fmt.Sprintf("pause %v, wait %v, stall %v, chunked %v", pause, wait, stall, chunked), setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
						if wait > 0 {
							holder := s.holdIncoming(t)
							time.AfterFunc(wait, func() { holder.Close() })
						}
						go func() {
							io.WriteString(c, header)
							time.Sleep(wait)
							for range n - 1 {
								time.Sleep(pause)
								io.WriteString(c, part)
							}
							if !stall {
								time.Sleep(pause)
								io.WriteString(c, part+end)
							}
						}()
						if stall {
							c.WantResponse("PUT", 408, "value took too long")
							c.WantEnd()
							s.want(t, "a", "")
							return
						}
						if resp := c.WantResponse("PUT", 200, ""); resp.Close {
							t.Error("the response says Connection: close")
						}
						s.want(t, "a", testLarge[:n*unit])
					})
				}
			}
		}
	}
}

// A small response has 20 s after the time for the request. A client that sends requests
// and does not read is cut off then.
func TestResponsesThatAreNotRead(t *testing.T) {
	for _, request := range []string{
		apitest.Request("GET", "/health", ""),
		apitest.Request("GET", "/kv/a", ""),
		apitest.Request("PUT", "/kv/a", "value"),
		apitest.Request("POST", "/kv/a", "value"),
	} {
		onEachRequest(t, "", setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "a", testLarge[:unit])
			start := time.Now()
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, request)
			}
			if waited := time.Since(start); waited != 30*time.Second {
				t.Errorf("%.20q: the connection ends after %v, want 30s", request, waited)
			}
		})
	}
}

// A large response has 60 s for each part of 256 KiB. A client that reads 8 kB/s is never
// cut off, and its connection serves the next request.
func TestSlowReader(t *testing.T) {
	for _, test := range []struct{ bytes, pause time.Duration }{
		{800, 100 * time.Millisecond},
		{8_000, time.Second},
		{responsePart, 59 * time.Second},
	} {
		t.Run(fmt.Sprint(test.bytes), func(t *testing.T) {
			inBubble(t, setup{}, func(t *testing.T, s *testServer) {
				s.put(t, "a", testLarge)
				c := s.connect(t)
				c.R.Reset(slowReader{c.Conn, int(test.bytes), test.pause})
				for range 2 {
					c.Want("GET", "/kv/a", "", 200, testLarge)
				}
			})
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
	for _, read := range []int{0, 1000, responsePart, testMax / 2, testMax - 1} {
		onEachRequest(t, fmt.Sprintf("after %d bytes", read), setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "a", testLarge)
			c.Send(apitest.Request("GET", "/kv/a", ""))
			io.CopyN(io.Discard, c.Conn, int64(read))
			synctest.Wait()
			time.Sleep(time.Minute - 1)
			synctest.Wait()
			if n, err := c.Conn.Read(make([]byte, 1)); n != 1 {
				t.Fatalf("after 1m, the next byte does not come: %v", err)
			}
			time.Sleep(2 * time.Minute)
			if rest, err := io.ReadAll(c.Conn); len(rest)+read >= testMax {
				t.Errorf("%d bytes come after a pause, %v", len(rest), err)
			}
		})
	}
}

// A client over TCP, whose kernel has buffers and takes bytes in large steps, gets all of
// a value that it reads in small parts.
func TestSlowReaderOverTCP(t *testing.T) {
	s := start(t, setup{})
	value := strings.Repeat("0123456789abcdef", testMax/16)
	s.put(t, "a", value)
	c := s.connect(t)
	c.Conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	c.R.Reset(slowReader{c.Conn, 500, 0})
	for range 2 {
		c.Want("GET", "/kv/a", "", 200, value)
	}
}
