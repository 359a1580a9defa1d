package httpapi

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
)

// A refusal is a request whose response does not depend on the rest of its body.
type refusal struct {
	name, method, target string
	fields               []string
	status               int
	want                 string
}

var refusals = []refusal{
	{"bad key", "PUT", "/kv/a%20b", nil, 400, "key contains invalid characters"},
	{"content-range", "PUT", "/kv/a", []string{"Content-Range: bytes 0-4/5"}, 400, "content-range is not supported"},
	{"not found", "PUT", "/none", nil, 404, "not found"},
	{"method", "POST", "/kv/a", nil, 405, "method not allowed"},
	{"condition", "DELETE", "/kv/a", []string{"If-Match: *"}, 412, "precondition failed"},
	{"health", "GET", "/health", nil, 200, ""},
	{"delete", "DELETE", "/kv/a", nil, 200, ""},
}

// tooLarge is a refusal if the length is more than the limit.
var tooLarge = refusal{"too large", "PUT", "/kv/a", nil, 413, "value too large"}

// No response is lost on its way: a client that sends all of a long body before it reads
// sees the response, although the server does not want the body.
func TestClientThatReadsAfterItHasSent(t *testing.T) {
	t.Parallel()
	const parts, size = 32, 64 << 10
	part := strings.Repeat("x", size)
	s := start(t, setup{budget: 1})
	for _, r := range append(refusals, tooLarge) {
		for _, chunked := range []bool{false, true} {
			t.Run(r.name, func(t *testing.T) {
				c := s.connect(t)
				c.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10) // or the kernel takes it all
				part, end, field := part, "", length(parts*size)
				if chunked {
					part, end, field = apitest.Chunks(part), apitest.Chunks(""), apitest.Chunked
				}
				c.Send(apitest.Header(r.method, r.target, append(r.fields, field)...))
				for range parts {
					c.Send(part)
				}
				c.Send(end)
				if resp := c.WantResponse(r.method, r.status, r.want); !resp.Close {
					t.Error("the response does not say Connection: close")
				}
				c.WantEnd()
				s.want(t, "a", "")
			})
		}
	}
}

// If at most 64 KiB of a declared length are still to come, they are read first, and the
// connection stays open. It stays open after a body of any length that has been read, too.
func TestShortRestIsRead(t *testing.T) {
	t.Parallel()
	for _, r := range append(refusals, tooLarge) {
		with := setup{Config: Config{MaxValueBytes: 1}}
		onEachRequest(t, r.name, with, func(t *testing.T, s *testServer, c apitest.Client) {
			for _, n := range []int{unit, 2} {
				send(c, apitest.Request(r.method, r.target, testLarge[:n], r.fields...))
				if resp := c.WantResponse(r.method, r.status, r.want); resp.Close {
					t.Errorf("%d bytes: the response says Connection: close", n)
				}
			}
			send(c, apitest.Request(r.method, r.target, testLarge[:unit+1], r.fields...))
			if resp := c.WantResponse(r.method, r.status, r.want); !resp.Close {
				t.Error("a byte more: the response does not say Connection: close")
			}
			c.WantEnd()
		})
	}
	onEachRequest(t, "read to its end", setup{budget: 1}, func(t *testing.T, s *testServer, c apitest.Client) {
		for _, body := range []string{"value", testLarge[:testMax/2]} {
			for _, request := range []string{apitest.Request("PUT", "/kv/a", body), chunkedPut("/kv/a", body)} {
				send(c, request)
				if resp := c.WantResponse("PUT", 507, "store is full"); resp.Close {
					t.Error("the response says Connection: close")
				}
			}
		}
	})
}

// The server knows how much of a body is left, whether or not io.EOF comes with the last
// bytes.
func TestRestOfABodyIsCounted(t *testing.T) {
	for _, body := range []io.Reader{strings.NewReader("value"), iotest.DataErrReader(strings.NewReader("value"))} {
		x := newExchange(nil, &http.Request{Body: io.NopCloser(body), ContentLength: 5})
		for _, step := range []int64{5, 3, 1, 0} {
			io.CopyN(io.Discard, x, x.left-step)
			if x.left != step {
				t.Errorf("%d bytes are left, want %d", x.left, step)
			}
		}
	}
}

// If the request is the last one of its connection, the response goes out at once, and the
// rest of the body is read after it: net/http would close without reading it.
func TestShortRestOfTheLastRequestIsRead(t *testing.T) {
	t.Parallel()
	for _, r := range refusals {
		for name, header := range map[string]string{
			"HTTP/1.1": apitest.Header(r.method, r.target, append(r.fields, length(1000), "Connection: close")...),
			"HTTP/1.0": http10(apitest.Header(r.method, r.target, append(r.fields, length(1000))...)),
		} {
			onEachRequest(t, r.name+", "+name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
				send(c, header)
				if resp := c.WantResponse(r.method, r.status, r.want); !resp.Close {
					t.Error("the response does not say Connection: close")
				}
				synctest.Wait()
				if n, err := io.WriteString(c, testLarge[:1000]); err != nil {
					t.Errorf("the server reads %d of 1,000 bytes: %v", n, err)
				}
				c.WantEnd()
			})
		}
	}
}

// A connection whose body did not end is never used again. Else the rest of the body would
// be taken for a request: here a client stalls and then goes on with a request to clear the
// store.
func TestRestOfABodyIsNoRequest(t *testing.T) {
	t.Parallel()
	const clear = "DELETE /clear HTTP/1.1\r\nHost: kv\r\n\r\n"
	put := func(n int64, fields ...string) string {
		return apitest.Header("PUT", "/kv/a", append(fields, length(n))...)
	}
	for name, row := range map[string]struct {
		header string
		status int
	}{
		"bad key":          {strings.Replace(put(100), "/kv/a", "/kv/%20", 1), 400},
		"content-range":    {put(100, "Content-Range: bytes 0-4/5"), 400},
		"not found":        {strings.Replace(put(100), "/kv/a", "/none", 1), 404},
		"method":           {strings.Replace(put(100), "PUT", "POST", 1), 405},
		"stalled":          {put(100), 408},
		"stalled, chunked": {apitest.Header("PUT", "/kv/a", apitest.Chunked) + "64\r\n", 408},
		"stalled, large":   {put(100_000), 408},
		"condition":        {strings.Replace(put(100, "If-Match: *"), "PUT", "DELETE", 1), 412},
		"too large":        {put(testMax + 1), 413},
		"too large, short": {put(101), 413},
		"busy":             {put(100_000), 503},
		"busy, chunked":    {apitest.Header("PUT", "/kv/a", apitest.Chunked) + apitest.Chunks(testLarge[:2*unit]) + "64\r\n", 503},
		"delete":           {strings.Replace(put(100), "PUT", "DELETE", 1), 200},
	} {
		with := setup{}
		if row.status == 413 {
			with.MaxValueBytes, with.MaxInflightBytes = 100, testMax
		}
		onEachRequest(t, name, with, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "kept", "value")
			if row.status == 503 {
				s.holdIncoming(t)
			}
			wrote := make(chan struct{})
			go func() {
				defer close(wrote)
				io.WriteString(c, row.header+"0123456789")
				time.Sleep(6 * time.Second)
				io.WriteString(c, clear)
				time.Sleep(6 * time.Second)
				io.WriteString(c, clear) // still within the body
			}()
			resp, body, err := c.Response("PUT")
			if err != nil || resp.StatusCode != row.status || !resp.Close {
				t.Errorf("%v %q, %v, want %d and Connection: close", resp, body, err, row.status)
			}
			c.WantEnd()
			<-wrote
			s.want(t, "kept", "value")
		})
	}
}

// A client that goes on sending slowly what the server discards is let go after 30 s. One
// that is silent is let go after 5 s.
func TestSlowSenderIsLetGo(t *testing.T) {
	const silence, inAll = 5 * time.Second, 30 * time.Second
	for name, row := range map[string]struct {
		header, more string
		lasts        time.Duration
	}{
		"silent":          {apitest.Header("PUT", "/kv/", length(1e9)), "", silence},
		"silent, chunked": {apitest.Header("PUT", "/kv/", apitest.Chunked), "", silence},
		"slow":            {apitest.Header("PUT", "/kv/", length(1e9)), "x", inAll},
		"slow, shorter":   {apitest.Header("PUT", "/kv/", length(unit+1)), "x", inAll},
		"slow, chunked":   {apitest.Header("PUT", "/kv/", apitest.Chunked), apitest.Chunks("x"), inAll},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			c.Send(row.header)
			c.WantResponse("PUT", 400, "key cannot be empty")
			c.WantEnd() // of what the server sends
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for err := error(nil); err == nil && row.more != ""; time.Sleep(silence - time.Second) {
					_, err = io.WriteString(c, row.more)
				}
			}()
			time.Sleep(row.lasts - time.Millisecond)
			const waiting = 1 // Accept holds a token for the next connection
			if len(s.listener.conns) == waiting {
				t.Errorf("the connection ends before %v", row.lasts)
			}
			time.Sleep(time.Second) // net/http may wait for half a second before it closes
			if len(s.listener.conns) > waiting {
				t.Errorf("the connection goes on after %v", row.lasts)
			}
			<-ended
		})
	}
}

// A request of HTTP/1.0 is the only one of its connection, whatever it asks for: net/http
// ignores its Transfer-Encoding and could take the rest of its body for a request.
func TestHTTP10(t *testing.T) {
	t.Parallel()
	const keepAlive = "Connection: keep-alive"
	second := apitest.Header("PUT", "/kv/second", "Content-Length: 1") + "x"
	for name, row := range map[string]struct {
		request string
		status  int
	}{
		"two lengths": {apitest.Header("PUT", "/kv/a", keepAlive, apitest.Chunked, length(5)) + "0\r\n\r\n", 200},
		"chunked":     {apitest.Header("PUT", "/kv/a", keepAlive, apitest.Chunked) + "5\r\nvalue\r\n0\r\n\r\n", 400},
		"PUT":         {apitest.Request("PUT", "/kv/a", "value", keepAlive), 200},
		"GET":         {apitest.Request("GET", "/kv/kept", "", keepAlive), 200},
		"GET, no key": {apitest.Request("GET", "/kv/a", "", keepAlive), 404},
		"GET, body":   {apitest.Request("GET", "/kv/kept", "body", keepAlive), 200},
		"DELETE":      {apitest.Request("DELETE", "/kv/a", "", keepAlive), 200},
		"clear":       {apitest.Request("DELETE", "/clear", "", keepAlive), 200},
		"health":      {apitest.Request("GET", "/health", "", keepAlive), 200},
		"POST":        {apitest.Request("POST", "/kv/a", "", keepAlive), 405},
		"not found":   {apitest.Request("GET", "/none", "", keepAlive), 404},
	} {
		onEachRequest(t, name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "kept", "value")
			send(c, http10(row.request)+second)
			resp, body, err := c.Response("PUT")
			if err != nil || resp.StatusCode != row.status || !resp.Close {
				t.Errorf("%v %q, %v, want %d and Connection: close", resp, body, err, row.status)
			}
			c.WantEnd()
			s.want(t, "second", "")
		})
	}
}

// A client that asks whether it may send the body is told to go on. TestStalledRequest has
// the cases in which it is refused.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	const expect = "Expect: 100-continue"
	onEachRequest(t, "", setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
		for _, value := range []string{"value", testLarge[:testMax/2]} {
			for field, body := range map[string]string{
				length(int64(len(value))): value,
				apitest.Chunked:           apitest.Chunks(value, ""),
			} {
				c.Send(apitest.Header("PUT", "/kv/a", field, expect))
				c.WantResponse("PUT", http.StatusContinue, "")
				send(c, body)
				if resp := c.WantResponse("PUT", 200, ""); resp.Close {
					t.Error("the response says Connection: close")
				}
			}
		}
	})
}

// A client that closes its sending half after its last request gets every response,
// although net/http cancels the context of a request when it reads the end.
func TestClientThatClosesItsSendingHalf(t *testing.T) {
	t.Parallel()
	put := apitest.Request("PUT", "/kv/a", testLarge)
	for name, row := range map[string]struct {
		sent      string
		responses int
	}{
		"ten GETs":          {strings.Repeat(apitest.Request("GET", "/kv/b", ""), 10), 10},
		"a large PUT":       {put, 1},
		"a small PUT":       {apitest.Request("PUT", "/kv/a", "value"), 1},
		"a chunked PUT":     {chunkedPut("/kv/a", testLarge[:testMax/2]), 1},
		"five large PUTs":   {strings.Repeat(put, 5), 5},
		"a body not wanted": {apitest.Request("GET", "/kv/b", testLarge), 1},
		"all requests": {put + apitest.Request("GET", "/kv/a", "") + apitest.Request("DELETE", "/kv/a", "") +
			apitest.Request("GET", "/health", "") + apitest.Request("DELETE", "/clear", ""), 5},
	} {
		t.Run(name, func(t *testing.T) {
			wantResponses := func(t *testing.T, c apitest.Client, before func()) {
				t.Helper()
				for n := range row.responses {
					before()
					if resp, body, err := c.Response("GET"); err != nil || resp.StatusCode != 200 {
						t.Fatalf("response %d of %d: %v %.20q, %v", n+1, row.responses, resp, body, err)
					}
				}
				c.WantEnd()
			}

			var turn chan struct{} // holds a token when the store may serve a request
			wait := func(string) error { <-turn; return nil }
			inBubble(t, setup{before: wait}, func(t *testing.T, s *testServer) {
				turn = make(chan struct{})
				s.put(t, "b", "value")
				c := s.connect(t)
				go func() {
					io.WriteString(c, row.sent)
					c.CloseWrite()
				}()
				wantResponses(t, c, func() {
					synctest.Wait() // the server has read all that it can
					turn <- struct{}{}
				})
			})

			s := start(t, setup{})
			s.put(t, "b", "value")
			c := s.connect(t)
			go func() {
				io.WriteString(c, row.sent)
				c.CloseWrite()
			}()
			wantResponses(t, c, func() {})
		})
	}
}

// A chunked body that is malformed has no end, and its client may still be sending.
func TestClientOfAMalformedBodySeesTheResponse(t *testing.T) {
	t.Parallel()
	s := start(t, setup{})
	for name, body := range map[string]string{
		"a size that is no number": "3\r\nabc\r\nzz\r\n",
		"a size that overflows":    "11111111111111111\r\n",
		"no line break":            "3\r\nabcdef",
	} {
		c := s.connect(t)
		c.Send(apitest.Header("PUT", "/kv/a", apitest.Chunked) + body + strings.Repeat(testLarge, 4)) // all of it is sent before it reads
		if resp, got, err := c.Response("PUT"); err != nil || resp.StatusCode != 400 || got != "value is incomplete" {
			t.Errorf("%s: %v %q, %v, want 400 value is incomplete", name, resp, got, err)
		}
	}
}
