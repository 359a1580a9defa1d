package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
	"testing/fstest"
	"time"
)

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
		{strconv.FormatInt(2*system, 10), system / 8 * 5, system},
		{strconv.FormatInt(system, 10), system / 8 * 5, system},
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

// readLimits reads the line of the log that follows the first, and returns the limits of
// the server and that of its garbage collector.
func (p *process) readLimits() (cfg config, collector int64) {
	p.t.Helper()
	p.stderr.SetReadDeadline(time.Now().Add(time.Minute)) // in case a line is missing
	line, err := p.log.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(line, "Limits: -max-value-bytes=%d -max-store-bytes=%d -max-conns=%d GOMEMLIMIT=%d, %d bytes in flight each way\n",
			&cfg.http.MaxValueBytes, &cfg.maxStoreBytes, &cfg.http.MaxConns, &collector, &cfg.http.MaxInflightBytes)
	}
	if err != nil {
		p.t.Fatalf("the second line of the log is %q: %v", line, err)
	}
	return cfg, collector
}
