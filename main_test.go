package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"kvactor/httpapi"
	"kvactor/httpapi/apitest"
)

// A server that does not start says why, and ends with an exit code other than 0. The help
// explains each flag.
func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args string
		code int
		says string // a regular expression
	}{
		{"-h", 0, "(?s)-addr host:port\n.*listen on .*-max-conns n\n.*keep at most .*-max-store-bytes n\n.*store at most " +
			".*-max-value-bytes n\n.*refuse a value .*-quiet\n.*do not log"},
		{"-max-keys=1", 2, "-max-keys"},
		{"serve", 2, `unexpected argument: "serve"`},
		{"-addr=", 2, "-addr must be host:port"},
		{"-addr 127.0.0.1:", 2, "-addr must be host:port"},
		{"-max-value-bytes 0", 2, "-max-value-bytes must be at least 1"},
		{"-max-store-bytes 0", 2, "-max-store-bytes must be at least 1"},
		{"-max-store-bytes 300000000", 2, "-max-store-bytes is 300000000, but the process may use only 67108864 bytes"},
		{"-max-conns 0", 2, "-max-conns must be at least 1"},
		{"-addr " + kvactor(t).addr, 1, "address already in use"},
	} {
		cmd := command("kvactor", strings.Fields(test.args)...)
		cmd.Env = append(cmd.Env, "GOMEMLIMIT=64MiB")
		kill := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() }) // if it serves
		out, _ := cmd.CombinedOutput()
		kill.Stop()
		if code := cmd.ProcessState.ExitCode(); code != test.code || !regexp.MustCompile(test.says).Match(out) {
			t.Errorf("kvactor %s: exit code %d, %q; want %d, %q", test.args, code, out, test.code, test.says)
		}
	}
}

// The limits are shares of what the system allows, unless the command line says otherwise.
// The log has a line for each limit that is changed, or that is more than its share. The
// test harness sets ADDR, which must not change -addr. TestServerThatDoesNotStart has the limits
// that are errors.
func TestLimits(t *testing.T) {
	t.Setenv("ADDR", "kv:80")
	conns := func(memory int64) int64 { return memory / 4 / httpapi.ConnBytes }
	if n := conns(256 << 20); n < 400 {
		t.Errorf("256 MiB are enough for %d connections, want at least 400", n)
	}
	var help strings.Builder
	parseFlags([]string{"-h"}, system{256 << 20, 1000, 40}, &help)
	if !strings.Contains(help.String(), "others wait (default 24)") {
		t.Errorf("where 40 files may be open, the help does not say that the default of -max-conns is 24:\n%s", &help)
	}
	for _, test := range []struct {
		memory, files                 int64
		args                          string
		store, value, inflight, conns int64
		says                          string
	}{
		{256 << 20, 20_000, "", 96 << 20, 16 << 20, 32 << 20, conns(256 << 20), ""},
		{16 << 30, math.MaxInt64, "", 6 << 30, 64 << 20, 2 << 30, conns(16 << 30), ""},
		{math.MaxInt64, math.MaxInt64, "", 384 << 20, 64 << 20, 128 << 20, conns(1 << 30), ""}, // unknown: as 1 GiB

		{256 << 20, 20_000, "-max-value-bytes 9000000000", 96 << 20, 128 << 20, 128 << 20, conns(256 << 20),
			"-max-value-bytes is 134217728 instead of 9000000000, because a value may take half of the memory at most|" +
				"134217728 bytes in flight each way instead of 33554432, because a value of -max-value-bytes must fit"},
		{256 << 20, 20_000, "-max-store-bytes 268435456", 256 << 20, 16 << 20, 32 << 20, conns(256 << 20),
			"-max-store-bytes is more than 100663296, its share of the memory, so the memory may run out before the store is full"},
		{math.MaxInt64, 20_000, "-max-store-bytes 9000000000000", 9e12, 64 << 20, 128 << 20, conns(1 << 30), ""},

		{256 << 20, 40, "-max-conns 23", 96 << 20, 16 << 20, 32 << 20, 23, ""},
		{256 << 20, 40, "", 96 << 20, 16 << 20, 32 << 20, 24, "-max-conns is 24, because the process may have only 40 files open"},
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
// that the server enforces. A process that may have only 40 files open takes 24 connections,
// and serves all of them.
func TestLimitsAreLoggedAndEnforced(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/limits"); err != nil {
		t.Skip(err)
	}
	cmd := command("kvactor", "-max-value-bytes", "1000", "-max-store-bytes", "2500")
	cmd.Env = append(cmd.Env, fmt.Sprint("GOMEMLIMIT=", 64<<20))
	p := launch(t, shell(cmd, "ulimit -n 40"))
	p.wantLine("Limits: -max-value-bytes=1000 -max-store-bytes=2500 -max-conns=24 GOMEMLIMIT=67108864, 8388608 bytes in flight each way")
	p.wantLine("Limits: -max-conns is 24, because the process may have only 40 files open")

	var uploads []apitest.Client
	for range 24 {
		uploads = append(uploads, p.beginUpload())
	}
	p.wantLine("All 24 connections are taken, others wait")
	for _, c := range uploads {
		c.Close()
	}
	value := strings.Repeat("x", 1000)
	p.want("PUT", "/kv/a", value+"x", 413, "value too large")
	p.want("PUT", "/kv/a", value, 200, "")
	p.want("PUT", "/kv/b", value, 200, "")
	p.want("PUT", "/kv/c", value, 507, "store is full")
}

// The memory is the least of the machine's and of the limits of the process's group and of
// all groups above it.
func TestSystemMemory(t *testing.T) {
	const (
		groups = "proc/self/cgroup"
		v1     = "sys/fs/cgroup/memory/"
		v2     = "sys/fs/cgroup/"
	)
	type files map[string]string
	stat := func(limit int64) string {
		return fmt.Sprintf("cache 0\nhierarchical_memory_limit %d\ntotal_cache 0\n", limit)
	}

	for name, test := range map[string]struct {
		files files
		want  int64
	}{
		"nothing to read": {nil, math.MaxInt64},
		"nothing to understand": {files{"proc/meminfo": "?", groups: "?\n:::\n4:memory:/a\n0::/a\n",
			v1 + "memory.stat": "", v2 + "memory.max": "?"}, math.MaxInt64},
		"a machine":                 {files{"proc/meminfo": "MemTotal:       24684096 kB\nMemFree:        123 kB\n", groups: "0::/a\n"}, 24684096 << 10},
		"less than a group's limit": {files{"proc/meminfo": "MemTotal: 1024 kB\n", groups: "0::/a\n", v2 + "a/memory.max": "268435456\n"}, 1 << 20},

		"version 2":              {files{groups: "0::/a/b\n", v2 + "a/b/memory.max": "1000\n", v2 + "a/memory.max": "2000\n"}, 1000},
		"version 2, less above":  {files{groups: "0::/a/b\n", v2 + "a/b/memory.max": "2000\n", v2 + "a/memory.max": "1000\n", v2 + "memory.max": "max\n"}, 1000},
		"version 2, the root":    {files{groups: "0::/a/b\n", v2 + "a/b/memory.max": "max\n", v2 + "memory.max": "1000\n"}, 1000},
		"version 2, a namespace": {files{groups: "0::/../..\n", v2 + "memory.max": "1000\n"}, 1000},

		"throttled above":            {files{groups: "0::/a/b\n", v2 + "a/b/memory.high": "max\n", v2 + "a/memory.high": "1000\n"}, 1000},
		"throttled below the limit":  {files{groups: "0::/a\n", v2 + "a/memory.max": "2000\n", v2 + "a/memory.high": "1000\n"}, 1000},
		"throttled beyond the limit": {files{groups: "0::/a\n", v2 + "a/memory.max": "1000\n", v2 + "a/memory.high": "2000\n"}, 1000},
		"throttled to nothing":       {files{groups: "0::/a\n", v2 + "a/memory.max": "1000\n", v2 + "a/memory.high": "0\n"}, 1000},

		"version 1":                       {files{groups: "4:cpu,memory:/a:b\n", v1 + "a:b/memory.stat": stat(1000)}, 1000},
		"version 1, the root":             {files{groups: "4:memory:/a/b\n", v1 + "memory.stat": stat(1000)}, 1000},
		"version 1, not the memory group": {files{groups: "5:memory2:/c\n1:cpu:/b\n", v1 + "b/memory.stat": stat(1000), v1 + "c/memory.stat": stat(1000)}, math.MaxInt64},

		"both versions, less in version 1": {files{groups: "4:memory:/a\n0::/a\n", v1 + "a/memory.stat": stat(1000), v2 + "a/memory.max": "2000\n"}, 1000},
		"both versions, less in version 2": {files{groups: "0::/a\n4:memory:/a\n", v1 + "a/memory.stat": stat(2000), v2 + "a/memory.max": "1000\n"}, 1000},
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

// The process may use all the memory of the system, or GOMEMLIMIT if that is less. The limit
// of the collector is 5/8 of the system's memory, or GOMEMLIMIT if that is less.
func TestGOMEMLIMIT(t *testing.T) {
	limit := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(limit)
	root := fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal: 819200 kB\n")}} // 800 MiB
	for _, test := range []struct{ gomemlimit, memory, collector int64 }{
		{math.MaxInt64, 800 << 20, 500 << 20}, // none
		{700 << 20, 700 << 20, 500 << 20},
		{400 << 20, 400 << 20, 400 << 20},
	} {
		debug.SetMemoryLimit(test.gomemlimit)
		want := system{test.memory, test.collector, math.MaxInt64}
		if got := readSystem(root); got != want {
			t.Errorf("GOMEMLIMIT=%d: %+v, want %+v", test.gomemlimit, got, want)
		}
	}
}

// The collector's room is a sixteenth of the memory, and 16 MiB at most. The limit of the
// collector does not count it. The server keeps a GOGC of the user's.
func TestSetCollector(t *testing.T) {
	limit, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(-1)
	defer func() {
		gcRoom = nil
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	}()
	type collector struct{ room, limit, percent int }
	for _, test := range []struct {
		memory int64
		gogc   string
		want   collector
	}{
		{64 << 20, "", collector{4 << 20, 36 << 20, 60}},
		{1 << 30, "200", collector{16 << 20, 528 << 20, 200}},
	} {
		t.Setenv("GOGC", test.gogc)
		debug.SetGCPercent(200) // as the runtime does if GOGC is 200
		setCollector(system{memory: test.memory, gcLimit: test.memory / 2})
		if got := (collector{len(gcRoom), int(debug.SetMemoryLimit(-1)), debug.SetGCPercent(-1)}); got != test.want {
			t.Errorf("%d bytes of memory, GOGC=%s: %+v, want %+v", test.memory, test.gogc, got, test.want)
		}
	}
}
