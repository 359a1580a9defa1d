package main

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// Nothing reads the log while the server serves, and no request waits for it. A reader that
// comes two seconds after the signal still gets every line.
func TestLogIsReadLate(t *testing.T) {
	t.Parallel()
	p := kvactor(t)
	p.readLimits()
	lines := p.fillLog(4500)
	p.end(syscall.SIGTERM)
	time.Sleep(2 * time.Second)
	want := lines + "Server stopping\nServer stopped\n"
	if got, err := io.ReadAll(p.log); string(got) != want {
		t.Errorf("%v, logged %d bytes, want %d:\n%.1000s", err, len(got), len(want), got)
	}
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
		if got := address(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))); got != want {
			t.Errorf("address(%s) = %s, want %s", addr, got, want)
		}
	}
}
