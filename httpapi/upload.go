package httpapi

import (
	"io"
	"net/http"
	"time"
)

// patience is how long a client may let an upload or an answer stand still
// before it is cut off.
const patience = 10 * time.Second

// An upload is the body of a request.
type upload struct {
	body   io.Reader
	conn   *http.ResponseController
	length int64 // as declared, or -1
	limit  int64
	asked  bool // for its first bytes; the client may have waited for that
	ended  bool
}

// openUpload returns the upload of r, or nil if r has no body.
//
// It leaves r.Body as it is: net/http looks there for what became of the body,
// to know whether the connection can be used again.
func openUpload(w http.ResponseWriter, r *http.Request, limit int64) *upload {
	if r.ContentLength == 0 {
		return nil
	}
	return &upload{
		body:   http.MaxBytesReader(w, r.Body, limit),
		conn:   http.NewResponseController(w),
		length: r.ContentLength,
		limit:  limit,
		asked:  r.Header.Get("Expect") == "",
	}
}

// Read implements io.Reader. It fails with *http.MaxBytesError past the limit,
// and with os.ErrDeadlineExceeded if nothing comes for as long as patience.
func (u *upload) Read(p []byte) (int, error) {
	u.asked = true
	u.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := u.body.Read(p)
	if err == io.EOF {
		u.ended = true
		u.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// readAll returns what is uploaded, in a slice that has no room to spare.
//
// The memory it takes follows what has come, not what was declared: each slice
// is filled before the next, sixteen times as long, is made. The last has the
// declared length, and the others together a fifteenth of it.
func (u *upload) readAll() ([]byte, error) {
	switch {
	case u == nil:
		return nil, nil
	case u.length > u.limit:
		return nil, &http.MaxBytesError{Limit: u.limit}
	case u.length < 0:
		return io.ReadAll(u)
	}

	size := u.length
	for size > 4<<10 {
		size = (size + 15) / 16
	}
	var filled []byte
	for {
		next := make([]byte, min(size, u.length))
		copy(next, filled)
		if _, err := io.ReadFull(u, next[len(filled):]); err != nil {
			return nil, err
		}
		if int64(len(next)) == u.length {
			return next, nil
		}
		filled, size = next, 16*size
	}
}

// discard reads what is left of the upload, so that the next request on the
// connection can be read. It doesn't ask for an upload that the client would
// not send otherwise; net/http ends the connection of such a client.
func (u *upload) discard() {
	if u != nil && u.asked && !u.ended {
		io.Copy(io.Discard, u) // net/http sees the error, and ends the connection
	}
}
