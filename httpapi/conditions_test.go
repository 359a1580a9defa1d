package httpapi

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"kvactor/httpapi/apitest"
)

// The table of conditions: the status of a PUT and of a DELETE of a key that exists, and
// of one that does not. No entity tag matches, because the server has none.
func TestConditions(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		fields            string
		putNew, putOld    int
		deleteNew, delete int
	}{
		{"", 200, 200, 200, 200},

		{"If-None-Match: *", 200, 412, 200, 412},
		{"if-none-match:*  ", 200, 412, 200, 412},
		{"If-Match: *", 412, 200, 412, 200},
		{"if-match:  *", 412, 200, 412, 200},

		{`If-Match: "tag"`, 412, 412, 412, 412},
		{`If-Match: W/"tag"`, 412, 412, 412, 412},
		{`If-Match: "*"`, 412, 412, 412, 412},
		{`If-Match: "tag", "tag"`, 412, 412, 412, 412},
		{"If-Match: *, *", 412, 412, 412, 412},
		{"If-Match: **", 412, 412, 412, 412},
		{"If-Match:", 412, 412, 412, 412},
		{"If-Match: *|If-Match: *", 412, 412, 412, 412},
		{`If-Match: *|If-Match: "tag"`, 412, 412, 412, 412},
		{`If-Match: "tag"|If-Match: *`, 412, 412, 412, 412},

		{`If-None-Match: "tag"`, 200, 200, 200, 200},
		{`If-None-Match: "*"`, 200, 200, 200, 200},
		{`If-None-Match: "tag", *`, 200, 200, 200, 200},
		{"If-None-Match:", 200, 200, 200, 200},
		{"If-None-Match: *|If-None-Match: *", 200, 200, 200, 200},

		{"If-Match: *|If-None-Match: *", 412, 412, 412, 412},
		{`If-Match: "tag"|If-None-Match: *`, 412, 412, 412, 412},
		{`If-Match: *|If-None-Match: "tag"`, 412, 200, 412, 200},
		{`If-Match: "tag"|If-None-Match: "tag"`, 412, 412, 412, 412},

		{"If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT", 200, 200, 200, 200},
		{"If-Modified-Since: Sat, 29 Oct 2094 19:43:31 GMT", 200, 200, 200, 200},
	} {
		onEachRequest(t, row.fields, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			fields := strings.FieldsFunc(row.fields, func(r rune) bool { return r == '|' })
			for _, test := range []struct {
				request, before string
				status          int
				after           string // if the status is 200
			}{
				{apitest.Request("PUT", "/kv/a", "new", fields...), "", row.putNew, "new"},
				{apitest.Header("PUT", "/kv/a", append(fields, apitest.Chunked)...) + apitest.Chunks("new", ""), "", row.putNew, "new"},
				{apitest.Request("PUT", "/kv/a", "new", fields...), "old", row.putOld, "new"},
				{apitest.Request("PUT", "/kv/a", testLarge, fields...), "old", row.putOld, testLarge},
				{apitest.Request("DELETE", "/kv/a", "", fields...), "", row.deleteNew, ""},
				{apitest.Request("DELETE", "/kv/a", "", fields...), "old", row.delete, ""},
			} {
				if s.store.Clear(t.Context()); test.before != "" {
					s.put(t, "a", test.before)
				}
				want, after := "", test.after
				if test.status != 200 {
					want, after = "precondition failed", test.before
				}
				send(c, test.request)
				if resp := c.WantResponse("PUT", test.status, want); resp.Close {
					t.Error("the response says Connection: close")
				}
				s.want(t, "a", after)
			}

			// Conditions of a GET and of a clear are ignored.
			s.put(t, "a", "value")
			send(c, apitest.Request("GET", "/kv/a", "", append(fields, "Range: bytes=0-1")...))
			c.WantResponse("GET", 200, "value")
			send(c, apitest.Request("DELETE", "/clear", "", fields...))
			c.WantResponse("DELETE", 200, "")
			s.want(t, "a", "")
		})
	}
}

// Of a hundred clients that create a key at once, exactly one succeeds, and its value is
// stored.
func TestHundredClientsCreateAKey(t *testing.T) {
	t.Parallel()
	s := start(t, setup{Config: Config{Quiet: true}})
	var clients []apitest.Client
	for range 100 {
		clients = append(clients, s.connect(t))
	}
	for range 5 {
		var created, refused atomic.Int64
		var winner atomic.Value
		var wg sync.WaitGroup
		for n, c := range clients {
			value := strings.Repeat("x", 1+n)
			wg.Go(func() {
				c.Write([]byte(apitest.Request("PUT", "/kv/a", value, "If-None-Match: *")))
				switch resp, _, err := c.Response("PUT"); {
				case err != nil:
					t.Error(err)
				case resp.StatusCode == 200:
					created.Add(1)
					winner.Store(value)
				case resp.StatusCode == 412:
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if created.Load() != 1 || refused.Load() != 99 {
			t.Fatalf("%d clients got 200 and %d got 412, want 1 and 99", created.Load(), refused.Load())
		}
		s.want(t, "a", winner.Load().(string))
		s.store.Clear(t.Context())
	}
}
