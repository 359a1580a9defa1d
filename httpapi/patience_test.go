package httpapi

import (
	"bufio"
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
)

// A pipeListener hands out connections in memory, whose deadlines go by the
// clock of a synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// inBubble runs test in a bubble with a server, whose store has a key, big, of
// 1 MiB.
func inBubble(t *testing.T, test func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		store := actor.New(1 << 30)
		go store.Run(ctx)
		if err := store.Put(ctx, "big", []byte(strings.Repeat("x", 1<<20))); err != nil {
			t.Fatal(err)
		}

		listener := pipeListener{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{Handler: New(store, 1<<20, nil), IdleTimeout: time.Hour}
		go server.Serve(NewListener(ctx, listener))

		test(t, listener.dial)
		server.Close()
		stop()
	})
}

const declared = "PUT /kv/a HTTP/1.1\r\nHost: kv\r\nContent-Length: 100000\r\n\r\n"

func TestUploadThatStandsStillIsCutOff(t *testing.T) {
	for _, sent := range []string{"", "x", strings.Repeat("x", 99_999)} {
		inBubble(t, func(t *testing.T, dial func() net.Conn) {
			c := dial()
			start := time.Now()
			go io.WriteString(c, declared+sent)
			answer, _ := io.ReadAll(c)
			if waited := time.Since(start); waited < patience || waited > 2*patience {
				t.Errorf("with %d bytes sent, it is cut off after %v", len(sent), waited)
			}
			if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.HasSuffix(string(answer), "value took too long") {
				t.Errorf("it is answered %q", answer)
			}
		})
	}
}

func TestUploadThatMovesMayTakeItsTime(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		defer c.Close()
		go func() {
			io.WriteString(c, declared)
			for range 100 {
				time.Sleep(patience - time.Second)
				io.WriteString(c, strings.Repeat("x", 1000))
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("answered %v, %v", resp, err)
		}
	})
}

func TestAnswerThatStandsStillIsCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		io.WriteString(c, "GET /kv/big HTTP/1.1\r\nHost: kv\r\n\r\n")
		io.CopyN(io.Discard, c, 1000)
		time.Sleep(3*patience + time.Second)
		rest, err := io.ReadAll(c)
		if len(rest) >= 1<<20-1000 {
			t.Errorf("%d bytes come after nobody had read for long, %v", len(rest), err)
		}
	})
}

// A reader that is slow, but reads, gets everything, and its connection serves
// the next request as well.
func TestAnswerThatMovesMayTakeItsTime(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		defer c.Close()
		slow := bufio.NewReaderSize(slowReader{c}, 100_000)
		for range 3 {
			io.WriteString(c, "GET /kv/big HTTP/1.1\r\nHost: kv\r\n\r\n")
			resp, err := http.ReadResponse(slow, nil)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != http.StatusOK || n != 1<<20 || err != nil {
				t.Errorf("%s, %d bytes, %v", resp.Status, n, err)
			}
		}
	})
}

type slowReader struct{ io.Reader }

func (r slowReader) Read(p []byte) (int, error) {
	time.Sleep(patience - time.Second)
	return r.Reader.Read(p)
}

// The memory that an upload takes follows what has come, not what was declared.
func TestReadAllTakesMemoryAsItComes(t *testing.T) {
	const length = 64 << 20
	for _, come := range []int{0, 1, 5000, 1 << 20} {
		body := &countingReader{left: come}
		u := &upload{body: body, conn: http.NewResponseController(nil), length: length, limit: length}
		if _, err := u.readAll(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: %v", come, err)
		}
		if most := max(4<<10, 17*come); body.most > most {
			t.Errorf("after %d bytes, a slice of %d is made", come, body.most)
		}
	}

	for _, length := range []int64{1, 4096, 4097, 65535, 65536, 65537, 1 << 20, 1<<20 + 1, 3_333_333} {
		body := &countingReader{left: int(length)}
		u := &upload{body: body, conn: http.NewResponseController(nil), length: length, limit: length}
		before := allocated()
		value, err := u.readAll()
		taken := allocated() - before
		if err != nil || int64(len(value)) != length || cap(value) != len(value) {
			t.Errorf("of %d bytes, %d are read, with room for %d: %v", length, len(value), cap(value), err)
		}
		if most := length + length/10 + 32<<10; taken > most {
			t.Errorf("for %d bytes, %d are allocated", length, taken)
		}
	}
}

// allocated returns how many bytes have been allocated so far.
func allocated() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.TotalAlloc)
}

// A countingReader has some bytes left, and notes the largest slice it is given.
type countingReader struct{ left, most int }

func (r *countingReader) Read(p []byte) (int, error) {
	r.most = max(r.most, len(p))
	if r.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), r.left)
	r.left -= n
	return n, nil
}
