package main

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"kvactor/httpapi"
)

func TestCommandLine(t *testing.T) {
	for args, want := range map[string]string{ // regular expressions
		"-h": "(?s)-addr host:port\n.*listen on .*-max-conns n\n.*keep at most .*-max-store-bytes n\n.*store at most " +
			".*-max-value-bytes n\n.*refuse a value .*-quiet\n.*do not log",
		"-port 80":               "not defined: -port",
		"serve":                  `unexpected argument: "serve"`,
		"-quiet serve":           `unexpected argument: "serve"`,
		"-max-value-bytes 0":     "-max-value-bytes must be at least 1",
		"-max-value-bytes 64MiB": `invalid value "64MiB" for flag -max-value-bytes`,
		"-max-store-bytes 0":     "-max-store-bytes must be at least 1",
		"-max-store-bytes -1":    "-max-store-bytes must be at least 1",
		"-max-conns 0":           "-max-conns must be at least 1",
		"-quiet=maybe":           `invalid boolean value "maybe" for -quiet`,
		"-addr=":                 "-addr must be host:port",
		"-addr 127.0.0.1:":       "-addr must be host:port",
		"-addr 127.0.0.1":        "-addr must be host:port",
	} {
		var says strings.Builder
		_, err := parseFlags(strings.Fields(args), 1<<30, &says)
		if err == nil || !regexp.MustCompile(want).MatchString(says.String()) {
			t.Errorf("kvactor %s: %v, %q; want an error, %q", args, err, &says, want)
		}
	}
}

// A server that does not start says why, and ends with an exit code.
func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"-h", 0, "-addr host:port"},
		{"serve", 2, `unexpected argument: "serve"`},
		{"-addr 127.0.0.1:65536", 1, "65536"},
		{"-addr " + kvactor(t).addr, 1, "address already in use"},
	} {
		cmd := command("kvactor", strings.Fields(test.args)...)
		kill := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() }) // if it serves
		out, _ := cmd.CombinedOutput()
		kill.Stop()
		if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.says) {
			t.Errorf("kvactor %s: exit code %d, %q; want %d, %q", test.args, code, out, test.code, test.says)
		}
	}
}

// The defaults are shares of the memory. The test harness sets ADDR, which must not change
// -addr.
func TestDefaultsFollowTheMemory(t *testing.T) {
	t.Setenv("ADDR", "kv:80")
	for _, test := range []struct {
		memory                        int64
		args                          string
		store, value, inflight, conns int64
	}{
		{256 << 20, "", 96 << 20, 16 << 20, 32 << 20, 170},
		{1 << 30, "", 384 << 20, 64 << 20, 128 << 20, 682},
		{16 << 30, "", 6 << 30, 64 << 20, 2 << 30, 10922},
		{math.MaxInt64, "", 384 << 20, 64 << 20, 128 << 20, 682}, // unknown: as 1 GiB
		{1, "", 1, 1, 1, 1},

		{256 << 20, "-max-value-bytes 1000", 96 << 20, 1000, 32 << 20, 170},
		{256 << 20, "-max-value-bytes 40000000", 96 << 20, 40e6, 40e6, 170}, // more than an eighth
		{256 << 20, "-max-value-bytes 9000000000", 96 << 20, 128 << 20, 128 << 20, 170},
	} {
		got, err := parseFlags(strings.Fields(test.args), test.memory, io.Discard)
		want := config{":8080", test.store, httpapi.Config{
			MaxValueBytes: test.value, MaxInflightBytes: test.inflight, MaxConns: int(test.conns)}}
		if got != want || err != nil {
			t.Errorf("%d bytes, %q: %+v, %v; want %+v", test.memory, test.args, got, err, want)
		}
	}
}

// The second line of the log has the limits in force, and these are the limits that
// the server enforces.
func TestLimitsAreLoggedAndEnforced(t *testing.T) {
	t.Parallel()
	cmd := command("kvactor", "-max-value-bytes", "1000", "-max-store-bytes", "2500", "-max-conns", "1")
	cmd.Env = append(cmd.Env, fmt.Sprint("GOMEMLIMIT=", 64<<20))
	p := launch(t, cmd)
	p.stderr.SetReadDeadline(time.Now().Add(time.Minute)) // in case a line is missing
	const want = "Limits: -max-value-bytes=1000 -max-store-bytes=2500 -max-conns=1 GOMEMLIMIT=67108864, 8388608 bytes in flight each way\n"
	if line, err := p.log.ReadString('\n'); line != want {
		t.Errorf("the second line of the log is %q, %v; want %q", line, err, want)
	}

	value := strings.Repeat("x", 1000)
	first := p.beginUpload() // takes the only connection
	const taken = "All 1 connections are taken, others wait\n"
	if line, err := p.log.ReadString('\n'); line != taken {
		t.Errorf("logged %q, %v; want %q", line, err, taken)
	}
	first.Close()
	p.want("PUT", "/kv/a", value+"x", 413, "value too large")
	p.want("PUT", "/kv/a", value, 200, "")
	p.want("PUT", "/kv/b", value, 200, "")
	p.want("PUT", "/kv/c", value, 507, "store is full")
}
