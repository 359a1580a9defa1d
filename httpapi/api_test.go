package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kvactor/actor"
	"kvactor/httpapi"
)

const (
	maxValueBytes = 1 << 20
	maxStoreBytes = 4 << 20
	plainText     = "text/plain; charset=utf-8"
)

// A server is the API on a listener of the loopback, and a store behind it.
type server struct {
	addr  string
	store *actor.Store
}

func newServer(t testing.TB) server {
	store := actor.New(maxStoreBytes)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	go store.Run(ctx)
	return server{serve(t, store), store}
}

// serve puts the API in front of store and returns its address. It logs, to
// nobody.
func serve(t testing.TB, store httpapi.Store) string {
	events := httpapi.NewLog(io.Discard)
	go events.Run(t.Context())
	s := httptest.NewUnstartedServer(httpapi.New(store, maxValueBytes, events))
	s.Listener = httpapi.NewListener(t.Context(), s.Listener)
	s.Config.DisableGeneralOptionsHandler = true
	s.Config.ErrorLog = log.New(events, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// A client speaks HTTP on one connection, byte by byte: a client library would
// mend what the server has to judge.
type client struct {
	t testing.TB
	net.Conn
	answers *bufio.Reader
}

func (s server) dial(t testing.TB) client { return dial(t, s.addr) }

func dial(t testing.TB, addr string) client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client{t, conn, bufio.NewReader(conn)}
}

func (c client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads the next answer to a request of method.
func (c client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.answers, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(body)
}

// do sends a request with a body of known length and returns the answer.
func (c client) do(method, target, body string) (*http.Response, string) {
	c.t.Helper()
	c.send(request(method, target, body))
	return c.answer(method)
}

// want sends a request and checks the answer: its status, its body, its type.
func (c client) want(method, target, body string, status int, answer string) *http.Response {
	c.t.Helper()
	resp, got := c.do(method, target, body)
	if resp.StatusCode != status || got != answer {
		c.t.Errorf("%s %s: %d %.60q, want %d %.60q", method, target, resp.StatusCode, got, status, answer)
	}
	if typ := resp.Header.Get("Content-Type"); (answer != "" || method == "PUT") && typ != plainText {
		c.t.Errorf("%s %s: Content-Type is %q", method, target, typ)
	}
	if method != "HEAD" && resp.ContentLength != int64(len(got)) {
		c.t.Errorf("%s %s: Content-Length is %d", method, target, resp.ContentLength)
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		c.t.Errorf("%s %s redirects to %s", method, target, resp.Header.Get("Location"))
	}
	return resp
}

func request(method, target, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n\r\n%s", method, target, len(body), body)
}

// The contract, row by row, on a single connection: whatever the answer, the
// next request gets its own.
func TestContract(t *testing.T) {
	c := newServer(t).dial(t)
	long := strings.Repeat("long ", maxValueBytes/5)
	for _, test := range []struct {
		method, target, body string
		status               int
		answer               string
	}{
		{"GET", "/health", "", 200, ""},

		{"GET", "/kv/user:1", "", 404, "key not found"},
		{"PUT", "/kv/user:1", "Ada", 200, ""},
		{"GET", "/kv/user:1", "", 200, "Ada"},
		{"GET", "/kv/User:1", "", 404, "key not found"},
		{"PUT", "/kv/user:1", "Grace", 200, ""},
		{"GET", "/kv/user:1", "", 200, "Grace"},
		{"DELETE", "/kv/user:1", "", 200, ""},
		{"GET", "/kv/user:1", "", 404, "key not found"},
		{"DELETE", "/kv/user:1", "", 200, ""},

		{"PUT", "/kv/a", "1", 200, ""},
		{"PUT", "/kv/b", "2", 200, ""},
		{"DELETE", "/clear", "", 200, ""},
		{"GET", "/kv/a", "", 404, "key not found"},
		{"GET", "/kv/b", "", 404, "key not found"},
		{"DELETE", "/clear", "", 200, ""},

		// The method is judged before the key, and the key before the value.
		{"POST", "/kv/", "", 405, "method not allowed"},
		{"POST", "/kv/a%20b", "", 405, "method not allowed"},
		{"PUT", "/kv/", "", 400, "key cannot be empty"},
		{"PUT", "/kv/", "value", 400, "key cannot be empty"},
		{"GET", "/kv/", "", 400, "key cannot be empty"},
		{"DELETE", "/kv/", "", 400, "key cannot be empty"},
		{"PUT", "/kv/a%20b", "", 400, "key contains invalid characters"},
		{"PUT", "/kv/a%20b", "\xff", 400, "key contains invalid characters"},
		{"PUT", "/kv/a", "", 400, "value cannot be empty"},
		{"GET", "/kv/a", "", 404, "key not found"},

		// Keys are judged after percent-decoding, and nothing normalises them.
		{"PUT", "/kv/user%3A1", "Ada", 200, ""},
		{"GET", "/kv/user:1", "", 200, "Ada"},
		{"GET", "/%6b%76/%75ser:1", "", 200, "Ada"},
		{"GET", "/kv/user:1?a=b&c", "", 200, "Ada"},
		{"GET", "http://other/kv/user:1", "", 200, "Ada"},
		{"GET", "/kv/a%2Fb", "", 400, "key contains invalid characters"},
		{"GET", "/kv/a/b", "", 400, "key contains invalid characters"},
		{"GET", "/kv/a/", "", 400, "key contains invalid characters"},
		{"GET", "/kv//a", "", 400, "key contains invalid characters"},
		{"GET", "/kv//", "", 400, "key contains invalid characters"},
		{"GET", "/kv/../kv/a", "", 400, "key contains invalid characters"},
		{"GET", "/kv/caf%C3%A9", "", 400, "key contains invalid characters"},
		{"GET", "/kv/caf\u00e9", "", 400, "key contains invalid characters"},
		{"GET", "/kv/a+b", "", 400, "key contains invalid characters"},
		{"PUT", "/kv/.", "dot", 200, ""},
		{"PUT", "/kv/..", "dots", 200, ""},
		{"GET", "/kv/.", "", 200, "dot"},
		{"GET", "/kv/%2e%2E", "", 200, "dots"},

		// Values come back as they went in.
		{"PUT", "/kv/a", " \t\r\n", 200, ""},
		{"GET", "/kv/a", "", 200, " \t\r\n"},
		{"PUT", "/kv/a", "\x00", 200, ""},
		{"GET", "/kv/a", "", 200, "\x00"},
		{"PUT", "/kv/a", "<html>\u00e9\u4e16\U0001f600&?\"", 200, ""},
		{"GET", "/kv/a", "", 200, "<html>\u00e9\u4e16\U0001f600&?\""},
		{"PUT", "/kv/a", "%PDF-1.4", 200, ""},
		{"GET", "/kv/a", "", 200, "%PDF-1.4"},
		{"PUT", "/kv/a", "\ufeffbom", 200, ""},
		{"GET", "/kv/a", "", 200, "\ufeffbom"},
		{"PUT", "/kv/a", "\xff", 400, "value must be valid UTF-8"},
		{"PUT", "/kv/a", "cut \xe4\xb8", 400, "value must be valid UTF-8"},
		{"PUT", "/kv/a", "surrogate \xed\xa0\x80", 400, "value must be valid UTF-8"},
		{"GET", "/kv/a", "", 200, "\ufeffbom"},
		{"PUT", "/kv/a", long, 200, ""},
		{"GET", "/kv/a", "", 200, long},
		{"PUT", "/kv/a", long[:2048], 200, ""},
		{"GET", "/kv/a", "", 200, long[:2048]},
		{"PUT", "/kv/a", long[:2049], 200, ""},
		{"GET", "/kv/a", "", 200, long[:2049]},

		// What is none of these is not there, and nothing redirects.
		{"GET", "/", "", 404, "not found"},
		{"GET", "/kv", "", 404, "not found"},
		{"PUT", "/kv", "value", 404, "not found"},
		{"GET", "//kv/a", "", 404, "not found"},
		{"GET", "/KV/a", "", 404, "not found"},
		{"GET", "/x/../kv/a", "", 404, "not found"},
		{"DELETE", "/clear/", "", 404, "not found"},
		{"GET", "/clear/a", "", 404, "not found"},
		{"GET", "/health/", "", 404, "not found"},
		{"GET", "/healthz", "", 404, "not found"},
		{"GET", "http://other", "", 404, "not found"},
		{"OPTIONS", "*", "", 404, "not found"},
		{"GET", "*", "", 404, "not found"},
		{"CONNECT", "kv:80", "", 404, "not found"},
		{"\x21", "/", "", 404, "not found"},

		// A body where none is asked for changes nothing, however long it is.
		{"GET", "/kv/.", long, 200, "dot"},
		{"DELETE", "/kv/.", long, 200, ""},
		{"GET", "/kv/.", long, 404, "key not found"},
		{"GET", "/health", long, 200, ""},
		{"PUT", "/kv/", long, 400, "key cannot be empty"},
		{"PUT", "/none", long, 404, "not found"},
		{"POST", "/clear", long, 405, "method not allowed"},
		{"GET", "/health", "", 200, ""},
	} {
		c.want(test.method, test.target, test.body, test.status, test.answer)
	}
}

func TestEveryByteOfAKey(t *testing.T) {
	c := newServer(t).dial(t)
	for b := range 256 {
		target := fmt.Sprintf("/kv/a%%%02Xb", b)
		if strings.ContainsRune(alphabet, rune(b)) && b < 0x80 {
			c.want("PUT", target, "value", 200, "")
			c.want("GET", "/kv/a"+string(rune(b))+"b", "", 200, "value")
		} else {
			c.want("PUT", target, "value", 400, "key contains invalid characters")
		}
	}
	long := strings.Repeat(alphabet, 500)
	c.want("PUT", "/kv/"+long, "value", 200, "")
	c.want("GET", "/kv/"+long, "", 200, "value")
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.-"

// Every other method is 405, with an Allow that names those that work, and no
// others.
func TestMethodNotAllowed(t *testing.T) {
	c := newServer(t).dial(t)
	methods := []string{
		"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "X",
	}
	for path, allowed := range map[string][]string{
		"/kv/a":   {"DELETE", "GET", "PUT"},
		"/clear":  {"DELETE"},
		"/health": {"GET"},
	} {
		for _, method := range methods {
			if slices.Contains(allowed, method) {
				resp, _ := c.do(method, path, "value")
				if resp.StatusCode == http.StatusMethodNotAllowed {
					t.Errorf("%s %s is not allowed", method, path)
				}
				continue
			}
			body := "method not allowed"
			if method == "HEAD" {
				body = ""
			}
			resp := c.want(method, path, "", 405, body)
			if got := resp.Header.Get("Allow"); got != strings.Join(allowed, ", ") {
				t.Errorf("%s %s: Allow is %q, want %q", method, path, got, allowed)
			}
		}
	}
}

func TestPipelinedRequests(t *testing.T) {
	c := newServer(t).dial(t)
	const n = 200
	var all strings.Builder
	for i := range n {
		all.WriteString(request("PUT", "/kv/a", strconv.Itoa(i)))
		all.WriteString(request("GET", "/kv/a", ""))
		all.WriteString(request("GET", "/kv/", ""))
	}
	go c.send(all.String())
	for i := range n {
		for j, want := range []string{"", strconv.Itoa(i), "key cannot be empty"} {
			if _, got := c.answer("GET"); got != want {
				t.Fatalf("answer %d of group %d is %q, want %q", j, i, got, want)
			}
		}
	}
}

func chunked(chunks ...string) string {
	var body strings.Builder
	for _, chunk := range chunks {
		fmt.Fprintf(&body, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return body.String()
}

const putChunked = "PUT /kv/a HTTP/1.1\r\nHost: kv\r\nTransfer-Encoding: chunked\r\n\r\n"

func TestChunkedUploads(t *testing.T) {
	c := newServer(t).dial(t)
	half := strings.Repeat("x", maxValueBytes/2)
	for _, chunks := range [][]string{{"a"}, {"one ", "two ", "\xe4\xb8", "\x96"}, {half, half}} {
		c.send(putChunked + chunked(append(chunks, "")...))
		if resp, answer := c.answer("PUT"); resp.StatusCode != 200 {
			t.Fatalf("%s: %s", resp.Status, answer)
		}
		c.want("GET", "/kv/a", "", 200, strings.Join(chunks, ""))
	}

	c.send(putChunked + chunked(""))
	if resp, answer := c.answer("PUT"); resp.StatusCode != 400 || answer != "value cannot be empty" {
		t.Errorf("an empty value: %s: %s", resp.Status, answer)
	}
	c.want("GET", "/health", "", 200, "")
}

func TestValueTooLarge(t *testing.T) {
	s := newServer(t)
	most := strings.Repeat("x", maxValueBytes)
	for name, upload := range map[string]string{
		"by a byte, of known length": request("PUT", "/kv/a", most+"x"),
		"by a byte, chunked":         putChunked + chunked(most, "x", ""),
		"as declared, and not sent":  "PUT /kv/a HTTP/1.1\r\nHost: kv\r\nContent-Length: 9223372036854775807\r\n\r\n",
		"as declared, and not asked for": "PUT /kv/a HTTP/1.1\r\nHost: kv\r\nExpect: 100-continue\r\n" +
			"Content-Length: 9223372036854775807\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial(t)
			go io.WriteString(c, upload) // the server need not read it all
			if resp, answer := c.answer("PUT"); resp.StatusCode != 413 || answer != "value too large" {
				t.Errorf("%s: %s", resp.Status, answer)
			}
			s.dial(t).want("GET", "/kv/a", "", 404, "key not found")
		})
	}
	s.dial(t).want("PUT", "/kv/a", most, 200, "")
	s.dial(t).want("GET", "/kv/a", "", 200, most)
}

func TestExpectContinue(t *testing.T) {
	s := newServer(t)
	put := func(key string) string {
		return "PUT /kv/" + key + " HTTP/1.1\r\nHost: kv\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	}

	c := s.dial(t)
	c.send(put("a"))
	if resp, _ := c.answer("PUT"); resp.StatusCode != http.StatusContinue {
		t.Fatalf("the client is not asked to go on, but told %s", resp.Status)
	}
	c.send("value")
	if resp, answer := c.answer("PUT"); resp.StatusCode != 200 {
		t.Errorf("%s: %s", resp.Status, answer)
	}
	c.want("GET", "/kv/a", "", 200, "value")

	// The value of a bad key is not asked for.
	c.send(put("%20"))
	if resp, answer := c.answer("PUT"); resp.StatusCode != 400 || answer != "key contains invalid characters" {
		t.Errorf("%s: %s", resp.Status, answer)
	}
}

// An upload that ends before its declared end stores nothing, wherever it ends.
func TestTornUploads(t *testing.T) {
	s := newServer(t)
	whole := map[string]string{
		"of known length": request("PUT", "/kv/a", strings.Repeat("x", 9000)),
		"chunked":         putChunked + chunked(strings.Repeat("x", 5000), strings.Repeat("x", 4000), ""),
	}
	for name, upload := range whole {
		t.Run(name, func(t *testing.T) {
			for cut := len(upload) - 1; cut > 0; cut = cut*9/10 - 1 {
				c := s.dial(t)
				c.send(upload[:cut])
				c.Conn.(*net.TCPConn).CloseWrite()
				answer, _ := io.ReadAll(c.answers)
				if !regexp.MustCompile(`^(HTTP/1.1 400 .*)?$`).MatchString(strings.SplitN(string(answer), "\r\n", 2)[0]) {
					t.Errorf("cut after %d bytes, it is answered %q", cut, answer)
				}
				s.dial(t).want("GET", "/kv/a", "", 404, "key not found")
			}
		})
	}
}

func TestStoreFull(t *testing.T) {
	c := newServer(t).dial(t)
	value := strings.Repeat("x", maxValueBytes/2)
	keys := 0
	for ; ; keys++ {
		resp, answer := c.do("PUT", fmt.Sprintf("/kv/%d", keys), value)
		if resp.StatusCode == http.StatusOK {
			continue
		}
		if resp.StatusCode != http.StatusInsufficientStorage || answer != "store is full" {
			t.Fatalf("%s: %s", resp.Status, answer)
		}
		break
	}
	if want := maxStoreBytes/len(value) - 1; keys != want {
		t.Errorf("a store of %d bytes holds %d values of %d", maxStoreBytes, keys, len(value))
	}

	c.want("GET", fmt.Sprintf("/kv/%d", keys), "", 404, "key not found")
	c.want("GET", "/kv/0", "", 200, value)
	c.want("PUT", "/kv/0", value[1:]+"y", 200, "")
	c.want("PUT", "/kv/0", value+value[1000:], 200, "") // most of what is left
	c.want("PUT", "/kv/1", value+value, 507, "store is full")
	c.want("GET", "/kv/1", "", 200, value)
	c.want("DELETE", "/kv/0", "", 200, "")
	c.want("PUT", "/kv/1", value+value, 200, "")
	c.want("DELETE", "/clear", "", 200, "")
	c.want("PUT", "/kv/0", value, 200, "")
}

// 100 concurrent writes to 100 keys all succeed; 100 to one key leave one of
// the 100 values, whole.
func TestConcurrentWrites(t *testing.T) {
	s := newServer(t)
	const n = 100
	value := func(i int) string { return strings.Repeat(fmt.Sprintf("value %d ", i), 1000) }

	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c := s.dial(t)
			if resp, answer := c.do("PUT", fmt.Sprintf("/kv/%d", i), value(i)); resp.StatusCode != 200 {
				t.Errorf("%s: %s", resp.Status, answer)
			}
			if resp, answer := c.do("PUT", "/kv/shared", value(i)); resp.StatusCode != 200 {
				t.Errorf("%s: %s", resp.Status, answer)
			}
		})
	}
	wg.Wait()

	c := s.dial(t)
	for i := range n {
		c.want("GET", fmt.Sprintf("/kv/%d", i), "", 200, value(i))
	}
	_, shared := c.do("GET", "/kv/shared", "")
	i, _ := strconv.Atoi(strings.Fields(shared)[1])
	if shared != value(i) {
		t.Errorf("the shared key has %.40q..., which nobody wrote", shared)
	}
}

// What the store keeps of a request is its key and its value. A key that was
// not copied would keep the header that it is a part of.
func TestKeysDoNotKeepTheirRequests(t *testing.T) {
	s := newServer(t)
	c := s.dial(t)
	long := strings.Repeat("x", 50_000)
	before := heap()
	for i := range 500 {
		c.want("PUT", fmt.Sprintf("/kv/%d?%s", i, long), "value", 200, "")
	}
	if taken := heap() - before; taken > 5<<20 {
		t.Errorf("500 short entries take %d bytes", taken)
	}
	runtime.KeepAlive(s)
}

// heap returns the bytes that are in use, garbage left out.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// A stubStore fails with err. A Get that has none to fail with panics.
type stubStore struct {
	httpapi.Store
	err error
}

func (s stubStore) Get(context.Context, string) ([]byte, bool, error) {
	if s.err == nil {
		panic("a bug")
	}
	return nil, false, s.err
}

func (s stubStore) Put(context.Context, string, []byte) error { return s.err }
func (s stubStore) Delete(context.Context, string) error      { return s.err }
func (s stubStore) Clear(context.Context) error               { return s.err }
func (s stubStore) Ping(context.Context) error                { return s.err }

func TestStoreUnavailable(t *testing.T) {
	for _, err := range []error{actor.ErrStopped, actor.ErrInDoubt, context.Canceled, errors.New("other")} {
		addr := serve(t, stubStore{err: err})
		for _, row := range [][2]string{{"PUT", "/kv/a"}, {"GET", "/kv/a"}, {"DELETE", "/kv/a"}, {"DELETE", "/clear"}, {"GET", "/health"}} {
			resp := dial(t, addr).want(row[0], row[1], "value", 503, "store is unavailable")
			if !resp.Close {
				t.Errorf("%s %s: the connection is left open", row[0], row[1])
			}
		}
	}
}

// A panic in a handler is a bug, and costs the connection, but nothing else.
func TestPanicInAHandler(t *testing.T) {
	s := newServer(t)
	s.dial(t).want("PUT", "/kv/a", "value", 200, "")

	buggy := dial(t, serve(t, stubStore{Store: s.store}))
	buggy.send(request("GET", "/kv/a", ""))
	if answer, _ := io.ReadAll(buggy.answers); len(answer) > 0 {
		t.Errorf("the request is answered %q", answer)
	}

	s.dial(t).want("GET", "/kv/a", "", 200, "value")
}

// Whatever bytes come, the server answers in HTTP or not at all, with neither
// redirect nor error of its own, and goes on serving.
func FuzzHTTP(f *testing.F) {
	f.Add("GET", "/kv/a", "", "")
	f.Add("PUT", "/kv/a%2fb?q#f", "Content-Length: 5", "value")
	f.Add("PUT", "/kv/a", "Transfer-Encoding: chunked", "5\r\nvalue\r\n0\r\n\r\n")
	f.Add("PUT", "/kv/a", "Content-Length: 5\r\nExpect: 100-continue", "va")
	f.Add("PUT", "/kv/a", "Content-Length: 5\r\nConnection: close", "\xff\xff\xff\xff\xff")
	f.Add("OPTIONS", "*", "Host: other", "")
	f.Add("CONNECT", "", "Upgrade: h2c", "")
	f.Add("PRI", "*", "", "SM\r\n\r\n")
	f.Add("DELETE", "http://[::1]:80/clear", "Content-Length: 99999999", "")

	store := &keyStore{Store: newServer(f).store}
	addr := serve(f, store)
	f.Fuzz(func(t *testing.T, method, target, header, body string) {
		store.t = t
		c := dial(t, addr)
		io.WriteString(c, method+" "+target+" HTTP/1.1\r\nHost: kv\r\n"+header+"\r\n\r\n"+body)
		c.Conn.(*net.TCPConn).CloseWrite()

		for {
			resp, err := http.ReadResponse(c.answers, &http.Request{Method: method})
			if err != nil {
				break
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				break
			}
			switch {
			case resp.StatusCode == http.StatusNotImplemented || resp.StatusCode == http.StatusHTTPVersionNotSupported:
				// net/http on a Transfer-Encoding, and a version, that it
				// doesn't know, as RFC 9112 and 9110 want it.
			case resp.StatusCode >= 500 || resp.StatusCode >= 300 && resp.StatusCode < 400:
				t.Errorf("%q %q, header %q, body %q: %s", method, target, header, body, resp.Status)
			}
		}
		dial(t, addr).want("GET", "/health", "", 200, "")
	})
}

// A keyStore checks the keys that it is asked for.
type keyStore struct {
	httpapi.Store
	t *testing.T
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9:_.-]+$`)

func (s *keyStore) Put(ctx context.Context, key string, value []byte) error {
	if !keyPattern.MatchString(key) {
		s.t.Errorf("key %q is stored", key)
	}
	return s.Store.Put(ctx, key, value)
}

// FuzzKey finds that what is taken for a key is what the regular expression of
// the alphabet matches.
func FuzzKey(f *testing.F) {
	for _, key := range []string{"", "a", "user:1", ".", "..", "a/b", "a b", "\u00e9", "\xff", "a\n", "%"} {
		f.Add(key)
	}
	handler := httpapi.New(newServer(f).store, maxValueBytes, nil)
	f.Fuzz(func(t *testing.T, key string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("DELETE", "/kv/"+url.PathEscape(key), nil))
		if valid := w.Code == http.StatusOK; valid != keyPattern.MatchString(key) {
			t.Errorf("%q is answered %d", key, w.Code)
		}
	})
}
