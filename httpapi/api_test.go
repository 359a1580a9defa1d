package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/actor"
	"kvactor/httpapi/apitest"
)

// The contract, row by row, on a single connection: after each response, the
// connection serves the next request.
func TestContract(t *testing.T) {
	c := start(t, setup{}).connect(t)
	long := strings.Repeat("long ", testMaxValue/5)
	for _, test := range []struct {
		method, target, body string
		status               int
		want                 string
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

		// The method is checked before the key, and the key before the value.
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

		// Keys are checked after percent-decoding, and nothing normalizes them.
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

		// All other paths are not found, and nothing redirects.
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

		// A body that no handler wants changes nothing, however long it is.
		{"GET", "/kv/.", long, 200, "dot"},
		{"DELETE", "/kv/.", long, 200, ""},
		{"GET", "/kv/.", long, 404, "key not found"},
		{"GET", "/health", long, 200, ""},
		{"GET", "/health", strings.Repeat("x", testMaxValue), 200, ""},
		{"PUT", "/kv/", long, 400, "key cannot be empty"},
		{"PUT", "/none", long, 404, "not found"},
		{"POST", "/clear", long, 405, "method not allowed"},
		{"GET", "/health", "", 200, ""},
	} {
		resp := c.Want(test.method, test.target, test.body, test.status, test.want)
		if typ := resp.Header.Get("Content-Type"); (test.want != "" || test.method == "PUT") && typ != "text/plain; charset=utf-8" {
			t.Errorf("%s %s: Content-Type is %q", test.method, test.target, typ)
		}
		if resp.ContentLength != int64(len(test.want)) {
			t.Errorf("%s %s: Content-Length is %d, want %d", test.method, test.target, resp.ContentLength, len(test.want))
		}
		if resp.Close {
			t.Errorf("%s %s: the response says Connection: close", test.method, test.target)
		}
	}
}

const keyBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.-"

func TestEveryByteOfAKey(t *testing.T) {
	c := start(t, setup{}).connect(t)
	for b := range 256 {
		target := fmt.Sprintf("/kv/a%%%02Xb", b)
		if strings.IndexByte(keyBytes, byte(b)) < 0 {
			c.Want("PUT", target, "value", 400, "key contains invalid characters")
			continue
		}
		c.Want("PUT", target, "value", 200, "")
		c.Want("GET", "/kv/a"+string(rune(b))+"b", "", 200, "value")
	}
	long := strings.Repeat(keyBytes, 120)
	c.Want("PUT", "/kv/"+long, "value", 200, "")
	c.Want("GET", "/kv/"+long, "", 200, "value")
}

// Every other method is 405, with an Allow header that names the methods that work,
// and no others.
func TestMethodNotAllowed(t *testing.T) {
	c := start(t, setup{}).connect(t)
	methods := []string{
		"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "X",
	}
	for path, allowed := range map[string][]string{
		"/kv/a":   {"DELETE", "GET", "PUT"},
		"/kv/":    {"DELETE", "GET", "PUT"},
		"/clear":  {"DELETE"},
		"/health": {"GET"},
	} {
		for _, method := range methods {
			if slices.Contains(allowed, method) {
				if resp, _, err := c.Do(method, path, "value"); err != nil || resp.StatusCode == 405 {
					t.Errorf("%s %s: %v, %v, want it allowed", method, path, resp, err)
				}
				continue
			}
			body := "method not allowed"
			if method == "HEAD" {
				body = ""
			}
			resp := c.Want(method, path, "", 405, body)
			if got := resp.Header.Get("Allow"); got != strings.Join(allowed, ", ") {
				t.Errorf("%s %s: Allow is %q, want %q", method, path, got, allowed)
			}
		}
	}
}

func TestPipelinedRequests(t *testing.T) {
	c := start(t, setup{}).connect(t)
	const n = 200
	var all strings.Builder
	for i := range n {
		all.WriteString(apitest.Request("PUT", "/kv/a", strconv.Itoa(i)))
		all.WriteString(apitest.Request("GET", "/kv/a", ""))
		all.WriteString(apitest.Request("GET", "/kv/", ""))
	}
	go io.WriteString(c, all.String())
	for i := range n {
		for j, want := range []string{"", strconv.Itoa(i), "key cannot be empty"} {
			if _, got, err := c.Response("GET"); got != want || err != nil {
				t.Fatalf("response %d of group %d is %q, %v, want %q", j, i, got, err, want)
			}
		}
	}
}

func TestChunkedUploads(t *testing.T) {
	c := start(t, setup{}).connect(t)
	half := strings.Repeat("x", testMaxValue/2)
	for _, chunks := range [][]string{{"a"}, {"one ", "two ", "\xe4\xb8", "\x96"}, {half}, {half, half}} {
		c.Send(chunkedHeader + chunked(append(chunks, "")...))
		if resp, body, err := c.Response("PUT"); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v %q, %v", resp, body, err)
		}
		c.Want("GET", "/kv/a", "", 200, strings.Join(chunks, ""))
	}
	for body, want := range map[string]string{
		chunked(""):                 "value cannot be empty",
		chunked("\xff", ""):         "value must be valid UTF-8",
		chunked("\xe4", "\xb8", ""): "value must be valid UTF-8",
	} {
		c.Send(chunkedHeader + body)
		if resp, got, err := c.Response("PUT"); err != nil || resp.StatusCode != 400 || got != want || resp.Close {
			t.Errorf("%q: %v %q, %v, want 400 %q and an open connection", body, resp, got, err, want)
		}
	}
	c.Want("GET", "/health", "", 200, "")
}

func TestValueTooLarge(t *testing.T) {
	t.Parallel()
	s := start(t, setup{})
	most := strings.Repeat("x", testMaxValue)
	for name, upload := range map[string]string{
		"known length, a byte too long": apitest.Request("PUT", "/kv/a", most+"x"),
		"known length, not sent":        declared("PUT", "/kv/a", testMaxValue+1) + "\r\n",
		"chunked":                       chunkedHeader + chunked(most, most, ""),
		"chunked, the end not sent":     chunkedHeader + chunked(most, "x"),
	} {
		c := s.connect(t)
		go io.WriteString(c, upload) // the server need not read it all
		resp, body, err := c.Response("PUT")
		if err != nil || resp.StatusCode != 413 || body != "value too large" || !resp.Close {
			t.Errorf("%s: %v %q, %v, want 413 and Connection: close", name, resp, body, err)
		}
		s.connect(t).Want("GET", "/kv/a", "", 404, "key not found")
	}
	c := s.connect(t)
	c.Want("PUT", "/kv/a", most, 200, "")
	c.Want("GET", "/kv/a", "", 200, most)
}

func TestExpectContinue(t *testing.T) {
	c := start(t, setup{}).connect(t)
	for range 3 {
		c.Send(declared("PUT", "/kv/a", 5) + "Expect: 100-continue\r\n\r\n")
		if resp, _, err := c.Response("PUT"); err != nil || resp.StatusCode != http.StatusContinue {
			t.Fatalf("%v, %v, want 100", resp, err)
		}
		c.Send("value")
		if resp, body, err := c.Response("PUT"); err != nil || resp.StatusCode != 200 || resp.Close {
			t.Fatalf("%v %q, %v, want 200 and an open connection", resp, body, err)
		}
		c.Want("GET", "/kv/a", "", 200, "value")
	}
}

// A full store refuses uploads, and serves all other requests.
func TestFullStore(t *testing.T) {
	t.Parallel()
	s := start(t, setup{})
	c := s.connect(t)
	value := strings.Repeat("x", testMaxValue/2)
	keys := 0
	for ; ; keys++ {
		if err := s.store.Fits(context.Background(), strconv.Itoa(keys), int64(len(value))); err != nil {
			break
		}
		c.Want("PUT", fmt.Sprintf("/kv/%d", keys), value, 200, "")
	}
	if want := testBudget/len(value) - 1; keys != want {
		t.Errorf("a store of %d bytes holds %d values of %d bytes, want %d", testBudget, keys, len(value), want)
	}
	small := strings.Repeat("x", actor.SmallValue)
	for n := 0; s.store.Fits(context.Background(), fmt.Sprint("small", n), actor.SmallValue) == nil; n++ {
		c.Want("PUT", fmt.Sprint("/kv/small", n), small, 200, "")
	}

	// A body that was read leaves the connection open.
	for _, upload := range []string{apitest.Request("PUT", "/kv/small", small), chunkedHeader + chunked(small[1:], "")} {
		c.Send(upload)
		if resp, body, err := c.Response("PUT"); err != nil || resp.StatusCode != 507 || body != "store is full" || resp.Close {
			t.Fatalf("%v %q, %v, want 507 and an open connection", resp, body, err)
		}
	}
	// A body that was not read closes it.
	for _, upload := range []string{declared("PUT", "/kv/new", int64(len(value))) + "\r\n", chunkedHeader + chunked(value, value+value)} {
		c := s.connect(t)
		go io.WriteString(c, upload)
		if resp, body, err := c.Response("PUT"); err != nil || resp.StatusCode != 507 || body != "store is full" || !resp.Close {
			t.Errorf("%v %q, %v, want 507 and Connection: close", resp, body, err)
		}
	}

	c.Want("GET", "/kv/new", "", 404, "key not found")
	c.Want("GET", "/kv/0", "", 200, value)
	c.Want("PUT", "/kv/0", value[1:]+"y", 200, "")
	c.Want("GET", "/kv/0", "", 200, value[1:]+"y")
	c.Want("DELETE", "/kv/1", "", 200, "")
	c.Want("PUT", "/kv/new", value[1000:], 200, "")
	c.Want("DELETE", "/clear", "", 200, "")
	c.Want("PUT", "/kv/0", value+value, 200, "")
}

// 100 concurrent writes to 100 keys all succeed. 100 to one key leave one of the
// 100 values, whole.
func TestConcurrentWrites(t *testing.T) {
	s := start(t, setup{budget: 16 << 20})
	const n = 100
	value := func(i int) string { return strings.Repeat(fmt.Sprintf("value %d ", i), 1000) }

	var wg sync.WaitGroup
	for i := range n {
		c := s.connect(t)
		wg.Go(func() {
			for _, key := range []string{strconv.Itoa(i), "shared"} {
				if resp, body, err := c.Do("PUT", "/kv/"+key, value(i)); err != nil || resp.StatusCode != 200 {
					t.Errorf("PUT %s: %v %q, %v", key, resp, body, err)
				}
			}
		})
	}
	wg.Wait()

	c := s.connect(t)
	for i := range n {
		c.Want("GET", fmt.Sprintf("/kv/%d", i), "", 200, value(i))
	}
	_, shared, err := c.Do("GET", "/kv/shared", "")
	var i int
	if fmt.Sscanf(shared, "value %d ", &i); err != nil || shared != value(i) {
		t.Errorf("the shared key has %.40q..., %v, which no client wrote", shared, err)
	}
}

// Guarantee 6, values never change, over HTTP: each response is one value that a
// client has put, whole, while other clients put, delete and clear.
func TestValuesNeverChangeOverHTTP(t *testing.T) {
	sizes := []int{8, 100, actor.SmallValue, actor.SmallValue + 1, 20_000, 100_000}
	// A value repeats its number, which decides its size.
	value := func(n int64) string {
		size := sizes[n%int64(len(sizes))]
		return strings.Repeat(fmt.Sprintf("%08d", n), size/8+1)[:size]
	}

	s := start(t, setup{Config: Config{Quiet: true}, budget: 64 << 20})
	var puts, reads atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		c := s.connect(t)
		wg.Go(func() {
			for range 200 {
				key := strconv.Itoa(rand.IntN(4))
				request := apitest.Request("GET", "/kv/"+key, "")
				switch chance := rand.IntN(100); {
				case chance < 25:
					request = apitest.Request("PUT", "/kv/"+key, value(puts.Add(1)))
				case chance < 50:
					v := value(puts.Add(1))
					request = strings.Replace(chunkedHeader, "/kv/a", "/kv/"+key, 1) + chunked(v[:len(v)/3], v[len(v)/3:], "")
				case chance < 53:
					request = apitest.Request("DELETE", "/kv/"+key, "")
				case chance < 55:
					request = apitest.Request("DELETE", "/clear", "")
				}
				_, err := io.WriteString(c, request)
				if err != nil {
					t.Error(err)
					return
				}
				resp, got, err := c.Response("GET")
				if err != nil || resp.StatusCode != 200 && resp.StatusCode != 404 {
					t.Errorf("%.20q: %v %q, %v", request, resp, got, err)
					return
				}
				if resp.StatusCode == 200 && got != "" {
					reads.Add(1)
					if n, err := strconv.ParseInt(got[:8], 10, 64); err != nil || got != value(n) {
						t.Errorf("GET returns a value of %d bytes, %.20q..., which no client has put", len(got), got)
					}
				}
			}
		})
	}
	wg.Wait()
	if reads.Load() == 0 {
		t.Error("no GET has found a value")
	}
}

// A store keeps the key and the value of a request, and nothing else of it. A key
// that was not copied would keep the header that it is a part of.
func TestKeysDoNotKeepTheirRequests(t *testing.T) {
	s := start(t, setup{})
	c := s.connect(t)
	long := strings.Repeat("x", 8000)
	before := heap()
	for i := range 1000 {
		c.Want("PUT", fmt.Sprintf("/kv/%d?%s", i, long), "value", 200, "")
	}
	if taken := heap() - before; taken > 2<<20 {
		t.Errorf("1,000 short entries take %d bytes", taken)
	}
	runtime.KeepAlive(s)
}

// heap returns how many bytes are in use, without garbage.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestStoreUnavailable(t *testing.T) {
	for _, err := range []error{actor.ErrStopped, context.DeadlineExceeded, errors.New("other")} {
		c := start(t, setup{before: func(string, string) error { return err }}).connect(t)
		for _, row := range [][3]string{
			{"PUT", "/kv/a", "value"}, {"GET", "/kv/a"}, {"DELETE", "/kv/a"}, {"DELETE", "/clear"}, {"GET", "/health"},
		} {
			c.Want(row[0], row[1], row[2], 503, "store is unavailable")
		}
	}

	s := start(t, setup{})
	s.store.Stop()
	c := s.connect(t)
	c.Want("GET", "/health", "", 503, "store is unavailable")
	c.Want("PUT", "/kv/a", "value", 503, "store is unavailable")
	c.Send(declared("PUT", "/kv/a", 100_000) + "\r\n" + strings.Repeat("x", 100_000))
	if resp, _, err := c.Response("PUT"); err != nil || resp.StatusCode != 503 {
		t.Errorf("a large PUT: %v, %v, want 503", resp, err)
	}
}

// A health check does not wait for a store that has not started.
func TestHealthBeforeTheStoreRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := actor.New(1)
		a := &api{store: store}
		start := time.Now()
		if resp := a.health("", nil); resp.status != 503 || time.Since(start) != healthTimeout {
			t.Errorf("%d after %v, want 503 after %v", resp.status, time.Since(start), healthTimeout)
		}
	})
}

// A panic in a handler is a bug. It ends its connection and no other.
func TestPanicInAHandler(t *testing.T) {
	s := start(t, setup{before: func(op, key string) error {
		if key == "panic" {
			panic("a bug")
		}
		return nil
	}})
	other := s.connect(t)
	other.Want("PUT", "/kv/a", "value", 200, "")
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		c := s.connect(t)
		if resp, _, err := c.Do(method, "/kv/panic", "value"); err != io.EOF {
			t.Errorf("%s: %v, %v, want the end of the connection", method, resp, err)
		}
	}
	other.Want("GET", "/kv/a", "", 200, "value")
}

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9:_.-]+$`)

// Whatever bytes come, the server sends HTTP responses or none, with neither a
// redirect nor an error of its own, stores valid keys only, and goes on serving.
func FuzzHTTP(f *testing.F) {
	f.Add("GET", "/kv/a", "", "")
	f.Add("PUT", "/kv/a%2fb?q#f", "Content-Length: 5", "value")
	f.Add("PUT", "/kv/a", "Transfer-Encoding: chunked", "5\r\nvalue\r\n0\r\n\r\n")
	f.Add("PUT", "/kv/a", "Content-Length: 5\r\nExpect: 100-continue", "va")
	f.Add("PUT", "/kv/a", "Content-Length: 5\r\nConnection: close", "\xff\xff\xff\xff\xff")
	f.Add("PUT", "/kv/a", "Content-Length: 9223372036854775807", "value")
	f.Add("OPTIONS", "*", "Host: other", "")
	f.Add("CONNECT", "", "Upgrade: h2c", "")
	f.Add("PRI", "*", "", "SM\r\n\r\n")
	f.Add("DELETE", "http://[::1]:80/clear", "Content-Length: 99999999", "")

	var stored atomic.Pointer[string] // an invalid key
	s := start(f, setup{budget: 1 << 30, before: func(op, key string) error {
		if op == "Put" && !keyPattern.MatchString(key) {
			stored.Store(&key)
		}
		return nil
	}})
	f.Fuzz(func(t *testing.T, method, target, header, body string) {
		c := s.connect(t)
		io.WriteString(c, method+" "+target+" HTTP/1.1\r\nHost: kv\r\n"+header+"\r\n\r\n"+body)
		c.Conn.(*net.TCPConn).CloseWrite()
		for {
			resp, _, err := c.Response(method)
			if err != nil {
				break
			}
			switch {
			case resp.StatusCode == http.StatusNotImplemented || resp.StatusCode == http.StatusHTTPVersionNotSupported:
				// The response of net/http to a Transfer-Encoding or a version
				// that it does not know.
			case resp.StatusCode >= 500 || resp.StatusCode >= 300 && resp.StatusCode < 400:
				t.Errorf("%q %q, header %q, body %q: %s", method, target, header, body, resp.Status)
			}
		}
		if key := stored.Swap(nil); key != nil {
			t.Errorf("%q %q, header %q, body %q: key %q is stored", method, target, header, body, *key)
		}
		s.connect(t).Want("GET", "/health", "", 200, "")
	})
}

// FuzzKey compares the keys that the API accepts with a regular expression.
func FuzzKey(f *testing.F) {
	for _, key := range []string{"", "a", "user:1", ".", "..", "a/b", "a b", "\u00e9", "\xff", "a\n", "%"} {
		f.Add(key)
	}
	s := start(f, setup{Config: Config{Quiet: true}})
	f.Fuzz(func(t *testing.T, key string) {
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, httptest.NewRequest("DELETE", "/kv/"+url.PathEscape(key), nil))
		if valid := w.Code == http.StatusOK; valid != keyPattern.MatchString(key) {
			t.Errorf("DELETE of %q: %d", key, w.Code)
		}
	})
}
