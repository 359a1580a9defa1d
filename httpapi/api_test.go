package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// The API, request by request, on a single connection, which each response keeps open.
func TestAPI(t *testing.T) {
	c := start(t, setup{}).connect(t)
	for _, row := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/health", "", 200, ""},

		{"GET", "/kv/user:1", "", 404, "key not found"},
		{"PUT", "/kv/user:1", "Ada", 200, ""},
		{"GET", "/kv/user:1", "", 200, "Ada"},
		{"PUT", "/kv/user:1", "<html>", 200, ""},
		{"GET", "/kv/user:1", "", 200, "<html>"}, // without a Content-Type, net/http would say text/html
		{"DELETE", "/kv/user:1", "", 200, ""},
		{"GET", "/kv/user:1", "", 404, "key not found"},
		{"DELETE", "/kv/user:1", "", 200, ""},

		{"PUT", "/kv/a", "value", 200, ""},
		{"DELETE", "/clear", "", 200, ""},
		{"GET", "/kv/a", "", 404, "key not found"},

		{"PUT", "/kv/", "value", 400, "key cannot be empty"},
		{"GET", "/kv/", "", 400, "key cannot be empty"},
		{"DELETE", "/kv/", "", 400, "key cannot be empty"},
		{"PUT", "/kv/a", "", 400, "value cannot be empty"},

		// All other paths are not found, and nothing redirects.
		{"GET", "/", "", 404, "not found"},
		{"GET", "/kv", "", 404, "not found"},
		{"GET", "//kv/a", "", 404, "not found"},
		{"GET", "/KV/a", "", 404, "not found"},
		{"DELETE", "/clear/", "", 404, "not found"},
		{"GET", "/health/", "", 404, "not found"},
		{"OPTIONS", "*", "", 404, "not found"},
		{"GET", "*", "", 404, "not found"},
		{"CONNECT", "kv:80", "", 404, "not found"},

		// A body that no handler wants changes nothing.
		{"PUT", "/kv/a", "value", 200, ""},
		{"GET", "/kv/a", "body", 200, "value"},
		{"DELETE", "/kv/a", "body", 200, ""},
		{"GET", "/kv/a", "body", 404, "key not found"},
		{"GET", "/health", "body", 200, ""},
		{"DELETE", "/clear", "body", 200, ""},
	} {
		resp := c.Want(row.method, row.target, row.body, row.status, row.want)
		wantFields(t, resp, row.method, row.want)
		if resp.Close {
			t.Errorf("%s %s: the response says Connection: close", row.method, row.target)
		}
	}
}

// wantFields checks the fields that every response to method with body has.
func wantFields(t *testing.T, resp *http.Response, method, body string) {
	t.Helper()
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s, %d %q: Cache-Control is %q", method, resp.StatusCode, body, got)
	}
	got := resp.Header.Get("Content-Type")
	if (body != "" || method == "PUT") && got != "text/plain; charset=utf-8" {
		t.Errorf("%s, %d %q: Content-Type is %q", method, resp.StatusCode, body, got)
	}
	if resp.ContentLength != int64(len(body)) {
		t.Errorf("%s, %d %q: Content-Length is %d", method, resp.StatusCode, body, resp.ContentLength)
	}
}

// Every other method is 405, with an Allow header that names the methods that work on
// the path, and no others. A 404 has no such header.
func TestMethodNotAllowed(t *testing.T) {
	c := start(t, setup{}).connect(t)
	for path, allowed := range map[string]string{
		"/kv/a":      "DELETE, GET, PUT",
		"/kv/":       "DELETE, GET, PUT",
		"/kv/a%20/b": "DELETE, GET, PUT",
		"/clear":     "DELETE",
		"/health":    "GET",
		"*":          "",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get"} {
			c.Send(apitest.Request(method, path, "value"))
			resp, body, err := c.Response(method)
			if err != nil {
				t.Fatal(err)
			}
			status, allow := resp.StatusCode, resp.Header.Get("Allow")
			if path == "*" || slices.Contains(strings.Split(allowed, ", "), method) {
				if status == 405 || allow != "" {
					t.Errorf("%s %s: %d, Allow is %q", method, path, status, allow)
				}
			} else if status != 405 || allow != allowed || body != "method not allowed" && method != "HEAD" {
				t.Errorf("%s %s: %d %q, Allow is %q; want 405 and %q", method, path, status, body, allow, allowed)
			}
		}
	}
}

// The method is checked first, then the key, Content-Range, any condition but that to create,
// the value, the condition to create, and at last the space in the store. TestTimesAndEnds shows that
// 408 and 503 come before the condition to create.
func TestOrderOfChecks(t *testing.T) {
	const (
		invalid      = "/kv/a%20b"
		contentRange = "Content-Range: bytes 6-10/11"
		condition    = "If-Match: *"
		create       = "If-None-Match: *"
	)
	large := strings.Repeat("x", 100)
	s := start(t, setup{Config: Config{MaxValueBytes: 99}, budget: int64(len("old") + len("value") + 128)})
	s.put(t, "old", "value") // and the store is full
	c := s.connect(t)
	for _, row := range []struct {
		method, target, body string
		fields               []string
		status               int
		want                 string
	}{
		{"POST", "/kv/", "", []string{contentRange, condition}, 405, "method not allowed"},
		{"POST", invalid, "", []string{contentRange, condition}, 405, "method not allowed"},
		{"PUT", "/kv/", "", []string{contentRange, condition}, 400, "key cannot be empty"},
		{"PUT", invalid, large, []string{contentRange, condition}, 400, "key contains invalid characters"},
		{"PUT", "/kv/a", "", []string{contentRange, condition}, 400, "content-range is not supported"},
		{"PUT", "/kv/a", large, []string{"content-range:"}, 400, "content-range is not supported"},
		{"PUT", "/kv/a", large, []string{condition}, 400, "condition is not supported"},
		{"PUT", "/kv/old", "", []string{create}, 400, "value cannot be empty"},
		{"PUT", "/kv/old", large, []string{create}, 413, "value too large"},
		{"PUT", "/kv/old", large[:99], []string{create}, 412, "precondition failed"},
		{"PUT", "/kv/new", "value", []string{create}, 507, "store is full"},
		{"GET", "/kv/a", "", []string{contentRange, condition}, 404, "key not found"},
		{"DELETE", "/kv/", "", []string{condition}, 400, "key cannot be empty"},
		{"DELETE", "/clear", "", []string{contentRange, condition}, 200, ""},
	} {
		c.Send(apitest.Request(row.method, row.target, row.body, row.fields...))
		wantFields(t, c.WantResponse(row.method, row.status, row.want), row.method, row.want)
	}
}

// A full store refuses values, and serves all other requests.
func TestFullStore(t *testing.T) {
	value := strings.Repeat("x", 1000)
	c := start(t, setup{budget: 1200}).connect(t)
	c.Want("PUT", "/kv/a", value, 200, "")
	c.Want("PUT", "/kv/b", "value", 507, "store is full")
	c.Want("GET", "/kv/b", "", 404, "key not found")
	c.Want("GET", "/kv/a", "", 200, value)
	c.Want("DELETE", "/kv/a", "", 200, "")
	c.Want("PUT", "/kv/b", "value", 200, "")
}

// storeRequests has the requests that need the store, one for each method, condition and
// size. In this order, the response to each is 200.
var storeRequests = []string{
	apitest.Request("PUT", "/kv/a", testLarge),
	apitest.Request("GET", "/kv/a", ""),
	apitest.ChunkedRequest("PUT", "/kv/a", "value"),
	apitest.Request("PUT", "/kv/b", "value", "If-None-Match: *"),
	apitest.Request("DELETE", "/kv/a", ""),
	apitest.Request("DELETE", "/clear", ""),
	apitest.Request("GET", "/health", ""),
}

// If the store has stopped, all requests that need it are 503. There is no Retry-After,
// because the store does not come back.
func TestStoreUnavailable(t *testing.T) {
	s := start(t, setup{})
	s.store.Stop()
	c := s.connect(t)
	for _, request := range storeRequests {
		c.Send(request)
		resp := c.WantResponse("GET", 503, "store is unavailable")
		if resp.Header["Retry-After"] != nil {
			t.Errorf("Retry-After is %q", resp.Header["Retry-After"])
		}
	}
	if logged := s.end(t); strings.Contains(logged, "failed") {
		t.Errorf("a stop is logged as a failure:\n%s", logged)
	}
}

// A health check asks the store, which has a second to receive the request.
func TestHealthOfABusyStore(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		c := s.connect(t)
		s.fake.before = func() { time.Sleep(time.Second - 1) }
		c.Want("GET", "/health", "", 200, "")
		s.fake.before = func() { time.Sleep(time.Second + 1) }
		c.Want("GET", "/health", "", 503, "store is unavailable")
	})
}

// Whatever bytes come, the server sends HTTP responses or none, with neither a redirect
// nor an error of its own, and goes on serving.
func FuzzHTTP(f *testing.F) {
	f.Add("GET", "/kv/a", "", "")
	f.Add("PUT", "/kv/a%2fb?q#f", "Content-Length: 5", "value")
	f.Add("PUT", "/kv/a", apitest.Chunked, apitest.Chunks("value", ""))
	f.Add("PUT", "/kv/a", "Content-Length: 5\r\nExpect: 100-continue", "va")
	f.Add("PUT", "/kv/a", "Content-Length: 5\r\nConnection: close", "\xff\xff\xff\xff\xff")
	f.Add("PUT", "/kv/a", "Content-Length: 9223372036854775807", "value")
	f.Add("OPTIONS", "*", "Host: other", "")
	f.Add("PRI", "*", "", "SM\r\n\r\n")
	f.Add("DELETE", "http://[::1]:80/clear", "Content-Length: 99999999", "")

	s := start(f, setup{budget: 1 << 30})
	f.Fuzz(func(t *testing.T, method, target, header, body string) {
		c := s.connect(t)
		sendLast(c, method+" "+target+" HTTP/1.1\r\nHost: kv\r\n"+header+"\r\n\r\n"+body)
		for {
			resp, _, err := c.Response(method)
			if err != nil {
				break
			}
			// net/http responds with 501 and 505 to a Transfer-Encoding and a version that it does not know.
			if code := resp.StatusCode; code/100 == 3 || code/100 == 5 && code != 501 && code != 505 {
				t.Errorf("%q %q, header %q, body %q: %s", method, target, header, body, resp.Status)
			}
		}
		s.connect(t).Want("GET", "/health", "", 200, "")
	})
}
