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
//   - floor is the least that net/http can do for the same promises. Its handler sets the
//     same two headers and responds with constant bytes, or reads a PUT into a slice of
//     its length and keeps it. It has the same timeouts, and a garbage collector as Go
//     sets it.
//   - twin is the same server with a map and a lock in the place of the store. It shows
//     what the owner costs.
//
// The metrics are medians of the ratios of one server to another, one ratio a round: rps
// of requests per second, where more is better, and cpu of the CPU time for a request, where
// less is better. The middle half of the ratios lies within the metric that begins with ± of
// the median.
//
// Clients read 8 KiB at a time, as wrk does.
//
//	go test -run '^$' -bench Server -benchtime 20x .
func BenchmarkServer(b *testing.B) {
	for _, load := range []struct {
		name     string
		size     int
		conns    int // at once
		requests int // in a round
		fields   []string
	}{
		{"11 bytes", 11, 50, 20_000, nil},
		{"11 bytes, new connections", 11, 20, 5_000, []string{connectionClose}},
		{"5 kB", 5_000, 50, 20_000, nil},
		{"40 kB", 40_000, 50, 10_000, nil},
		{"1 MiB", 1 << 20, 8, 400, nil},
	} {
		for _, method := range []string{"GET", "PUT"} {
			b.Run(method+" "+load.name, func(b *testing.B) {
				value := strings.Repeat("x", load.size)
				request := apitest.Request("GET", "/kv/key", "", load.fields...)
				if method == "PUT" {
					request = apitest.Request("PUT", "/kv/key", value, load.fields...)
				}
				var all []*loaded
				for _, server := range []string{"kvactor", "floor", "twin"} {
					all = append(all, start(b, server, load.conns, value))
				}
				for b.Loop() {
					for _, l := range all {
						l.round(load.requests, request)
					}
				}
				b.ReportMetric(0, "ns/op")
				compare(b, all[0], all[1], "floor")
				compare(b, all[0], all[2], "twin")
				compare(b, all[2], all[1], "twin/floor")
			})
		}
	}
}

// connectionClose is the field of a request that is the only one of its connection.
const connectionClose = "Connection: close"

// A loaded is a server, clients that load it, and what was measured in each round.
type loaded struct {
	*process
	clients []apitest.Client
	took    []time.Duration
	used    []time.Duration // CPU time
}

// start starts a server and puts value over each of conns connections.
func start(b *testing.B, server string, conns int, value string) *loaded {
	b.Helper()
	l := &loaded{process: launch(b, command(server))}
	go io.Copy(io.Discard, l.log)
	for range conns {
		c := apitest.Dial(b, l.addr)
		c.Want("PUT", "/kv/key", value, 200, "") // at once, because a silent connection has 5 s
		c.R = bufio.NewReaderSize(c.Conn, 8<<10)
		l.clients = append(l.clients, c)
	}
	return l
}

// round sends n times request over all connections at once. If request is the only one of
// its connection, each is sent over a new one.
func (l *loaded) round(n int, request string) {
	begin, used := time.Now(), l.cpu()
	single := strings.Contains(request, connectionClose)
	var wg sync.WaitGroup
	for i, c := range l.clients {
		wg.Go(func() {
			for range (n + i) / len(l.clients) {
				if single {
					c.Close()
					conn, err := net.Dial("tcp", l.addr)
					if err != nil {
						l.t.Error(err)
						return
					}
					c.Conn = conn
					c.R.Reset(conn)
				}
				_, err := io.WriteString(c, request)
				if err == nil {
					err = c.Skip()
				}
				if err != nil {
					l.t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if l.t.Failed() {
		l.t.FailNow()
	}
	l.took = append(l.took, time.Since(begin))
	l.used = append(l.used, l.cpu()-used)
}

// compare reports the ratios of l to other.
func compare(b *testing.B, l, other *loaded, name string) {
	for _, metric := range []struct {
		name string
		a, b []time.Duration
	}{{"rps", other.took, l.took}, {"cpu", l.used, other.used}} {
		var ratios []float64
		for i := range metric.a {
			ratios = append(ratios, float64(metric.a[i])/float64(max(1, metric.b[i])))
		}
		slices.Sort(ratios)
		n := len(ratios)
		b.ReportMetric(ratios[n/2], metric.name+"/"+name)
		b.ReportMetric((ratios[n*3/4]-ratios[n/4])/2, "±"+metric.name+"/"+name)
	}
}

// BenchmarkResidentMemory measures how much resident memory the server takes for each of a
// million keys with values of 100 bytes, without asking for a collection. It fails if that is
// too much, or if the server has touched the room for the collector before it stores anything.
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

// listen begins the server of a role other than kvactor, with the flags of kvactor.
func listen(system system) (net.Listener, config) {
	cfg, err := parseFlags(os.Args[1:], system, os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "Server listening on", listener.Addr())
	return listener, cfg
}

// serveFloor serves the value that was put last, whatever its key.
func serveFloor() {
	listener, _ := listen(readSystem(os.DirFS("/")))
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
	log.Fatal(server.Serve(listener))
}

// serveTwin serves the same API as the server does, from a lockedStore.
func serveTwin() {
	system := readSystem(os.DirFS("/"))
	setCollector(system)
	listener, cfg := listen(system)
	store := &lockedStore{values: make(map[string][]byte)}
	log.Fatal(httpapi.NewServer(listener, store, httpapi.NewLog(os.Stderr), cfg.http).Serve())
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
