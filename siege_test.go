package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// container is the memory that the server has in TestSiege. A container of 256 MiB, as the
// manual promises, has limits that are the same shares of its memory. A small one fills
// sooner, and leaves less for what is not limited, such as Go's runtime.
const container = 32 << 20

// TestSiege checks that the server survives in a container with little memory, with
// default settings and whatever clients do, that it keeps what is stored, and that it then
// takes the largest value.
func TestSiege(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("measures memory as Linux does")
	}
	info, _ := debug.ReadBuildInfo()
	if info == nil || slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector takes memory, too")
	}

	for name, attack := range map[string]func(s *siege){
		"values of 1 byte": func(s *siege) {
			long := strings.Repeat("k", 256) // long keys fill the store sooner
			atOnce(4, func(i int) { s.fill(fmt.Sprint(long, i), text(1)) })
		},
		"large uploads": func(s *siege) {
			most := s.limits.http.MaxValueBytes
			s.uploadAtOnce(4, most, 200, 503)
			s.fill("full", text(1<<20))
			s.uploadAtOnce(16, most, 200, 503, 507)
			s.uploadAtOnce(4, 2*most, 413, 503)
		},
		"a burst of 400 uploads": func(s *siege) {
			value := text(s.limits.http.MaxValueBytes / 16)
			atOnce(400, func(i int) {
				status := 503
				for try := 0; status == 503 && try < 10; try++ { // after 503, the client tries again
					status = s.upload(key("burst", i%10), value, false)
				}
				if status != 200 {
					s.t.Errorf("PUT: %d, want 200", status)
				}
			})
		},
		"uploads that stall before they end": func(s *siege) {
			s.fill("full", text(1<<20))
			most := s.limits.http.MaxValueBytes
			conns := s.connect(24)
			atOnce(len(conns), func(i int) {
				request := put("stalls", text(most), i%2 == 1)
				io.WriteString(conns[i], request[:len(request)-8])        // if it is chunked, without its last chunk
				conns[i].SetReadDeadline(time.Now().Add(4 * time.Second)) // the server refuses most of them before
				conns[i].Read(make([]byte, 1))
			})
		},
		"uploads that trickle": func(s *siege) {
			conns := s.connect(s.limits.http.MaxConns - 2)
			for i, conn := range conns {
				io.WriteString(conn, apitest.Header("PUT", "/kv/trickles", []string{apitest.Chunked, "Content-Length: 1000000"}[i%2]))
			}
			part := apitest.Chunks(text(40_000)) // where the length is known, a part of the value
			for range 10 {
				for _, conn := range conns {
					io.WriteString(conn, part)
				}
			}
		},
		"headers without an end, of empty fields or a long one": func(s *siege) {
			s.fill("full", text(1<<20))
			var fields strings.Builder
			for i := range 2000 {
				fmt.Fprintf(&fields, "%d:\r\n", i)
			}
			for i, conn := range s.connect(2 * s.limits.http.MaxConns) {
				header := []string{fields.String(), text(9000)}[i%2]
				io.WriteString(conn, "GET /kv/key HTTP/1.1\r\nHost: kv\r\n"+header[:8900]) // almost as much as is allowed
			}
			s.wantLine(fmt.Sprintf("All %d connections are taken, others wait", s.limits.http.MaxConns))
		},
		"slow readers of values that are replaced and cleared": func(s *siege) {
			for i := range 16 { // only the first readers get units
				s.upload("changes", text(s.limits.http.MaxValueBytes), i%2 == 0)
				conn := s.connect(1)[0]
				conn.Conn.(*net.TCPConn).SetReadBuffer(4096)
				io.WriteString(conn, apitest.Request("GET", "/kv/changes", ""))
				if i%4 == 3 {
					s.clear()
				}
			}
			s.fill("new", text(1<<20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSiege(t)
			defer func() { // also after a failure: the exit code shows whether the system has killed the server
				s.signal(syscall.SIGTERM)
				s.wantEnd()
			}()
			attack(s)
			for _, conn := range s.conns {
				conn.Close()
			}

			s.want("GET", "/kv/kept", "", 200, kept)
			s.clear()
			s.uploadAtOnce(1, s.limits.http.MaxValueBytes, 200)
			peak := s.memory("VmHWM") - s.memory("RssFile") // the system can drop what is in files
			t.Logf("the server has used up to %d of %d MiB", peak>>20, container>>20)
			if peak > container/16*15 {
				t.Error("want at most 15/16 of them")
			}
		})
	}
}

// A siege is an attack on a server that has the memory of a container.
type siege struct {
	*process
	limits config
	conns  []apitest.Client // open until the attack is over
}

// startSiege launches a server in a control group that has a limit, and checks that the
// server's limits are shares of it. Where there can be no such group, the server
// gets its limits from its command line, and that of its collector from GOMEMLIMIT.
func startSiege(t *testing.T) *siege {
	t.Helper()
	const collector = container / 8 * 5
	s := new(siege)
	s.limits, _ = parseFlags(nil, system{container, collector, math.MaxInt64}, nil)
	cmd := command("kvactor", "-quiet")
	if group, err := newGroup(t); err == nil {
		cmd = shell(cmd, "echo $$ > '"+group+"/cgroup.procs'")
	} else {
		t.Log("no control group can be made: ", err)
		cmd.Args = append(cmd.Args, "-max-store-bytes", fmt.Sprint(s.limits.maxStoreBytes), "-max-conns", fmt.Sprint(s.limits.http.MaxConns))
		cmd.Env = append(cmd.Env, fmt.Sprint("GOMEMLIMIT=", collector))
		s.limits, _ = parseFlags(cmd.Args[1:], system{collector, collector, math.MaxInt64}, nil)
	}
	s.process = launch(t, cmd)
	for _, line := range s.limits.limits {
		s.wantLine("Limits: " + line)
	}
	s.clear()
	return s
}

// newGroup makes a control group of Linux whose memory is limited to container, until the
// test ends, and returns its folder. It returns an error if the test may not make groups.
func newGroup(t *testing.T) (dir string, err error) {
	base, limitFile := "/sys/fs/cgroup", "memory.max" // of version 2
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err == nil {
		base, limitFile = "/sys/fs/cgroup/memory", "memory.limit_in_bytes" // of version 1
	}
	if dir, err = os.MkdirTemp(base, "kvactor-test-"); err != nil {
		return "", err
	}
	t.Cleanup(func() { os.Remove(dir) })
	return dir, os.WriteFile(filepath.Join(dir, limitFile), fmt.Append(nil, container), 0)
}

// text returns a value of n bytes, up to 4 MiB. The bytes do not repeat at the distance of the
// parts in which large values travel.
func text(n int64) string { return allText()[:n] }

var allText = sync.OnceValue(func() string { return strings.Repeat("0123456789 ", 4<<20/10) })

// key returns a key. Keys with the same prefix have the same length.
func key(prefix string, i int) string { return fmt.Sprintf("%s%06d", prefix, i) }

// atOnce calls f in n goroutines and waits until all have returned.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// connect opens n connections.
func (s *siege) connect(n int) []apitest.Client {
	s.t.Helper()
	for range n {
		s.conns = append(s.conns, s.dial())
	}
	return s.conns[len(s.conns)-n:]
}

// kept is the value that is stored before the attack and read after it.
var kept = strings.Repeat("0123456789", 6000)

// clear removes every key, and then stores kept.
func (s *siege) clear() {
	s.t.Helper()
	s.want("DELETE", "/clear", "", 200, "")
	s.want("PUT", "/kv/kept", kept, 200, "")
}

// put returns a PUT, of known length or chunked.
func put(key, value string, chunked bool) string {
	if chunked {
		return apitest.ChunkedRequest("PUT", "/kv/"+key, value)
	}
	return apitest.Request("PUT", "/kv/"+key, value)
}

// upload puts value, of known length or chunked, and returns the status of the response.
func (s *siege) upload(key, value string, chunked bool) int {
	s.t.Helper()
	c := s.dial()
	defer c.Close()
	go io.WriteString(c, put(key, value, chunked))
	resp, _, err := c.Response("PUT")
	if err != nil {
		s.t.Errorf("PUT of %d bytes: %v", len(value), err)
		return 0
	}
	return resp.StatusCode
}

// uploadAtOnce uploads n values at once. Every other value is chunked. The status of each
// response must be in want.
func (s *siege) uploadAtOnce(n int, size int64, want ...int) {
	s.t.Helper()
	atOnce(n, func(i int) {
		if status := s.upload(key("upload", i), text(size), i%2 == 1); !slices.Contains(want, status) {
			s.t.Errorf("PUT: %d, want one of %d", status, want)
		}
	})
}

// fill puts value under one key after another until the store is full, over one connection
// and without waiting for responses. Every other value is chunked.
func (s *siege) fill(prefix, value string) {
	s.t.Helper()
	c := s.dial()
	c.R = bufio.NewReaderSize(c, 64<<10)
	c.Conn.(*net.TCPConn).SetWriteBuffer(64 << 10) // so that few requests follow the one that gets 507
	var sender sync.WaitGroup
	sender.Go(func() {
		w := bufio.NewWriterSize(c, 64<<10)
		for i := 0; ; i++ {
			if _, err := w.WriteString(put(key(prefix, i), value, i%2 == 1)); err != nil {
				return
			}
		}
	})
	var err error
	for err == nil {
		err = c.Skip()
	}
	if !strings.Contains(err.Error(), " 507 ") {
		s.t.Error(err)
	}
	c.Close()
	sender.Wait()
}
