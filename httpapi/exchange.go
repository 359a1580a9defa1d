package httpapi

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// A body or a response of more than maxSmall bytes is large. Each of its parts has a time of
// its own, so a slow client that goes on is not cut off. A smaller one has one time as a whole,
// so no client makes it last longer by sending a byte now and then.
const (
	maxSmall     = 64 << 10
	bodyPart     = 64 << 10  // has bodyTimeout
	responsePart = 256 << 10 // has partTimeout; a client that receives 8 kB/s needs about half of it

	bodyTimeout     = 10 * time.Second // to send a small request, or a part of a large body
	responseTimeout = 20 * time.Second // after bodyTimeout, to receive a small response
	partTimeout     = 60 * time.Second // to receive a part of a large response
)

// maxRest is how many bytes of a body that no handler wants are read before the response, so
// that the connection can serve another request.
const maxRest = 64 << 10

// An exchange is a request and its response.
type exchange struct {
	w        http.ResponseWriter
	r        *http.Request
	control  *http.ResponseController
	listener *limitListener // of the connection
	left     int64          // bytes of the body that are still to come, or -1 if their number is unknown
	claim    *claim         // units for the response, or nil
}

func newExchange(w http.ResponseWriter, r *http.Request, l *limitListener) *exchange {
	return &exchange{w: w, r: r, control: http.NewResponseController(w), listener: l, left: r.ContentLength}
}

// Read reads the body of the request. If the client stalls, the error wraps
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

// readRest reads what is left of the body if it is known to be short. A client that waits for
// 100 Continue is not asked for a body that nobody wants.
func (x *exchange) readRest() {
	if 0 < x.left && x.left <= maxRest && x.r.Header.Get("Expect") == "" {
		io.Copy(io.Discard, x)
	}
}

// isEarly reports whether a response that is sent now may come before the end of the body.
func (x *exchange) isEarly() bool { return x.left != 0 }

// extendDeadlines gives the client time for the next part of a large body. It moves
// the deadline of the response, too, which an upload may outlast.
func (x *exchange) extendDeadlines() {
	now := time.Now()
	x.control.SetReadDeadline(now.Add(bodyTimeout))
	x.control.SetWriteDeadline(now.Add(bodyTimeout + responseTimeout))
}

// respond sends resp.
func (x *exchange) respond(resp response) {
	x.readRest()
	if x.isLast() {
		x.w.Header().Set("Connection", "close") // net/http closes the connection afterwards
	}
	x.send(resp)
	if x.isEarly() {
		x.end()
	}
}

// isLast reports whether a response that is sent now must be the last one of its connection.
// If the client asks for that, or the server is stopping, net/http sees to it.
func (x *exchange) isLast() bool {
	return x.isEarly() || // the rest of the body could be taken for a request
		!x.r.ProtoAtLeast(1, 1) || // so could it here: net/http ignores Transfer-Encoding in HTTP/1.0
		x.listener.isFull() // other connections may wait for the place
}

// send sends resp.
func (x *exchange) send(resp response) {
	header := x.w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(resp.body)))
	if resp.retryAfter != "" {
		header.Set("Retry-After", resp.retryAfter)
	}
	if x.isEarly() {
		x.control.EnableFullDuplex() // otherwise net/http may read the body first
	}
	x.w.WriteHeader(resp.status)
	for part := range slices.Chunk(resp.body, responsePart) {
		if len(resp.body) > maxSmall {
			x.control.SetWriteDeadline(time.Now().Add(partTimeout))
		}
		if _, err := x.w.Write(part); err != nil {
			return // and the connection is closed
		}
	}
}

// release gives back the units that x holds for its response.
func (x *exchange) release() {
	if x.claim != nil {
		x.claim.release()
	}
}

// end ends the connection after an early response. It takes the connection over, because
// net/http would wait for the body.
func (x *exchange) end() {
	x.control.Flush()
	if c, _, err := x.control.Hijack(); err == nil {
		go c.(*conn).end(earlyLinger)
	}
}
