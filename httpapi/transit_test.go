package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/actor"
	"kvactor/httpapi/apitest"
)

// An upload that fails stores nothing, and the space that it took is free again:
// each test server checks that at its end.
func TestFailedUploads(t *testing.T) {
	half := strings.Repeat("x", 50_000)
	known := declared("PUT", "/kv/a", 100_000) + "\r\n" + half
	parts := chunkedHeader + chunked(half)

	// What a client does when the server has read what it sent.
	disconnect := func(c apitest.Client) { c.Close() }
	closeWrite := func(c apitest.Client) { c.Conn.(pipeConn).CloseWrite() }

	for _, test := range []struct {
		name, sent string
		then       func(apitest.Client)
		full       bool   // the store, to the last byte
		panics     string // a method of the store
		status     int    // of the response, 0 for none
	}{
		{name: "client gone", sent: known, then: disconnect},
		{name: "client gone, chunked", sent: parts, then: disconnect},
		{name: "client gone, one byte missing", sent: known + half[1:], then: disconnect},
		{name: "torn", sent: known, then: closeWrite, status: 400},
		{name: "torn, chunked", sent: parts, then: closeWrite, status: 400},
		{name: "malformed chunk", sent: parts + "no chunk\r\n", status: 400},
		{name: "not UTF-8", sent: known + half[1:] + "\xff", status: 400},
		{name: "not UTF-8, chunked", sent: parts + chunked("\xff", ""), status: 400},
		{name: "no space", sent: known, full: true, status: 507},
		{name: "no space, chunked", sent: parts + chunked(""), full: true, status: 507},
		{name: "no space in transit, chunked", sent: chunkedHeader + chunked(strings.Repeat("x", testMaxValue)), full: true, status: 507},
		{name: "too large, chunked", sent: parts + chunked(strings.Repeat("x", testMaxValue)), status: 413},
		{name: "panic in Put", sent: known + half, panics: "Put"},
		{name: "panic in Put, chunked", sent: parts + chunked(""), panics: "Put"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := func(op, _ string) error {
				if op == test.panics {
					panic("a bug")
				}
				return nil
			}
			inBubble(t, setup{before: before}, func(t *testing.T, s *testServer) {
				if test.full {
					if err := s.store.Put(t.Context(), "big", make([]byte, testBudget-len("big")-slotSize), 0); err != nil {
						t.Fatal(err)
					}
				}
				c := s.connect(t)
				go io.WriteString(c, test.sent) // the server need not read it all
				if test.then != nil {
					synctest.Wait()
					test.then(c)
				}
				resp, body, err := c.Response("PUT")
				if err == nil && resp.StatusCode != test.status || err != nil && test.status != 0 {
					t.Errorf("%v %q, %v, want %d", resp, body, err, test.status)
				}
				c.Close()
				s.wantNotStored(t)
			})
		})
	}
}

// The same over TCP for a connection that the client resets.
func TestResetUpload(t *testing.T) {
	reserved := make(chan struct{}, 1)
	s := start(t, setup{before: func(op, _ string) error {
		if op == "Reserve" {
			select {
			case reserved <- struct{}{}:
			default:
			}
		}
		return nil
	}})
	for _, header := range []string{declared("PUT", "/kv/a", 1_000_000) + "\r\n", chunkedHeader + "100000\r\n"} {
		c := s.connect(t)
		c.Send(header + strings.Repeat("x", 10_000))
		select {
		case <-reserved:
		case <-time.After(10 * time.Second):
			t.Fatal("the upload reserves no space")
		}
		c.Conn.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	s.wantNotStored(t)
}

// wantNotStored waits until all requests have ended, and checks that a, the key of
// the uploads, is not stored.
func (s *testServer) wantNotStored(t *testing.T) {
	t.Helper()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if value, found, err := s.store.Get(t.Context(), "a"); found || err != nil {
		t.Errorf("a value of %d bytes is stored, %v", len(value), err)
	}
}

// An upload that ends before its declared end stores nothing, wherever it ends.
func TestTornUploads(t *testing.T) {
	for name, upload := range map[string]string{
		"known length": apitest.Request("PUT", "/kv/a", strings.Repeat("x", 9000)),
		"chunked":      chunkedHeader + chunked(strings.Repeat("x", 5000), strings.Repeat("x", 4000), ""),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, setup{}, func(t *testing.T, s *testServer) {
				for cut := len(upload) - 1; cut > 0; cut = cut*19/20 - 1 {
					c := s.connect(t)
					go func() {
						io.WriteString(c, upload[:cut])
						c.Conn.(pipeConn).CloseWrite()
					}()
					resp, body, err := c.Response("PUT")
					if err == nil && resp.StatusCode != 400 || err != nil && err != io.EOF {
						t.Errorf("cut after %d bytes: %v %q, %v, want 400 or the end of the connection", cut, resp, body, err)
					}
					s.connect(t).Want("GET", "/kv/a", "", 404, "key not found")
				}
			})
		})
	}
}

// A client that reads a value gets all of it, although another client replaces or
// removes the value. It takes space until its last reader is done.
func TestValueIsRemovedWhileItIsRead(t *testing.T) {
	const oldSize, newSize = testBudget / 2, testBudget / 10 * 8
	old := strings.Repeat("old value ", oldSize/10)

	finish := func(t *testing.T, c apitest.Client) {
		if _, got, err := c.Response("GET"); got != old || err != nil {
			t.Errorf("read %d bytes, %.20q..., %v, want the old value", len(got), got, err)
		}
	}
	disconnect := func(t *testing.T, c apitest.Client) { c.Close() }

	for _, remove := range []struct{ name, method, target, body string }{
		{"overwritten", "PUT", "/kv/a", "new"},
		{"deleted", "DELETE", "/kv/a", ""},
		{"cleared", "DELETE", "/clear", ""},
	} {
		for _, end := range []struct {
			name    string
			readers []func(*testing.T, apitest.Client) // what each of them does in the end
		}{
			{"read to its end", []func(*testing.T, apitest.Client){finish}},
			{"its reader gone", []func(*testing.T, apitest.Client){disconnect}},
			{"three readers", []func(*testing.T, apitest.Client){disconnect, finish, finish}},
		} {
			t.Run(remove.name+", "+end.name, func(t *testing.T) {
				inBubble(t, setup{Config: Config{MaxValueBytes: testBudget}}, func(t *testing.T, s *testServer) {
					c := s.connect(t)
					c.Want("PUT", "/kv/a", old, 200, "")
					var readers []apitest.Client
					for range end.readers {
						r := s.connect(t)
						r.Send(apitest.Request("GET", "/kv/a", ""))
						if _, err := r.R.Peek(1000); err != nil {
							t.Fatal(err)
						}
						readers = append(readers, r)
					}
					c.Want(remove.method, remove.target, remove.body, 200, "")

					for i, end := range end.readers {
						refused := s.connect(t)
						refused.Send(declared("PUT", "/kv/b", newSize) + "\r\n")
						if resp, body, err := refused.Response("PUT"); err != nil || resp.StatusCode != 507 {
							t.Errorf("with %d readers: %v %q, %v, want 507", len(readers)-i, resp, body, err)
						}
						end(t, readers[i])
						synctest.Wait()
					}
					c.Want("PUT", "/kv/b", strings.Repeat("x", newSize), 200, "")
				})
			})
		}
	}
}

// A spaceStore counts the space that is reserved for uploads.
type spaceStore struct {
	Store
	reserved int64
}

func (s *spaceStore) Reserve(ctx context.Context, n int64) error {
	s.reserved += n
	return s.Store.Reserve(ctx, n)
}

func (s *spaceStore) Unreserve(n int64) {
	s.reserved -= n
	s.Store.Unreserve(n)
}

// A partReader reads left bytes, a few at a time, and then fails with err. It notes
// the largest buffer that the reading has needed, and whether it was larger than
// what was reserved for it.
type partReader struct {
	left int
	err  error

	store      *spaceStore
	read       int
	largest    int
	unreserved bool
}

func (r *partReader) Read(p []byte) (int, error) {
	buffer := r.read + len(p)
	r.largest = max(r.largest, buffer)
	if buffer > actor.SmallValue && int64(buffer) > r.store.reserved {
		r.unreserved = true
	}
	if r.left == 0 {
		return 0, r.err
	}
	n := min(len(p), r.left, 1000)
	r.left -= n
	r.read += n
	if r.left == 0 && r.err == io.EOF {
		return n, io.EOF // as net/http does
	}
	return n, nil
}

func (r *partReader) Close() error { return nil }

// Memory follows what has arrived and not what is declared. It is reserved before it
// is taken, and the value has no capacity to spare.
func TestReadAllTakesMemoryAsBytesArrive(t *testing.T) {
	const max64 = 64 << 20
	store := actor.New(1 << 30)
	go store.Run()
	t.Cleanup(store.Stop)

	readAll := func(r *partReader, length int64) ([]byte, *upload, error) {
		r.store = &spaceStore{Store: store}
		u := &upload{store: r.store, maxBytes: max64}
		value, err := u.readAll("a", newBody(&http.Request{Body: r, ContentLength: length}))
		if r.unreserved {
			t.Errorf("of %d bytes, %d declared: a buffer is larger than what is reserved", r.read, length)
		}
		if r.store.reserved != u.reserved {
			t.Errorf("of %d bytes, %d declared: %d are reserved, the upload counts %d", r.read, length, r.store.reserved, u.reserved)
		}
		return value, u, err
	}

	for _, arrived := range []int{0, 1, 4095, 4096, 5000, 1 << 20} {
		for _, length := range []int64{max64, -1} {
			r := &partReader{left: arrived, err: io.ErrUnexpectedEOF}
			_, u, err := readAll(r, length)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("after %d bytes of %d: %v", arrived, length, err)
			}
			if most := max(2*arrived, actor.SmallValue); r.largest > most {
				t.Errorf("after %d bytes of %d, the buffer has %d, want at most %d", arrived, length, r.largest, most)
			}
			u.close()
			if r.store.reserved != 0 {
				t.Errorf("after %d bytes of %d, %d stay reserved", arrived, length, r.store.reserved)
			}
		}
	}

	for _, size := range []int{1, 4095, 4096, 4097, 8191, 8192, 8193, 65535, 65536, 65537, 1 << 20, 1<<20 + 1, 3_333_333} {
		for _, length := range []int64{int64(size), -1} {
			r := &partReader{left: size, err: io.EOF}
			before := allocated()
			value, u, err := readAll(r, length)
			taken := allocated() - before
			if err != nil || len(value) != size || cap(value) != size {
				t.Errorf("of %d bytes, %d declared: length %d, capacity %d, %v", size, length, len(value), cap(value), err)
			}
			if size > actor.SmallValue && u.reserved != int64(size) || size <= actor.SmallValue && u.reserved != 0 {
				t.Errorf("of %d bytes, %d declared: %d are reserved at the end", size, length, u.reserved)
			}
			// A known length costs the value and, on the way, buffers of half its
			// size, of a quarter, and so on.
			if most := int64(2*size + size/4 + 32<<10); length >= 0 && taken > most {
				t.Errorf("of %d bytes, %d declared: %d bytes are allocated, want at most %d", size, length, taken, most)
			}
			u.close()
		}
	}
}

// allocated returns how many bytes have been allocated so far.
func allocated() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.TotalAlloc)
}
