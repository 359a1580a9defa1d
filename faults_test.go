package main

import (
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"kvactor/httpapi/apitest"
)

// Clients that do what they should not, hundreds at once, do no harm to one that uses
// small values. They hold all units of large values, because the memory is small.
func TestFaults(t *testing.T) {
	t.Parallel()
	cmd := command("kvactor", "-max-conns", "10000")
	cmd.Env = append(cmd.Env, "GOMEMLIMIT=256MiB")
	p := launch(t, cmd).discardLog()
	small, large := text(60_000), text(1<<20)
	good := p.dial()
	good.Want("PUT", "/kv/small", small, 200, "")
	good.Want("PUT", "/kv/large", large, 200, "")

	for _, fault := range []struct {
		name  string
		count int
		do    func(c apitest.Client)
	}{
		{"half a header", 300, func(c apitest.Client) { c.Send("GET /kv/small HTTP/1.1\r\nHost: k") }},
		{"megabytes declared, a byte sent", 300, func(c apitest.Client) {
			c.Send(apitest.Header("PUT", "/kv/bad", "Content-Length: 15000000") + "x")
		}},
		{"megabytes asked for, none read", 100, func(c apitest.Client) {
			c.Conn.(*net.TCPConn).SetReadBuffer(4096)
			c.Send(strings.Repeat(apitest.Request("GET", "/kv/large", ""), 5))
		}},
		{"an upload cut anywhere", 300, func(c apitest.Client) {
			c.Send(apitest.Header("PUT", "/kv/bad", "Content-Length: 60000"))
			c.Send(small[:rand.IntN(60_000)])
			c.Close()
		}},
		{"a reset", 300, func(c apitest.Client) {
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Send(apitest.Header("PUT", "/kv/bad", "Content-Length: 60000") + "x")
			c.Close()
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			for range fault.count {
				fault.do(p.dial())
			}
			for range 10 {
				good.Want("GET", "/kv/small", "", 200, small)
				good.Want("PUT", "/kv/other", small, 200, "")
				apitest.Dial(t, p.addr).Want("GET", "/kv/bad", "", 404, "key not found")
			}
		})
	}
}
