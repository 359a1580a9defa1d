package httpapi

import (
	"math"
	"strings"
	"testing"

	"kvactor/httpapi/apitest"
)

// The bytes of a value come back as they went in, whatever its length and its chunks.
func TestValuesComeBack(t *testing.T) {
	c := start(t, setup{Config: Config{MaxInflightBytes: 2 * testMax}}).connect(t)
	values := []string{" \t\r\n", "\x00", "\ufeffbom", "\u00e9\u4e16\U0001f600&?\"", "0\r\n\r\n", "GET /kv/a HTTP/1.1\r\n\r\n"}
	for _, size := range []int{unit, responsePart, 3 * responsePart} {
		for _, n := range []int{size - 1, size, size + 1} {
			values = append(values, strings.Repeat("0123456789", n/10+1)[:n])
		}
	}
	for _, value := range values {
		third := len(value) / 3
		for _, put := range []string{apitest.Request("PUT", "/kv/a", value), apitest.ChunkedRequest("PUT", "/kv/a", value[:third], value[third:])} {
			c.Send(put)
			c.WantOpen(200)
			c.Want("GET", "/kv/a", "", 200, value)
			c.Want("DELETE", "/kv/a", "", 200, "")
		}
	}
}

// Values are UTF-8, and a value has at least a byte. Anything else changes nothing.
func TestInvalidValues(t *testing.T) {
	const notUTF8 = "value must be valid UTF-8"
	s := start(t, setup{})
	s.put(t, "a", "old")
	c := s.connect(t)
	for value, want := range map[string]string{
		"":                               "value cannot be empty",
		"\xff":                           notUTF8,
		"cut \xe4\xb8":                   notUTF8,
		"surrogate \xed\xa0\x80":         notUTF8,
		testLarge[:testMax/2-1] + "\xff": notUTF8,
	} {
		for _, request := range []string{apitest.Request("PUT", "/kv/a", value), apitest.ChunkedRequest("PUT", "/kv/a", value)} {
			c.Send(request)
			c.WantResponse("PUT", 400, want)
			s.want(t, "a", "old")
		}
	}
	c.Send(apitest.ChunkedRequest("PUT", "/kv/a", "\xe4", "\xb8", "\x96")) // a rune in three chunks
	c.WantOpen(200)
	s.want(t, "a", "\u4e16")
}

// The largest value is stored. One more byte is refused, whether the length is declared or
// not, and so is the largest length that can be declared. A value is also too large if it
// needs more units than there are, and one in chunks needs twice as many.
func TestValueTooLarge(t *testing.T) {
	for _, row := range []struct{ max, most, mostChunked int64 }{
		{1, 1, 1},
		{unit, unit, unit},
		{unit + 1, unit + 1, unit + 1},
		{math.MaxInt64, testMax, testMax / 2},
	} {
		s := start(t, setup{Config: Config{MaxValueBytes: row.max, MaxInflightBytes: testMax}})
		want := func(request string, status int) {
			t.Helper()
			c := s.connect(t)
			send(c, request)
			if resp, body, err := c.Response("PUT"); err != nil || resp.StatusCode != status || status == 413 && body != "value too large" {
				t.Errorf("%+v, %.100q: %v %q, %v, want %d", row, request, resp, body, err, status)
			}
		}
		want(apitest.Request("PUT", "/kv/a", testLarge[:row.most]), 200)
		want(apitest.ChunkedRequest("PUT", "/kv/b", testLarge[:row.mostChunked]), 200)
		want(apitest.Request("PUT", "/kv/a", testLarge[:row.most]+"x"), 413)
		want(apitest.Header("PUT", "/kv/a", length(math.MaxInt64)), 413)
		want(apitest.ChunkedRequest("PUT", "/kv/b", testLarge[:row.mostChunked], "x"), 413)
		s.want(t, "a", testLarge[:row.most])
		s.want(t, "b", testLarge[:row.mostChunked])
	}
}

// An upload that ends before its declared end stores nothing, wherever it ends.
func TestTornUploads(t *testing.T) {
	half := strings.Repeat("x", 50_000)
	for _, upload := range []string{
		apitest.Request("PUT", "/kv/a", "0123456789"),
		apitest.Request("PUT", "/kv/a", half+half),
		apitest.ChunkedRequest("PUT", "/kv/a", "01234", "56789"),
		apitest.ChunkedRequest("PUT", "/kv/a", half, half),
	} {
		inBubble(t, setup{}, func(t *testing.T, s *testServer) {
			header := strings.Index(upload, "\r\n\r\n") + 4
			for cut := len(upload) - 1; cut >= header; cut = cut*9/10 - 1 {
				c := s.connect(t)
				sendLast(c, upload[:cut])
				c.WantResponse("PUT", 400, "value is incomplete")
				c.WantEnd()
				s.want(t, "a", "")
			}
		})
	}
}
