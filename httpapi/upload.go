package httpapi

import (
	"errors"
	"io"
	"net/http"

	"kvactor/actor"
)

// A body is the body of a request.
type body struct {
	r     *http.Request
	ended bool // everything has been read
}

func newBody(r *http.Request) *body {
	return &body{r: r, ended: r.ContentLength == 0}
}

// Read implements io.Reader. If the client stalls, it fails with
// os.ErrDeadlineExceeded.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Body.Read(p)
	if err == io.EOF {
		b.ended = true
	}
	return n, err
}

// discard reads what is left of the body, up to max bytes, and reports whether
// this was all of it. It does not read a body that the client sends only on
// demand.
func (b *body) discard(max int64) bool {
	if b.ended {
		return true
	}
	if b.r.ContentLength > max || b.r.Header.Get("Expect") != "" {
		return false
	}
	io.CopyN(io.Discard, b, max)
	return b.ended
}

var errTooLarge = errors.New("httpapi: value too large")

// An upload is a value on its way into the store, and the space that the store
// has reserved for it.
type upload struct {
	store    Store
	maxBytes int64
	reserved int64
}

// close gives back the space that is still reserved.
func (u *upload) close() {
	if u.reserved > 0 {
		u.store.Unreserve(u.reserved)
	}
}

// put stores value in the space that is reserved for it.
func (u *upload) put(key string, value []byte) error {
	err := u.store.Put(background, key, value, u.reserved)
	if err == nil {
		u.reserved = 0
	}
	return err
}

// readAll reads a value for key from b. The slice that it returns has no capacity
// to spare. The errors are errTooLarge, those of the store, and those of b.
//
// Memory follows what has arrived, and not what the client has declared. A full
// buffer is replaced by one of twice the size, and space is reserved for both.
func (u *upload) readAll(key string, b *body) ([]byte, error) {
	length := b.r.ContentLength // or -1
	if length > u.maxBytes {
		return nil, errTooLarge
	}
	if length > actor.SmallValue {
		if err := u.store.Fits(background, key, length); err != nil {
			return nil, err
		}
	}

	capacity := int64(actor.SmallValue)
	if 0 <= length && length < capacity {
		capacity = length
	}
	value := make([]byte, 0, capacity)
	for {
		n, err := b.Read(value[len(value):cap(value)])
		value = value[:len(value)+n]
		switch {
		case int64(len(value)) > u.maxBytes:
			return nil, errTooLarge
		case err == io.EOF:
			return u.resize(value, int64(len(value)))
		case err != nil:
			return nil, err
		}
		if len(value) < cap(value) {
			continue
		}
		capacity = min(2*capacity, u.maxBytes+1) // one more byte shows that it is too large
		if length >= 0 && capacity > length/2 {
			capacity = length // rather than copy the value once more on the way
		}
		value, err = u.resize(value, capacity)
		if err != nil {
			return nil, err
		}
	}
}

// resize returns value in a slice of the given capacity.
func (u *upload) resize(value []byte, capacity int64) ([]byte, error) {
	old := int64(cap(value))
	if capacity == old {
		return value, nil
	}
	if capacity > actor.SmallValue {
		if err := u.store.Reserve(background, capacity); err != nil {
			return nil, err
		}
		u.reserved += capacity
	}
	resized := append(make([]byte, 0, capacity), value...)
	if old > actor.SmallValue {
		u.store.Unreserve(old)
		u.reserved -= old
	}
	return resized, nil
}
