package httpapi

import (
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// A PUT knows one condition, If-None-Match: *. Any other If-Match or If-None-Match of a PUT
// or a DELETE is 400. Other conditions are ignored, and so are those of other requests.
// TestOrderOfChecks shows what is checked before and after a condition.
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
			if c.WantOpen(status); status != 200 {
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

// A hundred clients write at once. Each writes a key of its own and one that all share, which
// then has one of the values, whole. Exactly one of them creates a key. The store takes a second
// for each request here. If a create were two requests to it, a check and a Put, all clients
// would check before any of them puts.
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
