package httpapi

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// An exchange is a request and its response.
type exchange struct {
	w     http.ResponseWriter
	r     *http.Request
	left  int64 // bytes of the body that are still to come, or -1 if their number is unknown
	last  bool  // the connection ends after the response
	units int64 // held for the response
}

func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	// net/http ignores the Transfer-Encoding of HTTP/1.0, so the rest of a body could be
	// taken for another request.
	last := r.Close || !r.ProtoAtLeast(1, 1)
	return &exchange{w: w, r: r, left: r.ContentLength, last: last}
}

// Read reads the body of the request. If the client stalls, Read fails with
// os.ErrDeadlineExceeded.
func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.r.Body.Read(p)
	switch {
	case err == io.EOF:
		x.left = 0
	case err != nil:
		x.left = -1 // the rest may come late, or never
	case x.left > 0:
		x.left -= int64(n)
	}
	return n, err
}

// extendDeadlines gives the client time for the next part of a large body. It moves
// the deadline of the response, too, because an upload may take longer than that.
func (x *exchange) extendDeadlines() {
	now := time.Now()
	control := http.NewResponseController(x.w)
	control.SetReadDeadline(now.Add(bodyTimeout))
	control.SetWriteDeadline(now.Add(bodyTimeout + responseTimeout))
}

// isEarly reports whether the response goes out before the end of the body. If what is
// left is short, net/http reads it first, unless the connection ends after the response.
func (x *exchange) isEarly() bool {
	return x.left < 0 || x.left > unit || x.left > 0 && x.last
}

// The values of headers are shared by all responses. No goroutine changes them.
var (
	plainText       = []string{"text/plain; charset=utf-8"}
	noStore         = []string{"no-store"}
	connectionClose = []string{"close"}
)

// send sends resp to the client.
func (x *exchange) send(resp response) {
	header := x.w.Header()
	header["Cache-Control"] = noStore
	header["Content-Type"] = plainText
	header["Content-Length"] = []string{strconv.Itoa(len(resp.body))}
	if resp.retryAfter != "" {
		header["Retry-After"] = []string{resp.retryAfter}
	}
	if x.last || x.isEarly() {
		header["Connection"] = connectionClose
	}

	control := http.NewResponseController(x.w)
	if x.isEarly() {
		control.EnableFullDuplex() // otherwise net/http may read the body first
		defer control.Flush()
	}
	x.w.WriteHeader(resp.status)
	for rest := resp.body; len(rest) > 0; {
		part := rest[:min(len(rest), responsePart)]
		rest = rest[len(part):]
		if len(resp.body) > unit {
			control.SetWriteDeadline(time.Now().Add(partTimeout))
		}
		if _, err := x.w.Write(part); err != nil {
			return // the client is gone
		}
	}
}

// discardBody reads what the client still sends after an early response. The kernel
// resets a connection that is closed with unread bytes, and many clients would then
// report an error and not the response. It reads from the connection, because a chunked
// body that is malformed has no end.
func (x *exchange) discardBody() {
	if !x.isEarly() {
		return
	}
	c := x.r.Context().Value(connKey{}).(*conn)
	c.CloseWrite() // the client sees that the response has ended
	buf := make([]byte, 8<<10)
	end := time.Now().Add(lingerTimeout)
	for {
		c.SetReadDeadline(time.Now().Add(min(lingerPause, time.Until(end))))
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// connKey is the key of the connection in the context of a request.
type connKey struct{}
