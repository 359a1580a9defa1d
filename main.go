// Kvactor is a key–value store over HTTP whose map belongs to one goroutine.
//
// This file wires the two owners, that of the map and that of the request log,
// to an HTTP server, and holds the process: flags, memory, signals, exit codes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kvactor/actor"
	"kvactor/httpapi"
)

const (
	headerTimeout = 5 * time.Second // to send the headers of a request
	idleTimeout   = 2 * time.Minute // between two requests of a connection
	stopTimeout   = 4 * time.Second // to finish what has begun, after a signal
	flushTimeout  = time.Second / 2 // for the last lines of the log, after that

	maxHeaderBytes = 64 << 10
)

func main() {
	limit := memoryLimit(os.DirFS("/"))

	cfg, err := parseFlags(os.Args[1:], limit/2, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	}

	defer tuneGC(limit)()
	if err := run(cfg); err != nil {
		fmt.Fprintln(os.Stderr, "kvactor:", err)
		os.Exit(1)
	}
}

type config struct {
	addr          string
	maxValueBytes int64
	maxStoreBytes int64
	quiet         bool
}

// parseFlags returns what args, the arguments of the command line, ask for. If
// they are in error, or ask for help, it tells the user before it returns.
func parseFlags(args []string, defaultStoreBytes int64, stderr io.Writer) (cfg config, err error) {
	flags := flag.NewFlagSet("kvactor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.addr, "addr", ":8080", "listen on `host:port`")
	flags.Int64Var(&cfg.maxValueBytes, "max-value-bytes", 64<<20, "refuse a value of more than `n` bytes")
	flags.Int64Var(&cfg.maxStoreBytes, "max-store-bytes", defaultStoreBytes,
		"refuse what would bring the store past `n` bytes; unless given,\nhalf of the memory that the process may use")
	flags.BoolVar(&cfg.quiet, "quiet", false, "do not log a line per request")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}

	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument: %q", flags.Arg(0))
	case cfg.maxValueBytes < 1:
		err = errors.New("-max-value-bytes must be at least 1")
	case cfg.maxStoreBytes < 1:
		err = errors.New("-max-store-bytes must be at least 1")
	}
	if err != nil {
		fmt.Fprintln(stderr, "kvactor:", err)
	}
	return cfg, err
}

// run serves until the process is told to stop, and then stops in order: the
// connections, the store, the log.
func run(cfg config) error {
	signaled, stopNotify := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stopNotify()
	signal.Ignore(syscall.SIGPIPE) // the reader of stderr may go, the server stays

	events := httpapi.NewLog(os.Stderr)
	defer start(events.Run)()

	store := actor.New(cfg.maxStoreBytes)
	defer start(store.Run)()
	if err := store.Ping(signaled); err != nil {
		return err
	}

	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}

	requests := events
	if cfg.quiet {
		requests = nil
	}
	server := newServer(httpapi.New(store, cfg.maxValueBytes, requests), events)
	failed := make(chan error, 1)
	go func() {
		failed <- server.Serve(httpapi.NewListener(signaled, listener))
	}()
	events.Print("Server listening on " + address(listener.Addr().(*net.TCPAddr)))

	select {
	case err := <-failed:
		return err
	case <-signaled.Done():
		stopNotify() // from here on, a signal ends the process at once
	}

	events.Print("Server stopping")
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		server.Close()
	}
	events.Print("Server stopped")
	return nil
}

// newServer returns the server of handler, with the limits that handler can't
// keep by itself. It reports to events.
func newServer(handler http.Handler, events io.Writer) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(events, "", 0),

		DisableGeneralOptionsHandler: true, // OPTIONS * is not in the API
	}
}

// start runs an owner in a goroutine of its own. The function that it returns
// stops the owner, and waits for it, but not forever: the log's may be stuck in
// a write that nobody reads.
func start(run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(ctx)
	}()
	return func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(flushTimeout):
		}
	}
}

// address returns addr in the form of the log. A listener on every address of
// the machine, of IPv6 as well as IPv4, says [::] of itself.
func address(addr *net.TCPAddr) string {
	if addr.IP.IsUnspecified() {
		return fmt.Sprintf("0.0.0.0:%d", addr.Port)
	}
	return addr.String()
}

// tuneGC has the garbage collector run seldom while the heap is small, and in
// time when it is large or the limit is near. Limit is the memory that the
// process may use, in bytes. Where GOGC or GOMEMLIMIT is set, what it says holds
// instead. The settings hold until done is called.
//
// GOGC lets the heap grow in proportion to what is alive: either too little for
// a small heap, or too much for a large one. So it is low here, and part of what
// is alive is a ballast: memory that is counted, but never touched, and so takes
// up no room.
func tuneGC(limit int64) (done func()) {
	userLimit := os.Getenv("GOMEMLIMIT") != ""
	var ballast []byte
	if os.Getenv("GOGC") == "" && !userLimit { // it would use up the user's limit
		ballast = make([]byte, 96<<20)
		debug.SetGCPercent(35)
	}
	if !userLimit {
		// The last quarter is for what arrives while the collector works.
		debug.SetMemoryLimit(limit/4*3 + int64(len(ballast)))
	}
	return func() { runtime.KeepAlive(ballast) }
}

// memoryLimit returns how much memory this process may use, in bytes: what its
// control groups leave it, or else what the machine has, or else 1 GiB. Root is
// the root of the file system; what is not there, as on other systems than
// Linux, limits nothing.
func memoryLimit(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	lower := func(number string, unit int64) {
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			limit = min(limit, n*unit)
		}
	}

	meminfo, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(meminfo)) {
		if total, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			lower(strings.TrimSpace(strings.TrimSuffix(total, "kB\n")), 1<<10)
		}
	}

	// Each line is hierarchy:controllers:group, and version 2 names no
	// controllers. In a container the groups above its own may be out of
	// sight; its own is then at the top.
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		top, file := "sys/fs/cgroup", "memory.max"
		if fields[1] != "" {
			if !slices.Contains(strings.Split(fields[1], ","), "memory") {
				continue
			}
			top, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			bytes, _ := fs.ReadFile(root, path.Join(top, group, file))
			lower(strings.TrimSpace(string(bytes)), 1)
			if group == "/" {
				break
			}
		}
	}

	if limit == math.MaxInt64 {
		return 1 << 30
	}
	return limit
}
