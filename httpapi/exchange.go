package httpapi

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// A body or a response of more than maxSmall bytes is large. It has its time for each part,
// so a slow client that goes on is not cut off. The times of all others are absolute, so that
// no client makes a request last longer by sending a byte now and then.
const (
	maxSmall     = 64 << 10
	bodyPart     = 64 << 10  // has bodyTimeout
	responsePart = 256 << 10 // has partTimeout; a client that receives 8 kB/s needs about half of it

	bodyTimeout     = 10 * time.Second // to send a small request, or a part of a large body
	responseTimeout = 20 * time.Second // after that, to receive a small response
	partTimeout     = 60 * time.Second // to receive a part of a large response
)

// maxRest is how many bytes of a body that no handler wants are read before the response, so
// that the connection can serve another request.
const maxRest = 64 << 10

// What a client sends after the last response of its connection is discarded for a while.
const (
	earlyLinger = 30 * time.Second // if its body had not ended
	lastLinger  = 5 * time.Second  // otherwise
)

// An exchange is a request and its response.
type exchange struct {
	w        http.ResponseWriter
	r        *http.Request
	listener *limitListener // of the connection
	left     int64          // bytes of the body that are still to come, or -1 if their number is unknown
	claim    *claim         // units for the response, or nil
}

func newExchange(w http.ResponseWriter, r *http.Request, l *limitListener) *exchange {
	return &exchange{w: w, r: r, listener: l, left: r.ContentLength}
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

// readRest reads what is left of the body if it is short. A client that waits for
// 100 Continue is not asked for a body that nobody wants.
func (x *exchange) readRest() {
	asks := x.left == x.r.ContentLength && x.r.Header.Get("Expect") != ""
	if 0 < x.left && x.left <= maxRest && !asks {
		io.Copy(io.Discard, x)
	}
}

// isEarly reports whether a response that is sent now comes before the end of the body.
func (x *exchange) isEarly() bool { return x.left != 0 }

// extendDeadlines gives the client time for the next part of a large body. It moves
// the deadline of the response, too, because an upload may take longer than that.
func (x *exchange) extendDeadlines() {
	now := time.Now()
	control := http.NewResponseController(x.w)
	control.SetReadDeadline(now.Add(bodyTimeout))
	control.SetWriteDeadline(now.Add(bodyTimeout + responseTimeout))
}

// respond sends resp, gives the units back that it needed, and ends the connection if resp
// is its last response.
func (x *exchange) respond(resp response) {
	x.readRest()
	// A connection whose body did not end is never used again, because the rest of the body
	// could be taken for a request. Nor is one of HTTP/1.0: net/http ignores the
	// Transfer-Encoding of such a request.
	last := x.isEarly() || x.r.Close || !x.r.ProtoAtLeast(1, 1) || x.listener.isFull() || x.listener.isClosed()
	if last {
		x.w.Header().Set("Connection", "close")
	}
	err := x.send(resp)
	x.release()
	if last || x.listener.isClosed() { // net/http would close the connection by itself
		x.end(err)
	}
}

// send sends resp.
func (x *exchange) send(resp response) error {
	header := x.w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(resp.body)))
	if resp.retryAfter != "" {
		header.Set("Retry-After", resp.retryAfter)
	}
	control := http.NewResponseController(x.w)
	if x.isEarly() {
		control.EnableFullDuplex() // otherwise net/http may read the body first
	}
	x.w.WriteHeader(resp.status)
	for rest := resp.body; len(rest) > 0; {
		part := rest[:min(len(rest), responsePart)]
		rest = rest[len(part):]
		if len(resp.body) > maxSmall {
			control.SetWriteDeadline(time.Now().Add(partTimeout))
		}
		if _, err := x.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// release gives back the units that x holds for its response.
func (x *exchange) release() {
	if x.claim != nil {
		x.claim.release()
		x.claim = nil
	}
}

// end ends the connection after its last response, whose sending returned err.
func (x *exchange) end(err error) {
	control := http.NewResponseController(x.w)
	if err == nil {
		err = control.Flush()
	}
	hijacked, _, hijackErr := control.Hijack()
	if hijackErr != nil {
		return // net/http closes the connection
	}
	c := hijacked.(*conn) // belongs to this goroutine alone from here on
	defer c.end()
	switch {
	case err != nil: // the client is gone
	case x.isEarly():
		c.discard(earlyLinger)
	default:
		c.discard(lastLinger)
	}
}
