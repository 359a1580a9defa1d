package httpapi

import (
	"testing"

	"kvactor/httpapi/apitest"
)

// Whatever bytes come, the server sends HTTP responses or none, with neither a redirect
// nor an error of its own, and goes on serving.
func FuzzHTTP(f *testing.F) {
	f.Add("GET", "/kv/a", "", "")
	f.Add("PUT", "/kv/a%2fb?q#f", "Content-Length: 5", "value")
	f.Add("PUT", "/kv/a", apitest.Chunked, apitest.Chunks("value", ""))
	f.Add("PUT", "/kv/a", "Content-Length: 5\r\nExpect: 100-continue", "va")
	f.Add("PUT", "/kv/a", "Content-Length: 5\r\nConnection: close", "\xff\xff\xff\xff\xff")
	f.Add("PUT", "/kv/a", "Content-Length: 9223372036854775807", "value")
	f.Add("OPTIONS", "*", "Host: other", "")
	f.Add("PRI", "*", "", "SM\r\n\r\n")
	f.Add("DELETE", "http://[::1]:80/clear", "Content-Length: 99999999", "")

	s := start(f, setup{budget: 1 << 30})
	f.Fuzz(func(t *testing.T, method, target, header, body string) {
		c := s.connect(t)
		sendLast(c, method+" "+target+" HTTP/1.1\r\nHost: kv\r\n"+header+"\r\n\r\n"+body)
		for {
			resp, _, err := c.Response(method)
			if err != nil {
				break
			}
			// net/http responds with 501 and 505 to a Transfer-Encoding and a version that it does not know.
			if code := resp.StatusCode; code/100 == 3 || code/100 == 5 && code != 501 && code != 505 {
				t.Errorf("%q %q, header %q, body %q: %s", method, target, header, body, resp.Status)
			}
		}
		s.connect(t).Want("GET", "/health", "", 200, "")
	})
}
