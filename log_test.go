package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

func TestLog(t *testing.T) {
	t.Parallel()
	p := kvactor(t)
	p.readLimits()
	c := p.dial()
	c.Want("PUT", "/kv/kenya:capital", "Nairobi", 200, "")
	c.Want("GET", "/kv/kenya:capital", "", 200, "Nairobi")
	c.Want("DELETE", "/kv/kenya:capital", "", 200, "")
	c.Want("GET", "/kv/kenya:capital", "", 404, "key not found")
	c.Want("DELETE", "/clear", "", 200, "")
	c.Want("PUT", "/kv/a", "1\nDELETE /clear accepted", 200, "")
	c.Want("GET", "/kv/a%0ADELETE%20/clear%20accepted", "", 400, "key contains invalid characters")
	p.end(syscall.SIGTERM)
	p.wantRest(`PUT /kv/kenya:capital accepted, value=Nairobi
GET /kv/kenya:capital returning 200
DELETE /kv/kenya:capital accepted
GET /kv/kenya:capital returning 404
DELETE /clear accepted
PUT /kv/a accepted, value="1\nDELETE /clear accepted"
GET /kv/"a\nDELETE /clear accepted" returning 400
Server stopping
Server stopped
`)
	p.wantExit(0)
}

// wantRest reads the log to its end.
func (p *process) wantRest(want string) {
	p.t.Helper()
	if got, err := io.ReadAll(p.log); string(got) != want {
		p.t.Errorf("logged\n%.1000s%v\nwant\n%s", got, err, want)
	}
}

// Each longRequest makes the log write a longLine. They fill a pipe soon.
var (
	longKey     = strings.Repeat("long", 10)
	longRequest = apitest.Request("DELETE", "/kv/"+longKey, "")
	longLine    = "DELETE /kv/" + longKey + " accepted\n"
)

// sendMany sends longRequest n times, without waiting for the responses, and then reads
// all of them.
func sendMany(t *testing.T, addr string, n int) {
	t.Helper()
	c := apitest.Dial(t, addr)
	c.SetDeadline(time.Now().Add(time.Minute)) // in case the log holds up a request
	go io.WriteString(c, strings.Repeat(longRequest, n))
	for i := range n {
		if err := c.Skip(); err != nil {
			t.Fatalf("response %d: %v", i, err)
		}
	}
}

// wantEachCounted reads what log says about n times longRequest: their lines, or how many
// lines were dropped. It returns when all are counted.
func wantEachCounted(t *testing.T, log *bufio.Reader, n int) (dropped int) {
	t.Helper()
	lines := 0
	for lines+dropped < n {
		line, err := log.ReadString('\n')
		var more int
		if err != nil {
			t.Fatalf("%d lines and %d dropped of %d requests, and then %q, %v", lines, dropped, n, line, err)
		} else if line == longLine {
			lines++
		} else if _, err := fmt.Sscanf(line, "Log dropped %d lines\n", &more); err == nil {
			dropped += more
		} else {
			t.Fatalf("logged %q", line)
		}
	}
	if lines+dropped > n {
		t.Errorf("%d lines and %d dropped of %d requests", lines, dropped, n)
	}
	return dropped
}

func TestNobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	p := kvactor(t)
	p.readLimits()
	const requests = 20_000 // more than can wait
	sendMany(t, p.addr, requests)
	if dropped := wantEachCounted(t, p.log, requests); dropped == 0 {
		t.Error("no line was dropped")
	}
	p.dial().Want("GET", "/kv/a", "", 404, "key not found")
	p.end(syscall.SIGTERM)
	p.wantRest("GET /kv/a returning 404\nServer stopping\nServer stopped\n")
	p.wantExit(0)
}

func TestReaderOfTheLogGoesAway(t *testing.T) {
	t.Parallel()
	p := kvactor(t)
	p.stderr.Close()
	c := p.dial()
	for range 100 {
		c.Want("PUT", "/kv/a", "1", 200, "")
	}
	p.end(syscall.SIGTERM)
	p.wantExit(0)
}

// At the end, what waits to be written is written at the pace of its reader.
func TestSlowReaderOfTheLog(t *testing.T) {
	t.Parallel()
	p := kvactor(t)
	p.readLimits()
	const requests = 6000
	sendMany(t, p.addr, requests)
	p.end(syscall.SIGTERM)
	p.log = bufio.NewReader(&slowReader{r: p.log, start: time.Now()})
	if dropped := wantEachCounted(t, p.log, requests); dropped != 0 {
		t.Errorf("%d lines were dropped", dropped)
	}
	p.wantRest("Server stopping\nServer stopped\n")
	p.wantExit(0)
}

// A slowReader reads 330 kB/s from r.
type slowReader struct {
	r     io.Reader
	start time.Time
	read  int
}

func (s *slowReader) Read(p []byte) (int, error) {
	time.Sleep(time.Until(s.start.Add(time.Duration(s.read) * time.Second / 330_000)))
	n, err := s.r.Read(p)
	s.read += n
	return n, err
}
