// Kvactor is a key–value store over HTTP whose map belongs to one goroutine.
//
// This file connects the owner of the map and the owner of the log to an HTTP
// server, and holds what belongs to the process: flags, memory, signals, exit
// codes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"os/signal"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kvactor/actor"
	"kvactor/httpapi"
)

// After a signal, requests have requestsTimeout to end, and the log has until
// endTimeout to write its last lines. This is less than the five seconds after which
// clstr, the test harness, kills the process.
const (
	requestsTimeout = 4 * time.Second
	endTimeout      = 4500 * time.Millisecond
)

// gcPercent is how much the heap grows before the garbage collector runs, in percent
// of what is in use. With the default of 100 the collector runs often while the store
// is small: a GET of 11 bytes takes 11 % more CPU time.
const gcPercent = 400

func main() {
	signals := make(chan os.Signal, 2)
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) { // a shell ignores SIGINT for its background jobs
			signal.Notify(signals, sig)
		}
	}
	signal.Ignore(syscall.SIGPIPE) // if nothing reads stderr any more, the server goes on

	system := systemMemory(os.DirFS("/"))
	goLimit := debug.SetMemoryLimit(-1) // GOMEMLIMIT; -1 changes nothing
	cfg, err := parseFlags(os.Args[1:], min(system, goLimit), os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	}
	debug.SetMemoryLimit(min(system/8*5, goLimit)) // the shares of values; see parseFlags
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}

	if err := run(cfg, signals, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "kvactor:", err)
		os.Exit(1)
	}
}

type config struct {
	addr          string
	maxStoreBytes int64
	http          httpapi.Config
}

// parseFlags returns the configuration that args, the arguments of the command line,
// ask for. Memory is what the process may use, in bytes, or math.MaxInt64 if that is
// unknown, and decides the defaults. If args are wrong or ask for help, parseFlags says
// so on stderr and returns an error.
//
// The memory is divided like this: 3/8 for what is stored, 1/8 for large values that
// arrive, 1/8 for those that leave, 1/4 for connections, and 1/8 for the rest.
func parseFlags(args []string, memory int64, stderr io.Writer) (cfg config, err error) {
	if memory == math.MaxInt64 {
		memory = 1 << 30
	}
	inflight := memory / 8

	flags := flag.NewFlagSet("kvactor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.addr, "addr", ":8080", "listen on `host:port`")
	flags.Int64Var(&cfg.http.MaxValueBytes, "max-value-bytes", max(1, min(64<<20, inflight/2)),
		"refuse a value of more than `n` bytes")
	flags.Int64Var(&cfg.maxStoreBytes, "max-store-bytes", max(1, memory/8*3),
		"store at most `n` bytes of keys and values, with 128 for each key")
	flags.IntVar(&cfg.http.MaxConns, "max-conns", int(max(1, memory/4/httpapi.ConnBytes)),
		"keep at most `n` connections open; others wait")
	flags.BoolVar(&cfg.http.Quiet, "quiet", false, "do not log a line for each request")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}

	_, port, err := net.SplitHostPort(cfg.addr)
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument: %q", flags.Arg(0))
	case err != nil || port == "":
		err = errors.New("-addr must be host:port, or :port for all hosts")
	case cfg.http.MaxValueBytes < 1:
		err = errors.New("-max-value-bytes must be at least 1")
	case cfg.maxStoreBytes < 1:
		err = errors.New("-max-store-bytes must be at least 1")
	case cfg.http.MaxConns < 1:
		err = errors.New("-max-conns must be at least 1")
	}
	if err != nil {
		fmt.Fprintln(stderr, "kvactor:", err)
	}

	cfg.http.MaxValueBytes = max(1, min(cfg.http.MaxValueBytes, memory/2)) // so that one fits
	cfg.http.MaxInflightBytes = max(inflight, cfg.http.MaxValueBytes)
	return cfg, err
}

// run serves until a signal arrives, and then ends what it has started in the order in
// which that is safe: the requests, the store, the log. A second signal ends the
// process at once.
func run(cfg config, signals chan os.Signal, stderr io.Writer) error {
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	log := httpapi.NewLog(stderr)
	store := actor.New(cfg.maxStoreBytes)
	server := httpapi.NewServer(listener, store, log, cfg.http)
	log.Print("Server listening on " + address(listener.Addr().(*net.TCPAddr)))
	log.Print(limits(cfg))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve() }()

	select {
	case err = <-failed:
	case <-signals:
		signal.Stop(signals)
		if len(signals) > 0 {
			return errors.New("stopped by a second signal")
		}
		log.Print("Server stopping")
	}

	start := time.Now()
	requests, cancel := context.WithDeadline(context.Background(), start.Add(requestsTimeout))
	defer cancel()
	if server.Shutdown(requests) != nil {
		server.Close()
	}
	store.Stop()

	log.Print("Server stopped")
	end, cancel := context.WithDeadline(context.Background(), start.Add(endTimeout))
	defer cancel()
	log.Stop(end)
	return err
}

// address returns addr in the form of the log. A listener on all addresses calls
// itself [::].
func address(addr *net.TCPAddr) string {
	if addr.IP.IsUnspecified() {
		return fmt.Sprintf("0.0.0.0:%d", addr.Port)
	}
	return addr.String()
}

// limits returns the limits in force, in the form of the log.
func limits(cfg config) string {
	return fmt.Sprintf("Limits: -max-value-bytes=%d -max-store-bytes=%d -max-conns=%d GOMEMLIMIT=%d, %d bytes in flight each way",
		cfg.http.MaxValueBytes, cfg.maxStoreBytes, cfg.http.MaxConns, debug.SetMemoryLimit(-1), cfg.http.MaxInflightBytes)
}

// systemMemory returns how much memory the process may use, in bytes: the memory of the
// machine, or the limit of the process's control group or of a group above it, whichever
// is least. It returns math.MaxInt64 if there is nothing to read. Root is the root of the
// file system.
func systemMemory(root fs.FS) int64 {
	memory := number(root, "proc/meminfo", "MemTotal:") // in kB
	if memory < math.MaxInt64 {
		memory <<= 10
	}
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		// A line is ID:controllers:group. Version 2 names no controllers.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		// A container may see its own group as the root, whatever the line says.
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			switch {
			case fields[1] == "":
				memory = min(memory, number(root, path.Join("sys/fs/cgroup", group, "memory.max"), ""))
			case slices.Contains(strings.Split(fields[1], ","), "memory"):
				memory = min(memory, number(root, path.Join("sys/fs/cgroup/memory", group, "memory.stat"), "hierarchical_memory_limit"))
			}
			if group == "/" {
				break
			}
		}
	}
	return memory
}

// number returns the number that follows name in a file, or math.MaxInt64 if there is
// none.
func number(root fs.FS, file, name string) int64 {
	text, _ := fs.ReadFile(root, file)
	_, rest, _ := strings.Cut(string(text), name)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return math.MaxInt64
	}
	return n
}
