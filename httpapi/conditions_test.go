package httpapi

import (
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// A PUT knows one condition, If-None-Match: *. Any other If-Match or If-None-Match of a PUT
// or a DELETE is refused before its body is looked at. All other conditions are ignored.
func TestConditions(t *testing.T) {
	for _, row := range []struct {
		fields         string
		putNew, putOld int // status of a PUT of a key that does not exist, and of one that does
		delete         int
	}{
		{"", 200, 200, 200},
		{"If-None-Match: *", 200, 412, 400},
		{"if-none-match:*  ", 200, 412, 400},
		{"If-None-Match: *|If-None-Match: *", 400, 400, 400},
		{"If-None-Match: *|If-Match: *", 400, 400, 400},
		{`If-None-Match: "tag"`, 400, 400, 400},
		{`If-None-Match: "tag", *`, 400, 400, 400},
		{"If-None-Match:", 400, 400, 400},
		{"If-Match: *", 400, 400, 400},
		{`If-Match: "tag"`, 400, 400, 400},
		{"If-Match:", 400, 400, 400},
		{"If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT", 200, 200, 200},
	} {
		onEachRequest(t, row.fields, setup{}, func(t *testing.T, s *testServer, c apitest.Client) {
			fields := strings.FieldsFunc(row.fields, func(r rune) bool { return r == '|' })
			for _, test := range []struct {
				request, before, after string // what is stored before, and after if the status is 200
				status                 int
			}{
				{apitest.Request("PUT", "/kv/a", "new", fields...), "", "new", row.putNew},
				{apitest.Request("PUT", "/kv/a", "new", fields...), "old", "new", row.putOld},
				{apitest.Request("DELETE", "/kv/a", "", fields...), "old", "", row.delete},
				{apitest.Request("GET", "/kv/a", "", append(fields, "Range: bytes=0-1")...), "old", "old", 200},
				{apitest.Request("DELETE", "/clear", "", fields...), "old", "", 200},
			} {
				if s.store.Clear(t.Context()); test.before != "" {
					s.put(t, "a", test.before)
				}
				send(c, test.request)
				c.WantOpen(test.status)
				if test.status == 200 {
					s.want(t, "a", test.after)
				} else {
					s.want(t, "a", test.before)
				}
			}
		})
	}
}

// Of a hundred clients that create a key at once, exactly one succeeds, and its value is
// stored. The store takes a long time for each request here. If a create were two requests
// to it, a check and a Put, all clients would check before any of them puts.
func TestHundredClientsCreateAKey(t *testing.T) {
	inBubble(t, setup{}, func(t *testing.T, s *testServer) {
		s.fake.before = func(string) { time.Sleep(time.Second) }
		created := make(chan string, 100)
		var wg sync.WaitGroup
		for n := range cap(created) {
			c, value := s.connect(t), strings.Repeat("x", 1+n)
			wg.Go(func() {
				io.WriteString(c, apitest.Request("PUT", "/kv/a", value, "If-None-Match: *"))
				switch resp, body, err := c.Response("PUT"); {
				case err != nil || resp.StatusCode != 200 && resp.StatusCode != 412:
					t.Errorf("%v %q, %v", resp, body, err)
				case resp.StatusCode == 200:
					created <- value
				}
			})
		}
		wg.Wait()
		if len(created) != 1 {
			t.Fatalf("%d clients have created the key, want 1", len(created))
		}
		s.want(t, "a", <-created)
	})
}
