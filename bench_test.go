package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kvactor/httpapi"
	"kvactor/httpapi/apitest"
)

// BenchmarkServer compares the server with two others. Each is a process of its own, and
// they take turns at the same load.
//
//   - floor is a server that does little more than net/http itself. Its handler sets the same
//     headers, and responds with the value that it was sent last, or reads a PUT into a
//     slice of its length and keeps it. It has the same timeouts, and a garbage collector as
//     Go sets it.
//   - twin is the same server with a map and a lock in the place of the store. It shows
//     what the owner costs.
//
// The metrics are medians of the ratios of the server to another, one ratio a round: rps
// of requests per second, where more is better, and cpu of the CPU time for a request, where
// less is better. A metric that begins with ± is half the distance between the quartiles.
//
//	go test -run '^$' -bench Server -benchtime 20x .
func BenchmarkServer(b *testing.B) {
	for _, l := range []load{
		{"11 bytes", 11, 50, 20_000, false},
		{"11 bytes, new connections", 11, 20, 5_000, true},
		{"5 kB", 5_000, 50, 20_000, false},
		{"40 kB", 40_000, 50, 10_000, false},
		{"1 MiB", 1 << 20, 8, 1600, false},
	} {
		for _, method := range []string{"GET", "PUT"} {
			b.Run(method+" "+l.name, func(b *testing.B) {
				var servers []*process
				for _, name := range []string{"kvactor", "floor", "twin"} {
					p := launch(b, command(name))
					go io.Copy(io.Discard, p.log)
					p.want("PUT", "/kv/key", strings.Repeat("x", l.size), 200, "")
					servers = append(servers, p)
				}
				ratios := make(map[string][]float64)
				for b.Loop() {
					took, used := l.run(servers[0], method)
					for i, other := range []string{"floor", "twin"} {
						otherTook, otherUsed := l.run(servers[i+1], method)
						ratios["rps/"+other] = append(ratios["rps/"+other], float64(otherTook)/float64(took))
						ratios["cpu/"+other] = append(ratios["cpu/"+other], float64(used)/float64(otherUsed))
					}
				}
				b.ReportMetric(0, "ns/op")
				for name, r := range ratios {
					slices.Sort(r)
					b.ReportMetric(r[len(r)/2], name)
					b.ReportMetric((r[len(r)*3/4]-r[len(r)/4])/2, "±"+name)
				}
			})
		}
	}
}

// A load is a number of requests, which clients send at once.
type load struct {
	name     string
	size     int // of the value
	clients  int
	requests int
	single   bool // whether each request has a connection of its own
}

// run loads a server with requests, over new connections. It returns how long that took, and
// how much CPU time the server used. Clients read 8 KiB at a time, as wrk does.
func (l load) run(p *process, method string) (took, used time.Duration) {
	perConn, fields := l.requests/l.clients, []string(nil)
	if l.single {
		perConn, fields = 1, []string{"Connection: close"}
	}
	request := apitest.Header("GET", "/kv/key", fields...)
	if method == "PUT" {
		request = apitest.Request("PUT", "/kv/key", strings.Repeat("x", l.size), fields...)
	}

	start, before := time.Now(), p.cpu()
	atOnce(l.clients, func(int) {
		r := bufio.NewReaderSize(nil, 8<<10)
		for range l.requests / l.clients / perConn {
			conn, err := net.Dial("tcp", p.addr)
			r.Reset(conn)
			for n := 0; n < perConn && err == nil; n++ {
				if _, err = io.WriteString(conn, request); err == nil {
					err = apitest.Client{Conn: conn, R: r}.Skip()
				}
			}
			if err != nil {
				p.t.Error(err)
				return
			}
			conn.Close()
		}
	})
	return time.Since(start), p.cpu() - before
}

// cpu returns the CPU time that Linux has counted for the server so far, in steps of 10 ms.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	fields := strings.Fields(string(stat)) // the name of this test binary has no space
	user, _ := strconv.Atoi(fields[14-1])
	system, _ := strconv.Atoi(fields[15-1])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// BenchmarkResidentMemory measures how much memory the server takes for each of a million keys
// with values of 100 bytes, without a call of runtime.GC. It fails if that is too much, or if
// an empty server takes so much that it must have touched gcRoom. The memory is resident, and
// not mapped from files.
//
//	go test -run '^$' -bench ResidentMemory -benchtime 1x .
func BenchmarkResidentMemory(b *testing.B) {
	const keys, size, most = 1_000_000, 100, 430
	for b.Loop() {
		budget := keys * (len("key0000000") + size + 128)
		s := &siege{process: kvactor(b, "-quiet", "-max-store-bytes", fmt.Sprint(budget))}
		if empty := s.memory("RssAnon"); empty > 12<<20 {
			b.Errorf("an empty server takes %d bytes", empty)
		}
		atOnce(4, func(i int) { s.fill(fmt.Sprint("key", i), text(size)) })
		used := float64(s.memory("RssAnon")) / keys
		b.ReportMetric(used, "B/key")
		if used > most {
			b.Errorf("a key takes %.0f bytes, want at most %d", used, most)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// listen returns a listener on a free port, and writes its address to stderr as the server does.
func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "Server listening on", l.Addr())
	return l
}

// serveFloor serves the value that was put last, whatever its key.
func serveFloor() {
	var stored atomic.Pointer[[]byte]
	server := http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
		w.Header()["Cache-Control"] = []string{"no-store"}
		switch r.Method {
		case "GET":
			value := *stored.Load()
			if len(value) > 2<<10 { // net/http would send chunks
				w.Header()["Content-Length"] = []string{strconv.Itoa(len(value))}
			}
			w.Write(value)
		case "PUT":
			value := make([]byte, r.ContentLength)
			if _, err := io.ReadFull(r.Body, value); err != nil {
				return
			}
			stored.Store(&value)
		}
	})
	log.Fatal(server.Serve(listen()))
}

// serveTwin serves the same API as the server does, from a lockedStore.
func serveTwin() {
	system := readSystem(os.DirFS("/"))
	setCollector(system)
	cfg, err := parseFlags(nil, system, os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	store := &lockedStore{values: make(map[string][]byte)}
	log.Fatal(httpapi.NewServer(listen(), store, httpapi.NewLog(os.Stderr), cfg.http).Serve())
}

// A lockedStore is a store with a lock, for the requests of a benchmark.
type lockedStore struct {
	httpapi.Store // nil, because a benchmark calls no other methods
	mu            sync.RWMutex
	values        map[string][]byte // guarded by mu
}

func (s *lockedStore) Get(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, found := s.values[key]
	return value, found, nil
}

func (s *lockedStore) Put(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = value
	return nil
}
