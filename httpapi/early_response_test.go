package httpapi

import (
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// A refusal is a request whose response does not depend on the rest of its body.
type refusal struct {
	name, method, target string
	fields               []string
	status               int
}

var refusals = []refusal{
	{"bad key", "PUT", "/kv/a%20b", nil, 400},
	{"content-range", "PUT", "/kv/a", []string{"Content-Range: bytes 0-4/5"}, 400},
	{"not found", "PUT", "/none", nil, 404},
	{"method", "POST", "/kv/a", nil, 405},
	{"condition", "DELETE", "/kv/a", []string{"If-Match: *"}, 400},
	{"health", "GET", "/health", nil, 200},
	{"delete", "DELETE", "/kv/a", nil, 200},
}

// tooLarge is a refusal if the length is more than the limit.
var tooLarge = refusal{"too large", "PUT", "/kv/a", nil, 413}

func (r refusal) header(fields ...string) string {
	return apitest.Header(r.method, r.target, slices.Concat(r.fields, fields)...)
}

// No response is lost on its way: a client that sends all of a long body before it reads
// sees the response, although the server does not want the body.
func TestClientThatReadsAfterItHasSent(t *testing.T) {
	t.Parallel()
	const parts = 32
	s := start(t, setup{budget: 1})
	for _, r := range append(refusals, tooLarge) {
		for field, part := range map[string]string{
			length(parts * unit): testLarge[:unit],
			apitest.Chunked:      apitest.Chunks(testLarge[:unit]),
		} {
			t.Run(r.name+", "+field, func(t *testing.T) {
				t.Parallel()
				c := s.connect(t)
				c.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10) // or the kernel takes it all
				c.Send(r.header(field))
				for range parts {
					c.Send(part)
				}
				if field == apitest.Chunked {
					c.Send(apitest.Chunks(""))
				}
				c.WantLast(r.status)
				c.WantEnd()
				s.want(t, "a", "")
			})
		}
	}
}

// A chunked body that is malformed has no end, and its client may still be sending.
func TestClientOfAMalformedBodySeesTheResponse(t *testing.T) {
	t.Parallel()
	s := start(t, setup{})
	for _, body := range []string{"3\r\nabc\r\nno number\r\n", "11111111111111111\r\n", "3\r\nabcdef"} {
		c := s.connect(t)
		c.Send(apitest.Header("PUT", "/kv/a", apitest.Chunked) + body + strings.Repeat(testLarge, 4)) // before it reads
		c.WantResponse("PUT", 400, "value is incomplete")
	}
}

// If at most 64 KiB of a declared length are still to come, they are read first, and the
// connection stays open. Otherwise the response goes out at once and is the last one.
func TestShortRestIsReadAndLongRestIsNot(t *testing.T) {
	for _, r := range append(refusals, tooLarge) {
		with := setup{Config: Config{MaxValueBytes: 1}}
		onEachRequest(t, r.name, with, func(t *testing.T, s *testServer, c apitest.Client) {
			for _, n := range []int64{unit, 2} {
				send(c, r.header(length(n))+testLarge[:n])
				c.WantOpen(r.status)
			}
			start := time.Now()
			send(c, r.header(length(unit+1))+testLarge[:unit+1])
			c.WantLast(r.status)
			c.WantEnd() // though the server still reads
			wantTime(t, start, 0)
		})
	}
}

// The reader of this body reports the end in a separate call, after the last bytes. So all
// of the body has been read before the exchange sees its end, and no byte is left.
func TestRestOfABodyIsCounted(t *testing.T) {
	x := newExchange(nil, httptest.NewRequest("PUT", "/kv/a", strings.NewReader("value")))
	for _, want := range []int64{2, 0} {
		if _, err := x.Read(make([]byte, 3)); err != nil || x.left != want {
			t.Errorf("%d bytes are left, %v, want %d", x.left, err, want)
		}
	}
}

// A connection whose body did not end is never used again. Else the rest of the body would
// be taken for a request: here a client stalls and then goes on with a request to clear the
// store.
func TestRestOfABodyIsNoRequest(t *testing.T) {
	const clear = "DELETE /clear HTTP/1.1\r\nHost: kv\r\n\r\n"
	known, chunked := tooLarge.header(length(100_000)), tooLarge.header(apitest.Chunked)
	type row struct {
		name, header string
		status       int
	}
	rows := []row{
		{"stalled", tooLarge.header(length(100)), 408},
		{"stalled, chunked", chunked + "64\r\n", 408},
		{"stalled, large", known, 408},
		{"too large", tooLarge.header(length(testMax + 1)), 413},
		{"busy", known, 503},
		{"busy, chunked", chunked + apitest.Chunks(testLarge[:2*unit]) + "64\r\n", 503},
	}
	for _, r := range refusals {
		rows = append(rows, row{r.name, r.header(length(100)), r.status})
	}
	for _, row := range rows {
		onEachRequest(t, row.name, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			s.put(t, "kept", "value")
			if row.status == 503 {
				s.holdIncoming(t)
			}
			go func() {
				io.WriteString(c, row.header+"0123456789")
				time.Sleep(6 * time.Second)
				io.WriteString(c, clear)
				time.Sleep(6 * time.Second)
				io.WriteString(c, clear) // still within the body
			}()
			c.WantLast(row.status)
			c.WantEnd()
			time.Sleep(time.Minute) // while the client goes on
			s.want(t, "kept", "value")
		})
	}
}
