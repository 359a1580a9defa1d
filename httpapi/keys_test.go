package httpapi

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

const keyBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.-"

// Whether a byte is valid does not depend on its place in the key.
func TestEveryByteOfAKey(t *testing.T) {
	c := start(t, setup{Config: Config{Quiet: true}}).connect(t)
	for b := range 256 {
		for _, format := range []string{"%s", "%sb", "a%sb", "a%s"} {
			target := "/kv/" + fmt.Sprintf(format, fmt.Sprintf("%%%02X", b))
			if strings.IndexByte(keyBytes, byte(b)) < 0 {
				c.Want("PUT", target, "value", 400, "key contains invalid characters")
				continue
			}
			c.Want("PUT", target, "value", 200, "")
			c.Want("GET", "/kv/"+fmt.Sprintf(format, string(rune(b))), "", 200, "value")
		}
	}
	long := strings.Repeat(keyBytes, 120)
	c.Want("PUT", "/kv/"+long, "value", 200, "")
	c.Want("GET", "/kv/"+long, "", 200, "value")
}

// Keys and paths are checked after percent-decoding, and nothing normalizes them. Case
// matters, and the query does not.
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
		{"/kv%2F", 400, "key cannot be empty"},
		{"/kv/a%2Fb", 400, invalid},
		{"/kv/a/b", 400, invalid},
		{"/kv/a/", 400, invalid},
		{"/kv//a", 400, invalid},
		{"/kv/../kv/a", 400, invalid},
		{"/kv/a%20b", 400, invalid},
		{"/kv/caf%C3%A9", 400, invalid},
		{"/kv/caf\u00e9", 400, invalid},
	} {
		c.Want("GET", row.target, "", row.status, row.want)
	}
}

// A store keeps the key and the value of a request, and nothing else of it. A key that
// was not copied would keep the header that it is a part of.
func TestKeysDoNotKeepTheirRequests(t *testing.T) {
	inUse := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	s := start(t, setup{Config: Config{Quiet: true}})
	c := s.connect(t)
	query := strings.Repeat("x", 8000)
	before := inUse()
	for i := range 1000 {
		c.Want("PUT", fmt.Sprintf("/kv/%d?%s", i, query), "value", 200, "")
	}
	if taken := inUse() - before; taken > 2<<20 {
		t.Errorf("1,000 short entries take %d bytes", taken)
	}
	s.want(t, "0", "value") // the store is in use until here
}
