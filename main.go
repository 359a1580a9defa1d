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
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kvactor/actor"
	"kvactor/httpapi"
)

// How long the end may take after a signal, in the order of the steps. The sum is
// less than the five seconds after which clstr, the test harness, kills the process.
const (
	finishTimeout  = 4 * time.Second        // for requests to end
	respondTimeout = 150 * time.Millisecond // for the last responses, and for connections to end
	flushTimeout   = 500 * time.Millisecond // for the last lines of the log
)

func main() {
	signaled, stopNotify := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // if nothing reads stderr any more, the server goes on

	memory := limitMemory(systemMemory(os.DirFS("/")))
	cfg, err := parseFlags(os.Args[1:], memory, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	}
	// The collector runs when the heap has doubled, so while the heap is small it runs
	// all the time. A larger one saves 12 % of the CPU time of a small GET. The ballast is
	// never written to, so it occupies no memory.
	ballast := make([]byte, ballastSize)
	defer runtime.KeepAlive(ballast)

	if err := run(signaled, stopNotify, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "kvactor:", err)
		os.Exit(1)
	}
}

const ballastSize = 32 << 20

type config struct {
	addr          string
	maxStoreBytes int64
	http          httpapi.Config
}

// parseFlags returns the configuration that args, the arguments of the command
// line, ask for. Memory is what the process may use, in bytes, and decides the
// defaults. If args are wrong or ask for help, parseFlags says so on
// stderr and returns an error.
func parseFlags(args []string, memory int64, stderr io.Writer) (cfg config, err error) {
	flags := flag.NewFlagSet("kvactor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.addr, "addr", ":8080", "listen on `host:port`")
	flags.Int64Var(&cfg.http.MaxValueBytes, "max-value-bytes", 64<<20, "refuse a value of more than `n` bytes")
	flags.Int64Var(&cfg.maxStoreBytes, "max-store-bytes", max(1, memory/8*3),
		"store at most `n` bytes, and hold at most a quarter more\nof values that are being sent or received")
	flags.IntVar(&cfg.http.MaxConns, "max-conns", int(max(1, memory/4/connSize)),
		"keep at most `n` connections open; others wait")
	flags.BoolVar(&cfg.http.Quiet, "quiet", false, "do not log a line for each request")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}

	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument: %q", flags.Arg(0))
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
	return cfg, err
}

// connSize is the memory in bytes that a connection may take. A header of many empty
// fields takes most of it, or else the buffers of the socket do.
const connSize = 256 << 10

// run serves until signaled is done, and then ends what it has started in the
// order in which that is safe: the connections, the store, the log. It calls
// stopNotify to let a second signal end the process at once.
func run(signaled context.Context, stopNotify func(), cfg config) error {
	log := httpapi.NewLog(os.Stderr)
	go log.Run()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		log.Stop(ctx)
	}()

	store := actor.New(cfg.maxStoreBytes)
	go store.Run()
	defer store.Stop()

	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	server := httpapi.NewServer(listener, store, log, cfg.http)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve() }()
	log.Print("Server listening on " + address(listener.Addr().(*net.TCPAddr)))

	select {
	case err := <-failed:
		return err
	case <-signaled.Done():
	}
	stopNotify()
	log.Print("Server stopping")
	shutdown(server, store)
	log.Print("Server stopped")
	return nil
}

// shutdown ends server and store. Requests that have begun may finish. Those that do
// not finish in time are cut off. Before that, the store is stopped and the last
// responses are sent, so that no PUT is accepted whose client gets no response.
func shutdown(server *httpapi.Server, store *actor.Store) {
	wait := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		return server.Shutdown(ctx)
	}
	if wait(finishTimeout) == nil {
		return
	}
	store.Stop()
	wait(respondTimeout)
	server.Close()
	wait(respondTimeout)
}

// address returns addr in the form of the log. A listener on all addresses calls
// itself [::].
func address(addr *net.TCPAddr) string {
	if addr.IP.IsUnspecified() {
		return fmt.Sprintf("0.0.0.0:%d", addr.Port)
	}
	return addr.String()
}

// limitMemory returns how much memory the process may use, in bytes: that of the
// system, or GOMEMLIMIT if that is less, or 1 GiB if both are unknown. If the system
// has less than GOMEMLIMIT, it makes the garbage collector keep to 5/8 of that. The
// rest is for the kernel, and for garbage that arrives faster than it is collected.
func limitMemory(system int64) int64 {
	userLimit := debug.SetMemoryLimit(-1) // changes nothing
	if system < userLimit {
		debug.SetMemoryLimit(system/8*5 + ballastSize)
	}
	if system == math.MaxInt64 && userLimit == math.MaxInt64 {
		return 1 << 30
	}
	return min(system, userLimit)
}

// systemMemory returns the limit of the container or the memory of the machine, in
// bytes, whichever is less, or math.MaxInt64 if there is nothing to read. Root is
// the root of the file system.
func systemMemory(root fs.FS) int64 {
	memory := int64(math.MaxInt64)
	for _, file := range []string{
		"sys/fs/cgroup/memory.max",                   // version 2
		"sys/fs/cgroup/memory/memory.limit_in_bytes", // version 1
	} {
		text, _ := fs.ReadFile(root, file)
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			memory = min(memory, n)
		}
	}
	text, _ := fs.ReadFile(root, "proc/meminfo")
	var total int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &total); err == nil {
		memory = min(memory, total<<10)
	}
	return memory
}
