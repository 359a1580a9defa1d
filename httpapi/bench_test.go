package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"kvactor/httpapi"
)

// What a request costs on 50 connections of the loopback, the client's share
// included: with the owner, with a locked map in its place behind the same API,
// and with a bare handler that answers with a constant.
func BenchmarkHTTP(b *testing.B) {
	small, large := "hello world", strings.Repeat("x", maxValueBytes)
	for _, load := range []struct{ name, method, value string }{
		{"GET 11 bytes", "GET", small},
		{"PUT 11 bytes", "PUT", small},
		{"GET 1 MiB", "GET", large},
		{"PUT 1 MiB", "PUT", large},
	} {
		for _, kind := range []struct {
			name string
			addr func(b *testing.B) string
		}{
			{"owner", func(b *testing.B) string { return newServer(b).addr }},
			{"lock", func(b *testing.B) string { return serve(b, &lockedStore{data: make(map[string][]byte)}) }},
			{"bare", func(b *testing.B) string { return serveBare(b, load.value) }},
		} {
			b.Run(load.name+"/"+kind.name, func(b *testing.B) {
				addr := kind.addr(b)
				dial(b, addr).do("PUT", "/kv/key", load.value)
				sent := request("GET", "/kv/key", "")
				if load.method == "PUT" {
					sent = request("PUT", "/kv/key", load.value)
				}

				b.ReportAllocs()
				b.SetParallelism(25) // times GOMAXPROCS
				b.RunParallel(func(pb *testing.PB) {
					conn, err := net.Dial("tcp", addr)
					if err != nil {
						b.Error(err)
						return
					}
					defer conn.Close()
					answers := bufio.NewReader(conn)
					for pb.Next() {
						io.WriteString(conn, sent)
						if err := skipAnswer(answers); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

// skipAnswer reads an answer, at less expense than http.ReadResponse.
func skipAnswer(answers *bufio.Reader) error {
	length := 0
	for {
		line, err := answers.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == len("\r\n") {
			_, err := answers.Discard(length)
			return err
		}
		if line[0] == 'C' {
			fmt.Sscanf(string(line), "Content-Length: %d", &length)
		}
	}
}

func serveBare(b *testing.B, value string) string {
	body := []byte(value)
	length := fmt.Sprint(len(body))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			io.Copy(io.Discard, r.Body)
			return
		}
		if len(body) > 2<<10 {
			w.Header().Set("Content-Length", length)
		}
		w.Write(body)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	b.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// A lockedStore is what one would write instead of an owner.
type lockedStore struct {
	httpapi.Store
	mu   sync.RWMutex
	data map[string][]byte
}

func (s *lockedStore) Get(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, found := s.data[key]
	return value, found, nil
}

func (s *lockedStore) Put(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data[key] = value
	return nil
}
