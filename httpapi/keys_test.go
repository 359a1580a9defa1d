package httpapi

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"unsafe"
	"weak"
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
