package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// The API, request by request, on a single connection, which each response keeps open.
func TestAPI(t *testing.T) {
	c := start(t, setup{}).connect(t)
	for _, row := range requests {
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

var requests = []struct {
	method, target, body string
	status               int
	want                 string
}{
	{"GET", "/health", "", 200, ""},

	{"GET", "/kv/user:1", "", 404, "key not found"},
	{"PUT", "/kv/user:1", "Ada", 200, ""},
	{"GET", "/kv/user:1", "", 200, "Ada"},
	{"PUT", "/kv/user:1", "Grace", 200, ""},
	{"GET", "/kv/user:1", "", 200, "Grace"},
	{"DELETE", "/kv/user:1", "", 200, ""},
	{"GET", "/kv/user:1", "", 404, "key not found"},
	{"DELETE", "/kv/user:1", "", 200, ""},

	{"PUT", "/kv/a", "<html>", 200, ""},
	{"GET", "/kv/a", "", 200, "<html>"}, // without a Content-Type, net/http would say text/html
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
	{"GET", "/x/../kv/a", "", 404, "not found"},
	{"DELETE", "/clear/", "", 404, "not found"},
	{"GET", "/health/", "", 404, "not found"},
	{"GET", "http://other", "", 404, "not found"},
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
}

// Every other method is 405, with an Allow header that names the methods that work on
// the path, and no others. The response to OPTIONS * has no such header.
func TestMethodNotAllowed(t *testing.T) {
	c := start(t, setup{}).connect(t)
	for path, allowed := range map[string]string{
		"/kv/a":      "DELETE, GET, PUT",
		"/kv/":       "DELETE, GET, PUT",
		"/kv/a%20/b": "DELETE, GET, PUT",
		"/clear":     "DELETE",
		"/health":    "GET",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "X"} {
			resp, body, err := c.Do(method, path, "value")
			if err != nil {
				t.Fatal(err)
			}
			status, allow := resp.StatusCode, resp.Header.Get("Allow")
			refused := status == 405 && allow == allowed && (body == "method not allowed" || method == "HEAD")
			if works := slices.Contains(strings.Split(allowed, ", "), method); works && status == 405 || !works && !refused {
				t.Errorf("%s %s: %d %q, Allow is %q; want 405 unless it is one of %s", method, path, status, body, allow, allowed)
			}
		}
	}
	if resp := c.Want("OPTIONS", "*", "", 404, "not found"); resp.Header["Allow"] != nil {
		t.Errorf("OPTIONS *: Allow is %q", resp.Header["Allow"])
	}
}

// The method is checked first, then the key, Content-Range, the value, the condition, and
// at last the space in the store.
func TestOrderOfChecks(t *testing.T) {
	const (
		invalid      = "/kv/a%20b"
		contentRange = "Content-Range: bytes 6-10/11"
		condition    = "If-Match: *"
		create       = "If-None-Match: *"
	)
	large := strings.Repeat("x", 100)
	c := start(t, setup{Config: Config{MaxValueBytes: 99}, budget: 1}).connect(t)
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
		{"PUT", "/kv/a", large, []string{contentRange, condition}, 400, "content-range is not supported"},
		{"PUT", "/kv/a", "value", []string{"content-range:"}, 400, "content-range is not supported"},
		{"PUT", "/kv/a", large, []string{condition}, 400, "condition is not supported"},
		{"PUT", "/kv/a", "", []string{create}, 400, "value cannot be empty"},
		{"PUT", "/kv/a", large, []string{create}, 413, "value too large"},
		{"PUT", "/kv/a", "value", []string{create}, 507, "store is full"},
		{"PUT", "/kv/a", "value", nil, 507, "store is full"},
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
	s := start(t, setup{budget: 5000})
	c := s.connect(t)
	for n := range 4 {
		c.Want("PUT", "/kv/"+strconv.Itoa(n), value, 200, "")
	}
	c.Want("PUT", "/kv/new", value, 507, "store is full")
	s.want(t, "new", "")
	c.Want("PUT", "/kv/0", value+value, 507, "store is full")
	c.Want("GET", "/kv/0", "", 200, value)
	c.Want("PUT", "/kv/0", value[1:]+"y", 200, "")
	c.Want("DELETE", "/kv/1", "", 200, "")
	c.Want("PUT", "/kv/new", value[1:], 200, "")
	c.Want("DELETE", "/clear", "", 200, "")
	c.Want("PUT", "/kv/0", value+value, 200, "")
	for _, put := range []string{apitest.Request("PUT", "/kv/a", testLarge), apitest.ChunkedRequest("PUT", "/kv/a", testLarge[:testMax/2])} {
		c.Send(put)
		c.WantOpen(507)
	}
}

// storeRequests has the requests that need the store, one for each method, condition and
// size. In this order, the response to each is 200.
var storeRequests = []string{
	apitest.Request("PUT", "/kv/a", testLarge),
	apitest.Request("GET", "/kv/a", ""),
	apitest.Request("PUT", "/kv/a", "value"),
	apitest.Request("PUT", "/kv/b", "value", "If-None-Match: *"),
	apitest.Request("DELETE", "/kv/a", ""),
	apitest.Request("DELETE", "/clear", ""),
	apitest.Request("GET", "/health", ""),
}

// If the store has stopped, all requests that need it are 503. There is no Retry-After,
// because the store does not come back.
func TestStoreUnavailable(t *testing.T) {
	const reason = "store is unavailable"
	s := start(t, setup{})
	s.store.Stop()
	c := s.connect(t)
	for _, request := range storeRequests {
		c.Send(request)
		resp := c.WantResponse("GET", 503, reason)
		wantFields(t, resp, "GET", reason)
		if resp.Header["Retry-After"] != nil {
			t.Errorf("Retry-After is %q", resp.Header["Retry-After"])
		}
	}
}

// An error of the store that has no status of its own is 503, and the log says what it was, on
// one line, also if the server is quiet.
func TestUnknownErrorOfTheStore(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		s := start(t, setup{Config: Config{Quiet: quiet}})
		s.fake.Store = failingStore{s.store}
		s.connect(t).Want("DELETE", "/clear", "", 503, "store is unavailable")
		want := "The store failed: disk on fire\n"
		if !quiet {
			want = "DELETE /clear returning 503\n" + want
		}
		if logged := s.end(t); logged != want {
			t.Errorf("logged %q, want %q", logged, want)
		}
	}
}

type failingStore struct{ Store }

func (failingStore) Clear(context.Context) error { return errors.New("disk on\nfire") }

// A health check asks the store, which has a second to receive the request.
func TestHealthOfABusyStore(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		var busy time.Duration
		s.fake.before = func(string) { time.Sleep(busy) }
		c := s.connect(t)
		busy = time.Second - 1
		c.Want("GET", "/health", "", 200, "")
		busy = time.Second + 1
		c.Want("GET", "/health", "", 503, "store is unavailable")
	})
}
