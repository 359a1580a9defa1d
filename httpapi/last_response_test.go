package httpapi

import (
	"context"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
)

// A refusal is a request whose response does not depend on its body.
type refusal struct {
	name, method, target string
	fields               []string
	status               int
}

var refusals = []refusal{
	{"bad key", "PUT", "/kv/a%20b", nil, 400},
	{"content-range", "PUT", "/kv/a", []string{"Content-Range: bytes 0-4/5"}, 400},
	{"condition of a PUT", "PUT", "/kv/a", []string{"If-Match: *"}, 400},
	{"condition of a DELETE", "DELETE", "/kv/a", []string{"If-None-Match: *"}, 400},
	{"not found", "PUT", "/none", nil, 404},
	{"method", "POST", "/kv/a", nil, 405},
	{"health", "GET", "/health", nil, 200},
	{"delete", "DELETE", "/kv/a", nil, 200},
	{"too large", "PUT", "/kv/a", nil, 413}, // if the server takes values of a byte
}

func (r refusal) header(fields ...string) string {
	return apitest.Header(r.method, r.target, slices.Concat(r.fields, fields)...)
}

// If at most 64 KiB of a declared length are still to come, they are read first, and the
// connection stays open. Otherwise the response goes out at once and is the last one.
func TestShortRestIsReadAndLongRestIsNot(t *testing.T) {
	const short = 64 << 10
	for _, r := range refusals {
		inBubble(t, setup{Config: Config{MaxValueBytes: 1}}, func(t *testing.T, s *testServer) {
			c := s.connect(t)
			for _, n := range []int64{short, 2} {
				send(c, r.header(length(n))+testLarge[:n])
				c.WantOpen(r.status)
			}
			start := time.Now()
			c.Send(r.header(length(short + 1)))
			c.WantLast(r.status)
			c.WantEnd() // though the server still reads
			wantTime(t, start, 0)
		})
	}
}

// No response is lost on its way. The kernel resets a connection that is closed with unread
// bytes, so the server reads on after the last response of a connection. Here the connections
// are those of the kernel, and the client reads slowly: when it has sent all that it has to
// send, or when it has sent more behind a request whose response has begun.
func TestNoResponseIsLost(t *testing.T) {
	t.Parallel()
	servers := make(map[int]*testServer) // by the number of connections that they accept
	values := map[string]string{"60k": testLarge[:60_000], "200k": testLarge[:200_000], "1M": testLarge}
	for _, conns := range []int{1, testConns} {
		servers[conns] = start(t, setup{Config: Config{MaxConns: conns, MaxInflightBytes: testBudget}})
		for key, value := range values {
			servers[conns].put(t, key, value)
		}
	}
	run := func(name string, conns int, sent []string, behind string, want ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := servers[conns].connect(t)
			defer c.Close()
			c.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10) // or the kernel takes it all
			c.Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
			for _, text := range sent {
				c.Send(text)
			}
			c.R.Reset(slowReader{c.Conn, 64 << 10, 16 * time.Millisecond})
			if behind != "" {
				c.R.Peek(1)
				c.Send(behind)
			}
			for _, want := range want {
				if resp, body, err := c.Response("GET"); err != nil || body != want {
					t.Errorf("%v, %d bytes, %v, want %d bytes", resp, len(body), err, len(want))
				}
			}
			c.WantEnd()
		})
	}

	const closes = "Connection: close"
	for key, value := range values {
		target := "/kv/" + key
		for name, behind := range map[string]string{"a line break": "\r\n", "a request": apitest.Request("GET", target, "")} {
			name = key + " and " + name + " behind it"
			run(name, testConns, []string{apitest.Header("GET", target, closes)}, behind, value)
			run(name+", HTTP/1.0", testConns, []string{http10(apitest.Header("GET", target))}, behind, value)
			run(name+", no place is free", 1, []string{apitest.Header("GET", target)}, behind, value)
		}
		run(key+" and what net/http refuses behind it", testConns, []string{apitest.Header("GET", target)}, "\r\nGET\r\n\r\n"+testLarge[:60_000], value, "400 Bad Request")
		run(key+" and a small last response", testConns, []string{apitest.Header("GET", target) + apitest.Header("GET", "/health", closes)}, "\r\n", value, "")
	}

	sendsAll := func(header, part string) []string {
		return append(append([]string{header}, slices.Repeat([]string{part}, 16)...), "0\r\n\r\n")
	}
	for _, body := range []string{"3\r\nabc\r\nno number\r\n", "11111111111111111\r\n", "3\r\nabcdef"} {
		run("a malformed body", testConns, sendsAll(apitest.Header("PUT", "/kv/a", apitest.Chunked)+body, testLarge[:unit]), "", "value is incomplete")
	}
	tooLarge := start(t, setup{Config: Config{MaxValueBytes: 1}})
	servers[0] = tooLarge
	reasons := map[int]string{404: "not found", 405: "method not allowed", 413: "value too large"}
	for _, r := range refusals {
		if want := reasons[r.status]; want != "" {
			run(r.name, 0, sendsAll(r.header(length(16*unit+5)), testLarge[:unit]), "", want)
			run(r.name+", chunked", 0, sendsAll(r.header(apitest.Chunked), apitest.Chunks(testLarge[:unit])), "", want)
		}
	}
}

// A response that is under way when the server begins to stop is the last of its connection,
// and arrives whole, whatever is behind its request. So does one that the server has sent, and
// that is still in the buffers of the kernel.
func TestStopLosesNoResponse(t *testing.T) {
	t.Parallel()
	for _, size := range []int{60_000, testMax} {
		s := start(t, setup{})
		s.put(t, "a", testLarge[:size])
		c := s.connect(t)
		c.Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
		c.R.Reset(slowReader{c.Conn, 64 << 10, 16 * time.Millisecond})
		c.Send(apitest.Request("GET", "/kv/a", ""))
		c.R.Peek(1) // the header says nothing of the stop
		result := make(chan error, 1)
		go func() { result <- s.Shutdown(t.Context()) }()
		<-s.api.listener.closed.Done()
		c.Send(apitest.Request("GET", "/kv/a", ""))
		c.WantResponse("GET", 200, testLarge[:size])
		c.WantEnd()
		c.Close()
		if err := <-result; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	}
}

// A connection that only discards what its client sends has half a second from the stop on,
// so that a client that is still sending can read its response. Shutdown waits for it.
func TestStopWaitsForClientsThatStillSend(t *testing.T) {
	for _, sends := range []time.Duration{400 * time.Millisecond, time.Hour} {
		inBubble(t, setup{}, func(t *testing.T, s *testServer) {
			c := s.connect(t)
			begun := time.Now()
			sent := make(chan error, 1)
			go func() {
				var err error
				io.WriteString(c, apitest.Header("PUT", "/kv/", length(testMax)))
				for err == nil && time.Since(begun) < sends {
					time.Sleep(100 * time.Millisecond)
					_, err = io.WriteString(c, "x")
				}
				sent <- err
				if err == nil {
					c.CloseWrite()
				}
			}()
			c.R.Peek(1) // the response is there
			synctest.Wait()
			result := s.shutdown()
			if err := <-result; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			wantTime(t, begun, min(sends, 500*time.Millisecond))
			if err := <-sent; (err == nil) != (sends < time.Hour) {
				t.Errorf("sending for %v ends with %v", sends, err)
			}
			c.WantResponse("PUT", 400, "key cannot be empty")
		})
	}
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		c := s.connect(t)
		c.Send(apitest.Header("PUT", "/kv/", length(testMax)))
		c.WantLast(400)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("Shutdown: %v, want the error of its context", err)
		}
	})
}

// The reader of this body reports the end in a separate call, after the last bytes. So all
// of the body has been read before the exchange sees its end, and no byte is left.
func TestRestOfABodyIsCounted(t *testing.T) {
	x := newExchange(nil, httptest.NewRequest("PUT", "/kv/a", strings.NewReader("value")), nil)
	for _, want := range []int64{2, 0} {
		if _, err := x.Read(make([]byte, 3)); err != nil || x.left != want {
			t.Errorf("%d bytes are left, %v, want %d", x.left, err, want)
		}
	}
}
