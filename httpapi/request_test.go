package httpapi

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"

	"kvactor/httpapi/apitest"
)

const keyBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.-"

// Whether a byte is valid does not depend on its place in the key.
func TestEveryByteOfAKey(t *testing.T) {
	c := start(t, setup{Config: Config{Quiet: true}}).connect(t)
	for b := range 256 {
		for _, format := range []string{"%s", "%sb", "a%s"} {
			target := "/kv/" + fmt.Sprintf(format, fmt.Sprintf("%%%02X", b))
			if strings.IndexByte(keyBytes, byte(b)) < 0 {
				c.Want("PUT", target, "value", 400, "key contains invalid characters")
				continue
			}
			c.Want("PUT", target, "value", 200, "")
			c.Want("GET", "/kv/"+fmt.Sprintf(format, string(rune(b))), "", 200, "value")
		}
	}
}

// Keys and paths are checked after percent-decoding, and nothing normalizes them. Their case
// counts. The query is ignored.
func TestKeysAreDecodedAndNotNormalized(t *testing.T) {
	const invalid = "key contains invalid characters"
	c := start(t, setup{}).connect(t)
	c.Want("PUT", "/kv/user%3A1", "Ada", 200, "")
	c.Want("PUT", "/kv/..", "dots", 200, "")
	for _, row := range []struct {
		target string
		status int
		want   string
	}{
		{"/kv/user:1", 200, "Ada"},
		{"/%6b%76/%75ser:1", 200, "Ada"},
		{"/kv%2Fuser:1", 200, "Ada"},
		{"/kv/user:1?a=b&c", 200, "Ada"},
		{"http://other/kv/user:1", 200, "Ada"},
		{"/kv/User:1", 404, "key not found"},
		{"/kv/user%253A1", 400, invalid},
		{"/kv/.", 404, "key not found"},
		{"/kv/%2e%2E", 200, "dots"},
		{"/kv/?a=b", 400, "key cannot be empty"},
		{"/kv/a%2Fb", 400, invalid},
		{"/kv/a/", 400, invalid},
		{"/kv//a", 400, invalid},
		{"/kv/../kv/a", 400, invalid},
		{"/kv/caf%C3%A9", 400, invalid},
		{"/kv/caf\u00e9", 400, invalid},
	} {
		c.Want("GET", row.target, "", row.status, row.want)
	}
}

// A store keeps the key and the value of a request, and nothing else of it. A key that was
// not copied would keep the request line that it is a part of.
func TestKeyDoesNotKeepItsRequest(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		var line weak.Pointer[byte]
		handler := s.http.Handler
		s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			line = weak.Make(unsafe.StringData(r.RequestURI))
			handler.ServeHTTP(w, r)
		})
		c := s.connect(t)
		c.Want("PUT", "/kv/a?"+strings.Repeat("x", 1000), "value", 200, "")
		c.Close()
		synctest.Wait()
		for range 3 { // what the router keeps in a sync.Pool lives for two collections
			runtime.GC()
		}
		if line.Value() != nil {
			t.Error("the request has ended, and something still refers to its request line")
		}
		s.want(t, "a", "value")
	})
}

// A PUT knows one condition, If-None-Match: *. With any other If-Match or If-None-Match it is
// 400, and so is a DELETE with any. Other conditions are ignored, and so are those of other
// requests, and ranges. TestOrderOfChecks shows what is checked before and after a condition.
func TestConditions(t *testing.T) {
	s := start(t, setup{})
	c := s.connect(t)
	for _, row := range []struct {
		fields         string
		putNew, putOld int // status of a PUT of a key that does not exist, and of one that does
		delete         int
	}{
		{"If-None-Match: *", 200, 412, 400},
		{"if-none-match:*  ", 200, 412, 400},
		{"If-None-Match: *|If-None-Match: *", 400, 400, 400},
		{"If-None-Match: *|If-Match: *", 400, 400, 400},
		{`If-None-Match: "tag"`, 400, 400, 400},
		{`If-None-Match: "tag", *`, 400, 400, 400},
		{"If-None-Match:", 400, 400, 400},
		{"If-Match: *", 400, 400, 400},
		{`If-Match: "tag"`, 400, 400, 400},
		{"If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT", 200, 200, 200},
	} {
		fields := strings.Split(row.fields, "|")
		// want sends a request while before is stored. Then after must be stored if status
		// is 200, and before otherwise.
		want := func(method, target, body string, status int, before, after string) {
			t.Helper()
			if s.store.Clear(t.Context()); before != "" {
				s.put(t, "a", before)
			}
			c.Send(apitest.Request(method, target, body, fields...))
			c.WantOpen(status)
			if status != 200 {
				after = before
			}
			s.want(t, "a", after)
		}
		want("PUT", "/kv/a", "new", row.putNew, "", "new")
		want("PUT", "/kv/a", "new", row.putOld, "old", "new")
		want("DELETE", "/kv/a", "", row.delete, "old", "")
		want("GET", "/kv/a", "", 200, "old", "old")
		want("DELETE", "/clear", "", 200, "old", "")
	}
	s.put(t, "a", "whole")
	c.Send(apitest.Header("GET", "/kv/a", "Range: bytes=0-1"))
	c.WantResponse("GET", 200, "whole")
}

// Of a hundred clients that create the same key at once, exactly one succeeds. Each of them also
// writes a key of its own, and one that all share, which then has one of the values, whole. Each
// call of the store waits for a second here. If a create were two calls, a check and a Put, all
// clients would check before any of them puts.
func TestHundredClientsAtOnce(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		s.fake.before = func() { time.Sleep(time.Second) }
		value := func(i int) string { return strings.Repeat(fmt.Sprintf("value %d ", i), 1+i) }
		var statuses [100][3]int // of the responses to each client
		var wg sync.WaitGroup
		for i := range statuses {
			c := s.connect(t)
			wg.Go(func() {
				for n, request := range []string{
					apitest.Request("PUT", "/kv/"+strconv.Itoa(i), value(i)),
					apitest.Request("PUT", "/kv/shared", value(i)),
					apitest.Request("PUT", "/kv/created", value(i), "If-None-Match: *"),
				} {
					io.WriteString(c, request)
					if resp, _, err := c.Response("PUT"); err == nil {
						statuses[i][n] = resp.StatusCode
					}
				}
			})
		}
		wg.Wait()
		clients := make(map[[3]int]int) // by their statuses
		for i, got := range statuses {
			clients[got]++
			s.want(t, strconv.Itoa(i), value(i))
			if got[2] == 200 {
				s.want(t, "created", value(i))
			}
		}
		if want := map[[3]int]int{{200, 200, 200}: 1, {200, 200, 412}: 99}; !maps.Equal(clients, want) {
			t.Errorf("clients by their statuses: %v, want %v", clients, want)
		}
		shared, _, _ := s.store.Get(t.Context(), "shared")
		var writer int
		if fmt.Sscanf(string(shared), "value %d ", &writer); string(shared) != value(writer) {
			t.Errorf("the shared key has %.40q (%d bytes), which nobody has put", shared, len(shared))
		}
	})
}
