package httpapi

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// No response is lost on its way. The kernel resets a connection that is closed with unread
// bytes, so the server reads on after the last response of a connection. Here the connections
// are those of the kernel, and the client reads slowly.
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
	run("405", small, apitest.Request("POST", "/kv/a", testLarge), nil, "method not allowed")
	run("404, chunked", small, apitest.ChunkedRequest("PUT", "/none", testLarge), nil, "not found")
	run("400", small, apitest.Request("PUT", "/kv/a", testLarge, "If-Match: *"), nil, "condition is not supported")
	run("200", small, apitest.Request("DELETE", "/kv/a", testLarge), nil, "")
	run("malformed chunk", small, apitest.Header("PUT", "/kv/a", apitest.Chunked)+"no number\r\n"+testLarge, nil, "value is incomplete")
}

// The reader of this body reports the end in a separate call, after the last bytes. So all
// of the body has been read before the exchange sees its end, and no byte is left. If bytes
// were left, the response would count as an early one, and end the connection.
func TestRestOfABodyIsCounted(t *testing.T) {
	x := newExchange(nil, httptest.NewRequest("PUT", "/kv/a", strings.NewReader("value")), nil)
	for _, want := range []int64{2, 0} {
		if _, err := x.Read(make([]byte, 3)); err != nil || x.left != want {
			t.Errorf("%d bytes are left, %v, want %d", x.left, err, want)
		}
	}
}
