package httpapi

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kvactor/actor"
	"kvactor/httpapi/apitest"
)

// The API, request by request: as the first request of a connection, and all of them on
// a single connection, which each response keeps open.
func TestContract(t *testing.T) {
	for _, single := range []bool{true, false} {
		name := "a connection each"
		if single {
			name = "a single connection"
		}
		t.Run(name, func(t *testing.T) {
			s := start(t, setup{})
			c := s.connect(t)
			for _, row := range contract {
				if !single {
					c = s.connect(t)
				}
				resp := c.Want(row.method, row.target, row.body, row.status, row.want)
				if got := resp.Header.Get("Cache-Control"); got != "no-store" {
					t.Errorf("%s %s: Cache-Control is %q", row.method, row.target, got)
				}
				got := resp.Header.Get("Content-Type")
				if (row.want != "" || row.method == "PUT") && got != "text/plain; charset=utf-8" {
					t.Errorf("%s %s: Content-Type is %q", row.method, row.target, got)
				}
				if resp.ContentLength != int64(len(row.want)) || len(resp.TransferEncoding) > 0 {
					t.Errorf("%s %s: Content-Length is %d, want %d", row.method, row.target, resp.ContentLength, len(row.want))
				}
				if resp.Close {
					t.Errorf("%s %s: the response says Connection: close", row.method, row.target)
				}
			}
		})
	}
}

var contract = []struct {
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

	{"PUT", "/kv/a", "1", 200, ""},
	{"PUT", "/kv/b", "2", 200, ""},
	{"DELETE", "/clear", "", 200, ""},
	{"GET", "/kv/a", "", 404, "key not found"},
	{"GET", "/kv/b", "", 404, "key not found"},
	{"DELETE", "/clear", "", 200, ""},

	{"PUT", "/kv/", "value", 400, "key cannot be empty"},
	{"GET", "/kv/", "", 400, "key cannot be empty"},
	{"DELETE", "/kv/", "", 400, "key cannot be empty"},
	{"PUT", "/kv/a", "", 400, "value cannot be empty"},
	{"GET", "/kv/a", "", 404, "key not found"},
	{"POST", "/kv/a", "value", 405, "method not allowed"},
	{"PUT", "/clear", "value", 405, "method not allowed"},
	{"DELETE", "/health", "", 405, "method not allowed"},

	// All other paths are not found, and nothing redirects.
	{"GET", "/", "", 404, "not found"},
	{"GET", "/kv", "", 404, "not found"},
	{"PUT", "/kv", "value", 404, "not found"},
	{"GET", "//kv/a", "", 404, "not found"},
	{"PUT", "//kv/a", "value", 404, "not found"},
	{"GET", "/KV/a", "", 404, "not found"},
	{"GET", "/x/../kv/a", "", 404, "not found"},
	{"DELETE", "/clear/", "", 404, "not found"},
	{"GET", "/clear/a", "", 404, "not found"},
	{"DELETE", "/Clear", "", 404, "not found"},
	{"GET", "/health/", "", 404, "not found"},
	{"GET", "/healthz", "", 404, "not found"},
	{"GET", "http://other", "", 404, "not found"},
	{"OPTIONS", "*", "", 404, "not found"},
	{"GET", "*", "", 404, "not found"},
	{"CONNECT", "kv:80", "", 404, "not found"},
	{"!", "/", "", 404, "not found"},

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
	for path, allowed := range map[string][]string{
		"/kv/a":      {"DELETE", "GET", "PUT"},
		"/kv/":       {"DELETE", "GET", "PUT"},
		"/kv/a%20/b": {"DELETE", "GET", "PUT"},
		"/clear":     {"DELETE"},
		"/health":    {"GET"},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "X"} {
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
			if got := resp.Header["Allow"]; len(got) != 1 || got[0] != strings.Join(allowed, ", ") {
				t.Errorf("%s %s: Allow is %q, want %q", method, path, got, allowed)
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
		condition    = "If-Match: *" // which a, a key that is not stored, does not meet
	)
	large := strings.Repeat("x", 100)
	with := setup{Config: Config{MaxValueBytes: 99}, budget: 1}
	onEachRequest(t, "", with, func(t *testing.T, s *testServer, c apitest.Client) {
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
			{"PUT", "/kv/a", "", []string{condition}, 400, "value cannot be empty"},
			{"PUT", "/kv/a", "\xff", []string{condition}, 400, "value must be valid UTF-8"},
			{"PUT", "/kv/a", large, []string{condition}, 413, "value too large"},
			{"PUT", "/kv/a", "value", []string{condition}, 412, "precondition failed"},
			{"PUT", "/kv/a", "value", []string{"If-None-Match: *"}, 507, "store is full"},
			{"PUT", "/kv/a", "value", nil, 507, "store is full"},
			{"GET", "/kv/a", "", []string{contentRange, condition}, 404, "key not found"},
			{"DELETE", "/kv/", "", []string{condition}, 400, "key cannot be empty"},
			{"DELETE", "/clear", "", []string{contentRange, condition}, 200, ""},
		} {
			send(c, apitest.Request(row.method, row.target, row.body, row.fields...))
			if resp := c.WantResponse(row.method, row.status, row.want); resp.Close {
				t.Errorf("%s: the response says Connection: close", row.want)
			}
		}
	})
}

// A PUT of a part of a value is refused and leaves the value alone.
func TestContentRange(t *testing.T) {
	onEachRequest(t, "", setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
		s.put(t, "a", "hello world")
		for _, field := range []string{"Content-Range: bytes 6-10/11", "Content-Range: bytes 0-4/5", "Content-Range:", "content-range: x"} {
			send(c, apitest.Request("PUT", "/kv/a", "world", field))
			c.WantResponse("PUT", 400, "content-range is not supported")
			s.want(t, "a", "hello world")
		}
	})
}

// A full store refuses values, and serves all other requests.
func TestFullStore(t *testing.T) {
	value := strings.Repeat("x", 1000)
	onEachRequest(t, "", setup{budget: 5000}, func(t *testing.T, s *testServer, c apitest.Client) {
		for n := range 4 {
			c.Want("PUT", "/kv/"+strconv.Itoa(n), value, 200, "")
		}
		if resp := c.Want("PUT", "/kv/new", value, 507, "store is full"); resp.Close {
			t.Error("the body has ended, and the response says Connection: close")
		}
		s.want(t, "new", "")
		c.Want("GET", "/kv/0", "", 200, value)
		c.Want("PUT", "/kv/0", value+value, 507, "store is full")
		c.Want("GET", "/kv/0", "", 200, value)
		c.Want("PUT", "/kv/0", value[1:]+"y", 200, "")
		c.Want("DELETE", "/kv/1", "", 200, "")
		c.Want("PUT", "/kv/new", value[1:], 200, "")
		c.Want("DELETE", "/clear", "", 200, "")
		c.Want("PUT", "/kv/0", value+value, 200, "")
	})
}

func TestStoreUnavailable(t *testing.T) {
	wantUnavailable := func(t *testing.T, c apitest.Client) {
		t.Helper()
		for _, request := range []string{
			apitest.Request("PUT", "/kv/a", "value"),
			apitest.Request("PUT", "/kv/a", "value", "If-None-Match: *"),
			apitest.Request("PUT", "/kv/a", testLarge),
			apitest.Request("GET", "/kv/a", ""),
			apitest.Request("DELETE", "/kv/a", ""),
			apitest.Request("DELETE", "/kv/a", "", "If-None-Match: *"),
			apitest.Request("DELETE", "/kv/a", "", "If-Match: *"),
			apitest.Request("DELETE", "/clear", ""),
			apitest.Request("GET", "/health", ""),
		} {
			send(c, request)
			resp := c.WantResponse("GET", 503, "store is unavailable")
			if resp.Header["Retry-After"] != nil {
				t.Error("the response says Retry-After, but the store does not come back")
			}
		}
	}
	for _, err := range []error{actor.ErrStopped, context.DeadlineExceeded, errors.New("other")} {
		inBubble(t, setup{before: func(string) error { return err }}, func(t *testing.T, s *testServer) {
			wantUnavailable(t, s.connect(t))
		})
	}
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		s.store.Stop()
		wantUnavailable(t, s.connect(t))
	})
}

// A health check asks the store, and gives up after a second.
func TestHealthOfAStoreThatDoesNotReply(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		s.fake.Store = silent{}
		start := time.Now()
		s.connect(t).Want("GET", "/health", "", 503, "store is unavailable")
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("the response comes after %v, want 1s", waited)
		}
	})
}

// A silent store does not reply.
type silent struct{ Store }

func (silent) Get(ctx context.Context, _ string) ([]byte, bool, error) {
	<-ctx.Done()
	return nil, false, ctx.Err()
}

// A panic in a handler is a bug. It ends its connection and no other.
func TestPanicInAHandler(t *testing.T) {
	s := start(t, setup{before: panicOnKey})
	other := s.connect(t)
	other.Want("PUT", "/kv/a", "value", 200, "")
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		c := s.connect(t)
		c.Send(apitest.Request(method, "/kv/panic", "value"))
		c.WantEnd()
	}
	other.Want("GET", "/kv/a", "", 200, "value")
}

func panicOnKey(key string) error {
	if key == "panic" {
		panic("a bug")
	}
	return nil
}

// Requests that arrive together have their responses in order.
func TestPipelinedRequests(t *testing.T) {
	const n = 200
	c := start(t, setup{}).connect(t)
	var all strings.Builder
	for i := range n {
		all.WriteString(apitest.Request("PUT", "/kv/a", strconv.Itoa(i)))
		all.WriteString(apitest.Request("GET", "/kv/a", ""))
		all.WriteString(apitest.Request("GET", "/kv/", ""))
	}
	go io.WriteString(c, all.String())
	for i := range n {
		c.WantResponse("PUT", 200, "")
		c.WantResponse("GET", 200, strconv.Itoa(i))
		c.WantResponse("GET", 400, "key cannot be empty")
	}
}
