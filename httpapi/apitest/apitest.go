// Package apitest helps tests to speak to the API over a connection of their own.
// A client library would correct what a test wants to send, and hide when and
// where a connection ends.
package apitest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A Client has one connection to a server.
type Client struct {
	net.Conn
	R *bufio.Reader // reads from Conn

	t testing.TB
}

// Dial connects to the server at addr until the test ends.
func Dial(t testing.TB, addr string) Client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return New(t, conn)
}

// New returns a client that uses conn.
func New(t testing.TB, conn net.Conn) Client {
	return Client{conn, bufio.NewReader(conn), t}
}

// Header returns a request line and a header. A field is like "Name: value".
func Header(method, target string, fields ...string) string {
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: kv"}, fields...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// Request returns a request with a body of known length.
func Request(method, target, body string, fields ...string) string {
	length := fmt.Sprintf("Content-Length: %d", len(body))
	return Header(method, target, append([]string{length}, fields...)...) + body
}

// Chunked is the field of a header that announces a body in chunks.
const Chunked = "Transfer-Encoding: chunked"

// Chunks returns chunks as they are sent. An empty one ends the body.
func Chunks(chunks ...string) string {
	sent := ""
	for _, chunk := range chunks {
		sent += fmt.Sprintf("%x\r\n", len(chunk)) + chunk + "\r\n"
	}
	return sent
}

// ChunkedRequest returns a request with a body of unknown length, the body that chunks
// make. Some of them may be empty.
func ChunkedRequest(method, target string, chunks ...string) string {
	chunks = slices.DeleteFunc(slices.Clone(chunks), func(chunk string) bool { return chunk == "" })
	return Header(method, target, Chunked) + Chunks(append(chunks, "")...)
}

// Send sends text as it is.
func (c Client) Send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// CloseWrite closes the sending half of the connection.
func (c Client) CloseWrite() {
	c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// Response reads the next response, which is one to a request of method. The error
// is io.EOF if the connection ends before the response begins.
func (c Client) Response(method string) (*http.Response, string, error) {
	if _, err := c.R.Peek(1); err != nil {
		return nil, "", err
	}
	resp, err := http.ReadResponse(c.R, &http.Request{Method: method})
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// WantResponse reads the next response, which is one to a request of method, and
// checks its status and its body. It ends the test if there is no response.
func (c Client) WantResponse(method string, status int, want string) *http.Response {
	c.t.Helper()
	return c.want("response to "+method, method, status, want)
}

// Want sends a request, and then is like WantResponse.
func (c Client) Want(method, target, body string, status int, want string) *http.Response {
	c.t.Helper()
	c.Send(Request(method, target, body))
	return c.want(method+" "+target, method, status, want)
}

func (c Client) want(what, method string, status int, want string) *http.Response {
	c.t.Helper()
	resp, got, err := c.Response(method)
	if err != nil {
		c.t.Fatalf("%.80s: %v, want %d %.60q", what, err, status, want)
	}
	if resp.StatusCode != status || got != want {
		c.t.Errorf("%.80s: %d %.60q, want %d %.60q", what, resp.StatusCode, got, status, want)
	}
	return resp
}

// WantOpen reads the next response, not one to HEAD, and checks its status, and that its
// connection stays open.
func (c Client) WantOpen(status int) { c.t.Helper(); c.wantStatus(status, false) }

// WantLast is like WantOpen, but the response says that its connection ends.
func (c Client) WantLast(status int) { c.t.Helper(); c.wantStatus(status, true) }

func (c Client) wantStatus(status int, last bool) {
	c.t.Helper()
	resp, body, err := c.Response("GET")
	if err != nil {
		c.t.Fatalf("%v, want a response of status %d", err, status)
	}
	if resp.StatusCode != status || resp.Close != last {
		c.t.Errorf("%d %.60q, Connection: close is %v; want %d, %v", resp.StatusCode, body, resp.Close, status, last)
	}
}

// WantEnd checks that the connection ends and that no byte comes before.
func (c Client) WantEnd() {
	c.t.Helper()
	if _, err := c.R.Peek(1); err != io.EOF {
		more, _ := c.R.Peek(c.R.Buffered())
		c.t.Errorf("%.60q, %v; want the end of the connection", more, err)
	}
}

// Skip reads a response of status 200 at little cost, for benchmarks.
func (c Client) Skip() error {
	length := 0
	for first := true; ; first = false {
		line, err := c.R.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")):
			return fmt.Errorf("unexpected response: %q", line)
		case len(line) == len("\r\n"):
			_, err := c.R.Discard(length)
			return err
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
}
