package main

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"kvactor/httpapi"
	"kvactor/httpapi/apitest"
)

func TestCommandLine(t *testing.T) {
	for args, want := range map[string]string{ // regular expressions
		"-h": "(?s)-addr host:port\n.*listen on .*-max-conns n\n.*keep at most .*default 24.*-max-store-bytes n\n.*store at most " +
			".*-max-value-bytes n\n.*refuse a value .*-quiet\n.*do not log",
		"-port 80":                   "not defined: -port",
		"-quiet serve":               `unexpected argument: "serve"`,
		"-addr=":                     "-addr must be host:port",
		"-addr 127.0.0.1:":           "-addr must be host:port",
		"-addr 127.0.0.1":            "-addr must be host:port",
		"-max-value-bytes 0":         "-max-value-bytes must be at least 1",
		"-max-store-bytes 0":         "-max-store-bytes must be at least 1",
		"-max-store-bytes -1":        "-max-store-bytes must be at least 1",
		"-max-store-bytes 300000000": "-max-store-bytes is 300000000, but the process may use only 67108864 bytes",
		"-max-conns 0":               "-max-conns must be at least 1",
	} {
		var says strings.Builder
		_, err := parseFlags(strings.Fields(args), system{64 << 20, 40 << 20, 40}, &says)
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

// The limits are shares of what the system allows, unless the command line says otherwise.
// The log has a line for each limit that is changed, or that is more than its share. The
// test harness sets ADDR, which must not change -addr.
func TestLimits(t *testing.T) {
	t.Setenv("ADDR", "kv:80")
	conns := func(memory int64) int64 { return memory / 4 / httpapi.ConnBytes }
	if n := conns(256 << 20); n < 400 {
		t.Errorf("256 MiB are enough for %d connections, want at least 400", n)
	}
	for _, test := range []struct {
		memory, files                 int64
		args                          string
		store, value, inflight, conns int64
		says                          string
	}{
		{256 << 20, 20_000, "", 96 << 20, 16 << 20, 32 << 20, conns(256 << 20), ""},
		{1 << 30, 20_000, "", 384 << 20, 64 << 20, 128 << 20, conns(1 << 30), ""},
		{16 << 30, math.MaxInt64, "", 6 << 30, 64 << 20, 2 << 30, conns(16 << 30), ""},
		{math.MaxInt64, math.MaxInt64, "", 384 << 20, 64 << 20, 128 << 20, conns(1 << 30), ""}, // unknown: as 1 GiB

		{256 << 20, 20_000, "-max-value-bytes 1000", 96 << 20, 1000, 32 << 20, conns(256 << 20), ""},
		{256 << 20, 20_000, "-max-value-bytes 40000000", 96 << 20, 40e6, 40e6, conns(256 << 20),
			"40000000 bytes in flight each way instead of 33554432, because a value of -max-value-bytes must fit"},
		{256 << 20, 20_000, "-max-value-bytes 9000000000", 96 << 20, 128 << 20, 128 << 20, conns(256 << 20),
			"-max-value-bytes is 134217728 instead of 9000000000, because a value may take half of the memory at most|" +
				"134217728 bytes in flight each way instead of 33554432, because a value of -max-value-bytes must fit"},

		{256 << 20, 20_000, "-max-store-bytes 100663296", 96 << 20, 16 << 20, 32 << 20, conns(256 << 20), ""},
		{256 << 20, 20_000, "-max-store-bytes 268435456", 256 << 20, 16 << 20, 32 << 20, conns(256 << 20),
			"-max-store-bytes is more than 100663296, its share of the memory, so the memory may run out before the store is full"},
		{math.MaxInt64, 20_000, "-max-store-bytes 9000000000000", 9e12, 64 << 20, 128 << 20, conns(1 << 30), ""},

		{256 << 20, 40, "", 96 << 20, 16 << 20, 32 << 20, 24, "-max-conns is 24, because the process may have only 40 files open"},
		{256 << 20, 40, "-max-conns 23", 96 << 20, 16 << 20, 32 << 20, 23, ""},
		{256 << 20, 40, "-max-conns 60", 96 << 20, 16 << 20, 32 << 20, 24, "-max-conns is 24, because the process may have only 40 files open"},
		{256 << 20, 20_000, "-max-conns 10000", 96 << 20, 16 << 20, 32 << 20, 10_000,
			fmt.Sprintf("-max-conns is more than %d, its share of the memory, so the memory may run out before all connections are taken", conns(256<<20))},
	} {
		got, err := parseFlags(strings.Fields(test.args), system{test.memory, 1000, test.files}, io.Discard)
		want := config{":8080", test.store, httpapi.Config{
			MaxValueBytes: test.value, MaxInflightBytes: test.inflight, MaxConns: int(test.conns)}, nil}
		want.limits = []string{fmt.Sprintf("-max-value-bytes=%d -max-store-bytes=%d -max-conns=%d GOMEMLIMIT=1000, %d bytes in flight each way",
			test.value, test.store, test.conns, test.inflight)}
		if test.says != "" {
			want.limits = append(want.limits, strings.Split(test.says, "|")...)
		}
		if !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("%d bytes, %d files, %q: %+v, %v; want %+v", test.memory, test.files, test.args, got, err, want)
		}
	}
}

// The log begins with the limits in force and what was changed, and these are the limits
// that the server enforces.
func TestLimitsAreLoggedAndEnforced(t *testing.T) {
	t.Parallel()
	cmd := command("kvactor", "-max-value-bytes", "1000", "-max-store-bytes", "2500", "-max-conns", "1")
	cmd.Env = append(cmd.Env, fmt.Sprint("GOMEMLIMIT=", 64<<20))
	p := launch(t, cmd)
	p.wantLine("Limits: -max-value-bytes=1000 -max-store-bytes=2500 -max-conns=1 GOMEMLIMIT=67108864, 8388608 bytes in flight each way")

	value := strings.Repeat("x", 1000)
	first := p.beginUpload() // takes the only connection
	p.wantLine("All 1 connections are taken, others wait")
	first.Close()
	p.want("PUT", "/kv/a", value+"x", 413, "value too large")
	p.want("PUT", "/kv/a", value, 200, "")
	p.want("PUT", "/kv/b", value, 200, "")
	p.want("PUT", "/kv/c", value, 507, "store is full")
}

// Where the process may have 40 files open, there are fewer connections. Others wait, and
// are served as soon as one ends.
func TestOpenFiles(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/limits"); err != nil {
		t.Skip(err)
	}
	p := launch(t, shell(command("kvactor"), "ulimit -n 40"))
	limits, _ := p.readLimits()
	n := limits.http.MaxConns
	if n >= 40 {
		t.Fatalf("-max-conns is %d, want less than 40", n)
	}
	p.wantLine(fmt.Sprintf("Limits: -max-conns is %d, because the process may have only 40 files open", n))
	var uploads []apitest.Client
	for range n {
		uploads = append(uploads, p.beginUpload())
	}
	p.wantLine(fmt.Sprintf("All %d connections are taken, others wait", n))
	var waiting []apitest.Client
	for range 60 - n {
		c := p.dial()
		c.Send(apitest.Request("GET", "/health", ""))
		waiting = append(waiting, c)
	}
	for _, c := range uploads {
		c.Close()
	}
	for _, c := range waiting {
		c.WantResponse("GET", 200, "")
		c.Close() // its place is for the next
	}
}

func TestSystemMemory(t *testing.T) {
	const (
		meminfo = "proc/meminfo"
		groups  = "proc/self/cgroup"
		v1      = "sys/fs/cgroup/memory/"
		v2      = "sys/fs/cgroup/"

		machine = "MemTotal:       24684096 kB\nMemFree:        123 kB\n"
		inV1    = "4:memory:/a/b\n1:cpu:/\n0::/\n"
		inV2    = "0::/a/b\n"
		none    = "cache 0\nhierarchical_memory_limit 9223372036854771712\nhierarchical_memsw_limit 1\n"
	)
	limit := func(n int64) string { return fmt.Sprintf("cache 0\nhierarchical_memory_limit %d\ntotal_cache 0\n", n) }

	for name, test := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing to read":       {nil, math.MaxInt64},
		"nothing to understand": {map[string]string{meminfo: "?", groups: "?\n:::\n" + inV1 + inV2, v1 + "memory.stat": "", v2 + "memory.max": "?"}, math.MaxInt64},
		"a machine":             {map[string]string{meminfo: machine}, 24684096 << 10},
		"no file of the group":  {map[string]string{meminfo: machine, groups: inV2}, 24684096 << 10},

		"version 2":           {map[string]string{meminfo: machine, groups: "?\n" + inV2, v2 + "a/b/memory.max": "268435456\n"}, 256 << 20},
		"version 2, no limit": {map[string]string{meminfo: machine, groups: inV2, v2 + "a/b/memory.max": "max\n"}, 24684096 << 10},
		"version 2, a limit above": {map[string]string{groups: inV2,
			v2 + "a/b/memory.max": "max\n", v2 + "a/memory.max": "1000\n", v2 + "memory.max": "2000\n"}, 1000},
		"version 2, a lower limit above": {map[string]string{groups: inV2, v2 + "a/b/memory.max": "2000\n", v2 + "a/memory.max": "1000\n"}, 1000},
		"version 2, a limit beside":      {map[string]string{meminfo: machine, groups: inV2, v2 + "a/c/memory.max": "1000\n"}, 24684096 << 10},
		"version 2, its group as root":   {map[string]string{groups: inV2, v2 + "memory.max": "1000\n"}, 1000},
		"version 2, a namespace":         {map[string]string{groups: "0::/../..\n", v2 + "memory.max": "1000\n"}, 1000},

		"version 2, throttled": {map[string]string{groups: inV2, v2 + "a/b/memory.max": "max\n", v2 + "a/b/memory.high": "268435456\n"}, 256 << 20},
		"version 2, throttled above": {map[string]string{groups: inV2,
			v2 + "a/b/memory.high": "max\n", v2 + "a/memory.high": "268435456\n", v2 + "memory.max": "max\n"}, 256 << 20},
		"version 2, throttled beyond the limit": {map[string]string{groups: inV2, v2 + "a/b/memory.max": "1000\n", v2 + "a/b/memory.high": "2000\n"}, 1000},
		"version 2, emptied":                    {map[string]string{groups: inV2, v2 + "a/b/memory.max": "1000\n", v2 + "a/b/memory.high": "0\n"}, 1000},

		"version 1":                        {map[string]string{meminfo: machine, groups: inV1, v1 + "a/b/memory.stat": limit(256 << 20)}, 256 << 20},
		"version 1, no limit":              {map[string]string{meminfo: machine, groups: inV1, v1 + "a/b/memory.stat": none}, 24684096 << 10},
		"version 1, its group as root":     {map[string]string{groups: inV1, v1 + "memory.stat": limit(1000)}, 1000},
		"version 1, several controllers":   {map[string]string{groups: "4:cpu,memory:/a\n", v1 + "a/memory.stat": limit(1000)}, 1000},
		"version 1, not the memory group":  {map[string]string{meminfo: machine, groups: "4:memory:/a\n5:memory2:/c\n1:cpu:/b\n", v1 + "b/memory.stat": limit(1000), v1 + "c/memory.stat": limit(1000)}, 24684096 << 10},
		"version 1, a name with a colon":   {map[string]string{groups: "4:memory:/a:b\n", v1 + "a:b/memory.stat": limit(1000)}, 1000},
		"both versions, version 2 limited": {map[string]string{groups: inV1 + inV2, v1 + "a/b/memory.stat": limit(2000), v2 + "a/b/memory.max": "1000\n"}, 1000},
		"both versions, version 1 limited": {map[string]string{groups: inV2 + inV1, v1 + "a/b/memory.stat": limit(1000), v2 + "a/b/memory.max": "2000\n"}, 1000},
		"less memory than the limit":       {map[string]string{meminfo: "MemTotal: 1024 kB\n", groups: inV2, v2 + "a/b/memory.max": "268435456\n"}, 1 << 20},
	} {
		root := make(fstest.MapFS)
		for name, text := range test.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := systemMemory(root); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// The collector's limit is 5/8 of what the system allows, or GOMEMLIMIT if that is less,
// and the defaults are shares of all that the system allows, or of GOMEMLIMIT.
func TestGOMEMLIMIT(t *testing.T) {
	t.Parallel()
	system := systemMemory(os.DirFS("/"))
	if system == math.MaxInt64 {
		t.Skip("the memory of the machine is unknown")
	}
	for _, test := range []struct {
		gomemlimit        string
		collector, memory int64
	}{
		{"off", system / 8 * 5, system},
		{strconv.FormatInt(system/8*7, 10), system / 8 * 5, system / 8 * 7},
		{strconv.FormatInt(system/2, 10), system / 2, system / 2},
		{"100MiB", 100 << 20, 100 << 20},
	} {
		cmd := command("kvactor")
		cmd.Env = append(cmd.Env, "GOMEMLIMIT="+test.gomemlimit)
		got, collector := launch(t, cmd).readLimits()
		if collector != test.collector || got.maxStoreBytes != test.memory/8*3 {
			t.Errorf("GOMEMLIMIT=%s with %d bytes of memory: the collector's limit is %d and the store's %d, want %d and %d",
				test.gomemlimit, system, collector, got.maxStoreBytes, test.collector, test.memory/8*3)
		}
	}
}

// The garbage collector has room although the store is small: a sixteenth of the memory, and
// 16 MiB at most. GOGC is the user's. The limit of the collector does not count the room.
func TestGOGC(t *testing.T) {
	t.Parallel()
	skipUnlessMemoryCounts(t)
	value := strings.Repeat("x", 1<<20)
	for _, test := range []struct {
		gogc, gomemlimit string
		values           int // of 1 MiB that are put
		least, most      int // of the heap in MiB at which a collection should end, with the room
	}{
		{"", "off", 60, 32, 40}, // twice the room, and a value or two
		{"", "64MiB", 60, 8, 16},
		{"50", "off", 60, 24, 30},
		{"off", "off", 60, math.MaxInt, math.MaxInt}, // no collection
		{"off", "96MiB", 200, 91, 98},                // the limit and 6 MiB of room, less what is no heap
	} {
		cmd := command("kvactor", "-quiet")
		cmd.Env = append(cmd.Env, "GOGC="+test.gogc, "GOMEMLIMIT="+test.gomemlimit, "GODEBUG=gctrace=1")
		p := launch(t, cmd)
		c := p.dial()
		for range test.values {
			c.Want("PUT", "/kv/a", value, 200, "")
		}
		p.end(syscall.SIGTERM)
		log, _ := io.ReadAll(p.log)
		p.wantExit(0)

		goal := math.MaxInt
		for _, match := range gcGoal.FindAllSubmatch(log, -1) {
			n, _ := strconv.Atoi(string(match[1]))
			goal = min(goal, n)
		}
		if goal < test.least || goal > test.most {
			t.Errorf("GOGC=%s GOMEMLIMIT=%s: the least goal is %d MiB, want %d to %d:\n%s",
				test.gogc, test.gomemlimit, goal, test.least, test.most, log)
		}
	}
}

// gcGoal is what the runtime says of a collection, but not of the first, which often begins
// before there is room.
var gcGoal = regexp.MustCompile(`(?m)^gc (?:[2-9]|\d\d+) .*, (\d+) MB goal,`)

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
