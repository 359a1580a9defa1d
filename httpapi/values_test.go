package httpapi

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// chunkedPut returns a PUT of the value that chunks make, some of which may be empty.
func chunkedPut(target string, chunks ...string) string {
	chunks = slices.DeleteFunc(chunks, func(chunk string) bool { return chunk == "" })
	return apitest.Header("PUT", target, apitest.Chunked) + apitest.Chunks(append(chunks, "")...)
}

// The bytes of a value come back as they went in.
func TestValuesComeBack(t *testing.T) {
	c := start(t, setup{Config: Config{MaxInflightBytes: 2 * testMax, MaxValueBytes: 2 * testMax}}).connect(t)
	values := []string{
		" \t\r\n", "\x00", "0", "\ufeffbom", "%PDF-1.4", "\u00e9\u4e16\U0001f600&?\"\u2028", "\x1b[2J",
		"<html><script>", "{}", "0\r\n\r\n", "GET /kv/a HTTP/1.1\r\n\r\n",
	}
	for _, size := range []int{2048, 4096, unit, responsePart, 2 * responsePart, testMax} {
		for _, n := range []int{size - 1, size, size + 1} {
			values = append(values, strings.Repeat("0123456789", n/10+1)[:n])
		}
	}
	for _, value := range values {
		c.Want("PUT", "/kv/a", value, 200, "")
		c.Want("GET", "/kv/a", "", 200, value)
		if len(value) > testMax {
			continue // chunked, it would need twice its length
		}
		first := len(value) / 3
		c.Send(chunkedPut("/kv/b", append(strings.SplitAfter(value[:first%100], ""), value[first%100:])...))
		c.WantResponse("PUT", 200, "")
		c.Want("GET", "/kv/b", "", 200, value)
	}
}

// Values are UTF-8, and a value has at least a byte.
func TestInvalidValues(t *testing.T) {
	t.Parallel()
	const notUTF8 = "value must be valid UTF-8"
	onEachRequest(t, "", setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
		s.put(t, "a", "old")
		for value, want := range map[string]string{
			"":                               "value cannot be empty",
			"\xff":                           notUTF8,
			"cut \xe4\xb8":                   notUTF8,
			"surrogate \xed\xa0\x80":         notUTF8,
			testLarge[:testMax/2-1] + "\xff": notUTF8,
		} {
			half := len(value) / 2
			for _, request := range []string{
				apitest.Request("PUT", "/kv/a", value),
				chunkedPut("/kv/a", value[:half], value[half:]),
			} {
				send(c, request)
				if resp := c.WantResponse("PUT", 400, want); resp.Close {
					t.Error("the body has ended, and the response says Connection: close")
				}
				s.want(t, "a", "old")
			}
		}
		send(c, chunkedPut("/kv/a", "\xe4", "\xb8", "\x96")) // a rune in three chunks
		c.WantResponse("PUT", 200, "")
		s.want(t, "a", "\u4e16")
	})
}

// The largest value is stored. One more byte is refused, whether its length is known or
// not, and so is the largest length that can be declared, at once.
func TestValueTooLarge(t *testing.T) {
	t.Parallel()
	const maxInt64 = math.MaxInt64
	for _, max := range []int64{1, 100, unit, unit + 1, 100_000, testMax / 2} {
		with := setup{Config: Config{MaxValueBytes: max, MaxInflightBytes: 2 * testMax}}
		most := strings.Repeat("x", int(max))
		for name, row := range map[string]struct {
			sent   string
			status int
		}{
			"the largest, known length":    {apitest.Request("PUT", "/kv/a", most), 200},
			"the largest, chunked":         {chunkedPut("/kv/a", most), 200},
			"a byte more, known length":    {apitest.Request("PUT", "/kv/a", most+"x"), 413},
			"a byte more, chunked":         {chunkedPut("/kv/a", most, "x"), 413},
			"a byte more, not sent":        {apitest.Header("PUT", "/kv/a", length(max+1)), 413},
			"the largest length, not sent": {apitest.Header("PUT", "/kv/a", length(maxInt64)), 413},
		} {
			t.Run(fmt.Sprintf("%s of %d", name, max), func(t *testing.T) {
				inBubble(t, with, func(t *testing.T, s *testServer) {
					c := s.connect(t)
					send(c, row.sent)
					if row.status == 200 {
						c.WantResponse("PUT", 200, "")
						s.want(t, "a", most)
						return
					}
					c.WantResponse("PUT", 413, "value too large")
					s.want(t, "a", "")
				})
			})
		}
	}
	for _, length64 := range []int64{maxInt64, maxInt64 - 1, maxInt64 - unit, testMax + 1} {
		with := setup{Config: Config{MaxValueBytes: maxInt64, MaxInflightBytes: testMax}}
		onEachRequest(t, "", with, func(t *testing.T, s *testServer, c apitest.Client) {
			start := time.Now()
			c.Send(apitest.Header("PUT", "/kv/a", length(length64)))
			resp := c.WantResponse("PUT", 413, "value too large")
			if !resp.Close || time.Since(start) > 0 {
				t.Errorf("length %d: Connection: close is %v, after %v, want it at once", length64, resp.Close, time.Since(start))
			}
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
		"small, chunked": chunkedPut("/kv/a", "01234", "56789"),
		"large, chunked": chunkedPut("/kv/a", half, half),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, setup{}, func(t *testing.T, s *testServer) {
				for cut := len(upload) - 1; cut > 0; cut = cut*19/20 - 1 {
					c := s.connect(t)
					go func() {
						io.WriteString(c, upload[:cut])
						c.CloseWrite()
					}()
					resp, body, err := c.Response("PUT")
					switch {
					case err == io.EOF && !strings.Contains(upload[:cut], "\r\n\r\n"):
					case err != nil || resp.StatusCode != 400 || !resp.Close:
						t.Errorf("cut after %d bytes: %v %q, %v, want 400 and Connection: close", cut, resp, body, err)
					}
					s.want(t, "a", "")
				}
			})
		})
	}
}

// 100 concurrent writes to 100 keys all succeed. 100 to one key leave one of the 100
// values, whole.
func TestConcurrentWrites(t *testing.T) {
	s := start(t, setup{Config: Config{Quiet: true}})
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
	for i := range n {
		s.want(t, strconv.Itoa(i), value(i))
	}
	_, shared, _ := s.connect(t).Do("GET", "/kv/shared", "")
	var i int
	if fmt.Sscanf(shared, "value %d ", &i); shared != value(i) {
		t.Errorf("the shared key has %.40q..., which no client wrote", shared)
	}
}

// Values never change: each response is one value that a client has put, whole, while
// other clients put, with conditions and without, delete and clear.
func TestValuesNeverChange(t *testing.T) {
	t.Parallel()
	sizes := []int{8, 100, 5000, unit, unit + 1, 200_000}
	// A value repeats its number, which decides its size.
	value := func(n int64) string {
		size := sizes[n%int64(len(sizes))]
		return strings.Repeat(fmt.Sprintf("%08d", n), size/8+1)[:size]
	}
	s := start(t, setup{Config: Config{Quiet: true, MaxValueBytes: 8 << 20, MaxInflightBytes: 8 << 20}})
	var puts, reads atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		c := s.connect(t)
		wg.Go(func() {
			for range 150 {
				target := "/kv/" + strconv.Itoa(rand.IntN(4))
				v := value(puts.Add(1))
				request := apitest.Request("GET", target, "")
				switch chance := rand.IntN(100); {
				case chance < 15:
					request = apitest.Request("PUT", target, v)
				case chance < 25:
					request = apitest.Request("PUT", target, v, "If-None-Match: *")
				case chance < 35:
					request = apitest.Request("PUT", target, v, "If-Match: *")
				case chance < 50:
					request = chunkedPut(target, v[:len(v)/3], v[len(v)/3:])
				case chance < 55:
					request = apitest.Request("DELETE", target, "")
				case chance < 57:
					request = apitest.Request("DELETE", "/clear", "")
				}
				io.WriteString(c, request)
				resp, got, err := c.Response("GET")
				if err != nil || resp.StatusCode != 200 && resp.StatusCode != 404 && resp.StatusCode != 412 {
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
