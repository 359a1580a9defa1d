package main

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

func TestLog(t *testing.T) {
	t.Parallel()
	cmd := command("kvactor")
	cmd.Env = append(cmd.Env, "ADDR=kv:80", "PEERS=kv2:80,kv3:80", "DATA_DIR=/none") // for later stages of the test harness
	p := launch(t, cmd)
	p.readLimits()
	c := p.dial()
	c.Want("PUT", "/kv/kenya:capital", "Nairobi", 200, "")
	c.Want("GET", "/kv/kenya:capital", "", 200, "Nairobi")
	c.Want("DELETE", "/kv/kenya:capital", "", 200, "")
	c.Want("GET", "/kv/kenya:capital", "", 404, "key not found")
	p.end(syscall.SIGTERM)
	p.wantRest(`PUT /kv/kenya:capital accepted, value=Nairobi
GET /kv/kenya:capital returning 200
DELETE /kv/kenya:capital accepted
GET /kv/kenya:capital returning 404
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

// Nothing reads the log while the server serves, and no request waits for it. After the
// signal, the lines that wait are written at the pace of a slow reader.
func TestLogIsReadLateAndSlowly(t *testing.T) {
	t.Parallel()
	p := kvactor(t)
	p.readLimits()
	lines := p.fillLog(4500)
	p.end(syscall.SIGTERM)
	p.log.Reset(&slowReader{r: p.stderr, start: time.Now()})
	p.wantRest(lines + "Server stopping\nServer stopped\n")
	p.wantExit(0)
}

// If nothing ever reads the log, the server ends without its last lines.
func TestLogIsNeverRead(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a shutdown may")
	}
	t.Parallel()
	p := kvactor(t)
	p.fillLog(1500)
	p.end(syscall.SIGTERM)
	p.wantExit(0)
	if rest, _ := io.ReadAll(p.log); strings.HasSuffix(string(rest), "Server stopped\n") {
		t.Error("the log has its last line: the pipe was not full")
	}
}

// fillLog sends requests and returns their lines. The pipe of the log holds less than 1,500
// of these lines.
func (p *process) fillLog(requests int) string {
	p.t.Helper()
	key := strings.Repeat("long", 10)
	c := p.dial()
	c.SetDeadline(time.Now().Add(time.Minute)) // in case the log holds up a request
	go io.WriteString(c, strings.Repeat(apitest.Request("DELETE", "/kv/"+key, ""), requests))
	for i := range requests {
		if err := c.Skip(); err != nil {
			p.t.Fatalf("response %d: %v", i, err)
		}
	}
	return strings.Repeat("DELETE /kv/"+key+" accepted\n", requests)
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

func TestAddressInTheLog(t *testing.T) {
	for addr, want := range map[string]string{
		"[::]:8080":      "0.0.0.0:8080",
		"0.0.0.0:8080":   "0.0.0.0:8080",
		"127.0.0.1:8080": "127.0.0.1:8080",
		"[::1]:8080":     "[::1]:8080",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := address(tcp); got != want {
			t.Errorf("address(%s) = %s, want %s", addr, got, want)
		}
	}
}
