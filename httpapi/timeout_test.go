package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
)

var bigValue = []byte(strings.Repeat("x", 1<<20))

// putBig stores bigValue under the key big.
func (s *testServer) putBig(t *testing.T) {
	t.Helper()
	if err := s.store.Put(context.Background(), "big", bigValue, 0); err != nil {
		t.Fatal(err)
	}
}

// A request of which a part never comes gets its response, if it can have one, and
// loses its connection.
func TestStalledRequestIsCutOff(t *testing.T) {
	const (
		stall    = 10 * time.Second
		latest   = 30 * time.Second
		maxValue = 3 << 20
		expect   = "Expect: 100-continue\r\n"
	)
	put := func(n int64) string { return declared("PUT", "/kv/a", n) + "\r\n" }
	http10 := func(request string) string { return strings.Replace(request, "HTTP/1.1", "HTTP/1.0", 1) }

	type row struct {
		name, sent  string
		status      int           // of the response; 0 for none, or net/http's 400
		respondedBy time.Duration // 0 for at once
		from, by    time.Duration // when the connection is closed
	}
	rows := []row{
		{"a byte", "G", 0, 0, 5 * time.Second, 5 * time.Second},
		{"three bytes", "GET", 0, 0, 5 * time.Second, 5 * time.Second},
		{"four bytes", "GET ", 0, 0, 5 * time.Second, 5 * time.Second},
		{"half a request line", "GET /hea", 0, 0, 5 * time.Second, 5 * time.Second},
		{"half a header", "GET /health HTTP/1.1\r\nHost: kv\r\n", 0, 0, 5 * time.Second, 5 * time.Second},

		// A handler wants the body.
		{"no byte of an upload", put(100_000), 408, stall, stall, latest},
		{"a byte of an upload", put(100_000) + "x", 408, stall, stall, latest},
		{"a part of an upload", put(100_000) + strings.Repeat("x", 5000), 408, stall, stall, latest},
		{"an upload but for a byte", put(100_000) + strings.Repeat("x", 99_999), 408, stall, stall, latest},
		{"no byte of a small upload", put(1), 408, stall, stall, latest},
		{"no chunk", chunkedHeader, 408, stall, stall, latest},
		{"half a chunk size", chunkedHeader + "1", 408, stall, stall, latest},
		{"half a chunk", chunkedHeader + "1000\r\nhalf", 408, stall, stall, latest},
		{"chunks but for the last", chunkedHeader + chunked("one", strings.Repeat("x", 9000)), 408, stall, stall, latest},
		{"an upload that was asked for", declared("PUT", "/kv/a", 5) + expect + "\r\n", 408, stall, stall, latest},
		{"an upload in HTTP/1.0", http10(put(5)), 408, stall, stall, latest},
		{"an upload that HTTP/1.0 can't ask for", http10(declared("PUT", "/kv/a", 5)) + expect + "\r\n", 408, stall, stall, latest},

		// The response does not depend on the body.
		{"too large", put(maxValue + 1), 413, 0, 0, latest},
		{"too large, the largest length", put(math.MaxInt64), 413, 0, 0, latest},
		{"too large, not asked for", declared("PUT", "/kv/a", maxValue+1) + expect + "\r\n", 413, 0, 0, latest},
		{"no space", put(maxValue), 507, 0, 0, latest},
		{"no space, not asked for", declared("PUT", "/kv/a", maxValue) + expect + "\r\n", 507, 0, 0, latest},
		{"an unknown expectation", declared("PUT", "/kv/a", 5) + "Expect: more\r\n\r\n", 417, 0, 0, latest},
		{"an unknown expectation in HTTP/1.0", http10(declared("PUT", "/kv/a", 5)) + "Expect: more\r\n\r\n", 417, 0, 0, latest},
	}
	// No handler wants the body.
	for _, r := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/kv/big", 200},
		{"DELETE", "/kv/big", 200},
		{"DELETE", "/clear", 200},
		{"GET", "/health", 200},
		{"GET", "/kv/none", 404},
		{"PUT", "/none", 404},
		{"POST", "/kv/a", 405},
		{"PUT", "/kv/", 400},
		{"PUT", "/kv/a%20b", 400},
	} {
		name := r.method + " " + r.target
		header := declared(r.method, r.target, 1000)
		rows = append(rows,
			row{name + ", no body", header + "\r\n", r.status, stall, stall, latest},
			row{name + ", half a body", header + "\r\n" + strings.Repeat("x", 500), r.status, stall, stall, latest},
			row{name + ", a body not asked for", header + expect + "\r\n", r.status, 0, 0, latest},
			row{name + ", a body that HTTP/1.0 can't ask for", http10(header) + expect + "\r\n", r.status, 0, 0, latest},
			row{name + ", no chunk", strings.Replace(chunkedHeader, "PUT /kv/a", r.method+" "+r.target, 1), r.status, stall, stall, latest},
			row{name + ", a body too large to read", declared(r.method, r.target, maxValue+1) + "\r\n", r.status, 0, 0, latest},
		)
	}

	for _, test := range rows {
		t.Run(test.name, func(t *testing.T) {
			onEachRequest(t, setup{Config: Config{MaxValueBytes: maxValue}, budget: 3 << 20}, func(t *testing.T, s *testServer, c apitest.Client) {
				s.putBig(t)
				start := time.Now()
				go io.WriteString(c, test.sent)

				resp, body, err := c.Response("GET")
				for err == nil && resp.StatusCode == http.StatusContinue {
					resp, body, err = c.Response("GET")
				}
				switch responded := time.Since(start); {
				case test.status == 0:
					if err == nil && resp.StatusCode != 400 || err != nil && err != io.EOF {
						t.Errorf("response %v, %v, want none or 400", resp, err)
					}
				case err != nil:
					t.Fatalf("response: %v, want %d", err, test.status)
				case resp.StatusCode != test.status:
					t.Errorf("response %s: %.60q, want %d", resp.Status, body, test.status)
				case !resp.Close:
					t.Error("the response does not say Connection: close")
				case responded > test.respondedBy:
					t.Errorf("response after %v, want it by %v", responded, test.respondedBy)
				}
				if more, err := c.R.Peek(1); err != io.EOF {
					t.Errorf("then %q, %v, want the end of the connection", more, err)
				}
				if closed := time.Since(start); closed < test.from || closed > test.by {
					t.Errorf("closed after %v, want %v to %v", closed, test.from, test.by)
				}
			})
		})
	}
}

// A client that goes on sending a body that is not wanted is cut off, too.
func TestUnwantedBodyIsCutOff(t *testing.T) {
	for _, test := range []struct {
		name, sent string
		status     int
	}{
		{"stalled", declared("PUT", "/kv/a", 1000) + "\r\n", 408},
		{"stalled, no handler wants it", declared("POST", "/kv/a", 1000) + "\r\n", 405},
		{"too large", declared("PUT", "/kv/a", 9000) + "\r\n", 413},
		{"no space, chunked", chunkedHeader + chunked(strings.Repeat("x", 9000)) + "1000\r\n", 507},
		{"no space", declared("PUT", "/kv/a", 8000) + "\r\n", 507},
		{"too large to read", declared("GET", "/health", 9000) + "\r\n", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachRequest(t, setup{Config: Config{MaxValueBytes: 8000}, budget: 5000}, func(t *testing.T, s *testServer, c apitest.Client) {
				go io.WriteString(c, test.sent)
				resp, _, err := c.Response("PUT")
				if err != nil || resp.StatusCode != test.status || !resp.Close {
					t.Fatalf("%v, %v, want %d and Connection: close", resp, err, test.status)
				}
				start := time.Now()
				for err == nil {
					time.Sleep(time.Second)
					_, err = io.WriteString(c, "x")
				}
				if closed := time.Since(start); closed > stallTimeout+time.Second {
					t.Errorf("closed %v after the response, want it by %v", closed, stallTimeout)
				}
			})
		})
	}
}

// A slow response does not use up the time for the rest of a body.
func TestUnwantedBodyAfterASlowResponse(t *testing.T) {
	onEachRequest(t, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
		s.putBig(t)
		body := strings.Repeat("x", 100_000)
		c.R = bufio.NewReaderSize(slowReader{c.Conn}, 100_000)
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, declared("GET", "/kv/big", int64(len(body)))+"Expect: 100-continue\r\n\r\n"+body)
			sent <- err
		}()
		resp, got, err := c.Response("GET")
		if err != nil || resp.StatusCode != 200 || got != string(bigValue) {
			t.Errorf("%v, %d bytes, %v, want 200 and %d bytes", resp, len(got), err, len(bigValue))
		}
		if err := <-sent; err != nil {
			t.Errorf("the body is not read: %v", err)
		}
	})
}

// With the largest limit, too, the server refuses the largest lengths at once.
func TestLargestDeclaredLength(t *testing.T) {
	for length, status := range map[int64]int{math.MaxInt64: 413, math.MaxInt64 - 1: 413, maxSize + 1: 413, maxSize: 507} {
		onEachRequest(t, setup{Config: Config{MaxValueBytes: math.MaxInt64}}, func(t *testing.T, s *testServer, c apitest.Client) {
			start := time.Now()
			c.Send(declared("PUT", "/kv/a", length) + "\r\n")
			resp, body, err := c.Response("PUT")
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != status || !resp.Close || time.Since(start) > 0 {
				t.Errorf("length %d: %s: %s, close %v, after %v, want %d and close at once",
					length, resp.Status, body, resp.Close, time.Since(start), status)
			}
		})
	}
}

// A request that begins while the one before it is served, or that is received together
// with it, has no more time for its header than any other.
func TestHeaderThatBeginsDuringARequestIsCutOff(t *testing.T) {
	for n, begun := range []string{"G", "GET", "GET ", "GET /health", "G", "GET", "GET ", "GET /health"} {
		together := n >= 4
		var release chan struct{} // made in the bubble, to which it belongs
		with := setup{before: func(op, _ string) error {
			<-release
			return nil
		}}
		inBubble(t, with, func(t *testing.T, s *testServer) {
			release = make(chan struct{})
			c := s.connect(t)
			if request := apitest.Request("GET", "/health", ""); together {
				c.Send(request + begun)
			} else {
				c.Send(request)
				go io.WriteString(c, begun)
			}
			synctest.Wait() // the request waits for the store
			start := time.Now()
			close(release)
			if resp, _, err := c.Response("GET"); err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			if resp, _, err := c.Response("GET"); err == nil && resp.StatusCode != 400 {
				t.Errorf("%q, together %v: response %s, want none or 400", begun, together, resp.Status)
			}
			if closed := time.Since(start); closed != headerTimeout {
				t.Errorf("%q, together %v: closed after %v, want %v", begun, together, closed, headerTimeout)
			}
		})
	}
}

// A header that arrives byte by byte has no more time than any other.
func TestSlowHeaderIsCutOff(t *testing.T) {
	onEachRequest(t, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
		start := time.Now()
		written := make(chan struct{})
		go func() {
			defer close(written)
			for {
				if _, err := io.WriteString(c, "G"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		if resp, _, err := c.Response("GET"); err == nil && resp.StatusCode != 400 {
			t.Errorf("response %s, want none or 400", resp.Status)
		}
		if closed := time.Since(start); closed != headerTimeout {
			t.Errorf("closed after %v, want %v", closed, headerTimeout)
		}
		c.Close()
		<-written
	})
}

func TestSilentConnectionIsClosed(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		start := time.Now()
		if more, err := s.connect(t).R.Peek(1); err != io.EOF || time.Since(start) != headerTimeout {
			t.Errorf("after %v: %q, %v, want the end of the connection after %v", time.Since(start), more, err, headerTimeout)
		}
	})
}

func TestIdleConnectionIsClosed(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		c := s.connect(t)
		for range 3 {
			c.Want("PUT", "/kv/a", "value", 200, "")
			time.Sleep(idleTimeout - time.Second)
		}
		c.Want("GET", "/kv/a", "", 200, "value")
		start := time.Now()
		if more, err := c.R.Peek(1); err != io.EOF || time.Since(start) != idleTimeout {
			t.Errorf("after %v: %q, %v, want the end of the connection after %v", time.Since(start), more, err, idleTimeout)
		}
	})
}

// A body that moves may take any time, whether or not a handler wants it, and the
// connection serves the next request.
func TestSlowBodyIsRead(t *testing.T) {
	const steps, step = 100, stallTimeout - time.Second
	part := strings.Repeat("x", 1000)
	for _, test := range []struct {
		name, header, part, end string
		status                  int
	}{
		{"upload", declared("PUT", "/kv/a", steps*1000) + "\r\n", part, "", 200},
		{"chunked upload", chunkedHeader, chunked(part), chunked(""), 200},
		{"upload in parts of a byte", declared("PUT", "/kv/a", steps) + "\r\n", "x", "", 200},
		{"GET", declared("GET", "/kv/none", steps*1000) + "\r\n", part, "", 404},
		{"POST", declared("POST", "/kv/a", steps*1000) + "\r\n", part, "", 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, setup{}, func(t *testing.T, s *testServer) {
				c := s.connect(t)
				for range 3 {
					go func() {
						io.WriteString(c, test.header)
						for range steps {
							time.Sleep(step)
							io.WriteString(c, test.part)
						}
						io.WriteString(c, test.end)
					}()
					resp, body, err := c.Response("GET")
					if err != nil {
						t.Fatal(err)
					}
					if resp.StatusCode != test.status || resp.Close {
						t.Errorf("%s: %s, close %v, want %d and an open connection", resp.Status, body, resp.Close, test.status)
					}
				}
			})
		})
	}
}

func TestStalledResponseIsCutOff(t *testing.T) {
	for _, read := range []int{0, 1000, 500_000} {
		t.Run(fmt.Sprintf("after %d bytes", read), func(t *testing.T) {
			onEachRequest(t, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
				s.putBig(t)
				c.Send(apitest.Request("GET", "/kv/big", ""))
				io.CopyN(io.Discard, c.Conn, int64(read))
				time.Sleep(3 * stallTimeout)
				// What was written before is lost or buffered. More does not come.
				if rest, err := io.ReadAll(c.Conn); len(rest)+read >= len(bigValue) {
					t.Errorf("%d bytes come after a pause of %v, %v", len(rest), 3*stallTimeout, err)
				}
			})
		})
	}
}

// A client that sends requests and reads no response is cut off.
func TestUnreadResponsesAreCutOff(t *testing.T) {
	for _, request := range []string{
		apitest.Request("GET", "/health", ""),
		apitest.Request("GET", "/kv/none", ""),
		apitest.Request("PUT", "/kv/a", "value"),
		apitest.Request("POST", "/kv/a", "value"),
	} {
		onEachRequest(t, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			start := time.Now()
			for {
				if _, err := io.WriteString(c, request); err != nil {
					break
				}
			}
			if waited := time.Since(start); waited < stallTimeout || waited > 3*stallTimeout {
				t.Errorf("%.20q: closed after %v, want %v to %v", request, waited, stallTimeout, 3*stallTimeout)
			}
		})
	}
}

// A client that reads slowly gets everything, and its connection serves the next
// request.
func TestSlowResponseIsSent(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		s.putBig(t)
		c := s.connect(t)
		c.R = bufio.NewReaderSize(slowReader{c.Conn}, 100_000)
		for range 3 {
			c.Want("GET", "/kv/big", "", 200, string(bigValue))
		}
	})
}

// A slowReader waits before it reads.
type slowReader struct{ io.Reader }

func (r slowReader) Read(p []byte) (int, error) {
	time.Sleep(stallTimeout - time.Second)
	return r.Reader.Read(p)
}
