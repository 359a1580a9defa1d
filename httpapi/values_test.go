package httpapi

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// The bytes of a value come back as they went in.
func TestValuesComeBack(t *testing.T) {
	c := start(t, setup{Config: Config{MaxInflightBytes: 2 * testMax}}).connect(t)
	values := []string{
		" \t\r\n", "\x00", "0", "\ufeffbom", "%PDF-1.4", "\u00e9\u4e16\U0001f600&?\"\u2028", "\x1b[2J",
		"<html><script>", "{}", "0\r\n\r\n", "GET /kv/a HTTP/1.1\r\n\r\n",
	}
	for _, size := range []int{2048, 4096, unit, responsePart, 2 * responsePart, 3 * responsePart} {
		for _, n := range []int{size - 1, size, size + 1} {
			values = append(values, strings.Repeat("0123456789", n/10+1)[:n])
		}
	}
	for _, value := range values {
		c.Want("PUT", "/kv/a", value, 200, "")
		c.Want("GET", "/kv/a", "", 200, value)
		first := len(value) / 3
		c.Send(apitest.ChunkedRequest("PUT", "/kv/b", append(strings.SplitAfter(value[:first%100], ""), value[first%100:])...))
		c.WantResponse("PUT", 200, "")
		c.Want("GET", "/kv/b", "", 200, value)
	}
}

// Values are UTF-8, and a value has at least a byte.
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
		half := len(value) / 2
		for _, request := range []string{apitest.Request("PUT", "/kv/a", value), apitest.ChunkedRequest("PUT", "/kv/a", value[:half], value[half:])} {
			c.Send(request)
			c.WantResponse("PUT", 400, want)
			s.want(t, "a", "old")
		}
	}
	c.Send(apitest.ChunkedRequest("PUT", "/kv/a", "\xe4", "\xb8", "\x96")) // a rune in three chunks
	c.WantOpen(200)
	s.want(t, "a", "\u4e16")
}

// The largest value is stored. One more byte is refused, whether its length is known or
// not, and so is the largest length that can be declared, at once.
func TestValueTooLarge(t *testing.T) {
	for _, max := range []int64{1, unit, unit + 1, testMax / 2} {
		with := setup{Config: Config{MaxValueBytes: max, MaxInflightBytes: testMax}}
		onEachRequest(t, fmt.Sprintf("limit %d", max), with, func(t *testing.T, s *testServer, c apitest.Client) {
			most := testLarge[:max]
			for _, put := range []string{apitest.Request("PUT", "/kv/a", most), apitest.ChunkedRequest("PUT", "/kv/a", most)} {
				send(c, put)
				c.WantOpen(200)
				s.want(t, "a", most)
			}
			for _, put := range []string{apitest.Request("PUT", "/kv/b", most+"x"), apitest.ChunkedRequest("PUT", "/kv/b", most, "x")} {
				send(c, put)
				c.WantResponse("PUT", 413, "value too large")
				s.want(t, "b", "")
				c = s.connect(t)
			}
		})
	}
	for _, n := range []int64{math.MaxInt64, math.MaxInt64 - unit, testMax + 1} { // more than all units
		with := setup{Config: Config{MaxValueBytes: math.MaxInt64, MaxInflightBytes: testMax}}
		onEachRequest(t, length(n), with, func(t *testing.T, s *testServer, c apitest.Client) {
			start := time.Now()
			c.Send(apitest.Header("PUT", "/kv/a", length(n)))
			c.WantLast(413)
			wantTime(t, start, 0)
		})
	}
}

// An upload that ends before its declared end stores nothing, wherever it ends.
func TestTornUploads(t *testing.T) {
	t.Parallel()
	half := strings.Repeat("x", 50_000)
	for name, upload := range map[string]string{
		"small":          apitest.Request("PUT", "/kv/a", "0123456789"),
		"large":          apitest.Request("PUT", "/kv/a", half+half),
		"small, chunked": apitest.ChunkedRequest("PUT", "/kv/a", "01234", "56789"),
		"large, chunked": apitest.ChunkedRequest("PUT", "/kv/a", half, half),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, setup{}, func(t *testing.T, s *testServer) {
				header := strings.Index(upload, "\r\n\r\n") + 4
				for cut := len(upload) - 1; cut >= header; cut = cut*19/20 - 1 {
					c := s.connect(t)
					sendLast(c, upload[:cut])
					c.WantResponse("PUT", 400, "value is incomplete")
					c.WantEnd()
					s.want(t, "a", "")
				}
			})
		})
	}
}

// 100 concurrent writes to 100 keys all succeed. 100 to one key leave one of the 100
// values, whole, and so does each GET at that time.
func TestConcurrentWrites(t *testing.T) {
	s := start(t, setup{Config: Config{Quiet: true, MaxInflightBytes: testBudget}})
	const n = 100
	value := func(i int) string { return strings.Repeat(fmt.Sprintf("value %d ", i), 100*(i+1)) }
	isWhole := func(got string) bool {
		var i int
		fmt.Sscanf(got, "value %d ", &i)
		return got == value(i)
	}
	var wg sync.WaitGroup
	for i := range n {
		c := s.connect(t)
		wg.Go(func() {
			for _, request := range []string{
				apitest.Request("PUT", "/kv/"+strconv.Itoa(i), value(i)),
				apitest.Request("PUT", "/kv/shared", value(i)),
				apitest.Request("GET", "/kv/shared", ""),
			} {
				io.WriteString(c, request)
				if resp, got, err := c.Response("GET"); err != nil || resp.StatusCode != 200 || got != "" && !isWhole(got) {
					t.Errorf("%.20q: %v %.40q, %v", request, resp, got, err)
				}
			}
		})
	}
	wg.Wait()
	for i := range n {
		s.want(t, strconv.Itoa(i), value(i))
	}
}
