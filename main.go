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

func main() {
	signals := make(chan os.Signal, 1) // for the first one: further signals change nothing
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) { // a shell ignores SIGINT for its background jobs
			signal.Notify(signals, sig)
		}
	}
	signal.Ignore(syscall.SIGPIPE) // if nothing reads stderr any more, the server goes on

	sys := readSystem(os.DirFS("/"))
	setCollector(sys)
	cfg, err := parseFlags(os.Args[1:], sys, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	}

	listener, err := net.Listen("tcp", cfg.addr)
	if err == nil {
		err = run(listener, cfg, signals, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kvactor:", err)
		os.Exit(1)
	}
}

// gcPercent is how much the heap may grow between two collections, in percent, unless GOGC
// says otherwise. With Go's 100 a million keys with values of 100 bytes take 460 bytes of
// resident memory each, and with 60 they take 390.
const gcPercent = 60

// gcRoom counts in what the heap may grow by. Nothing touches it, so it takes no memory. It saves
// 23 % of the CPU time of a GET of 11 bytes.
var gcRoom []byte

// setCollector sets the pace and the limit of the garbage collector.
func setCollector(sys system) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	gcRoom = make([]byte, min(16<<20, sys.memory/16))
	debug.SetMemoryLimit(sys.gcLimit + int64(len(gcRoom))) // the limit counts the room, too
}

type config struct {
	addr          string
	maxStoreBytes int64
	http          httpapi.Config
	limits        []string // lines of the log about the limits
}

// parseFlags returns the configuration that args, the arguments of the command line,
// ask for. If args are wrong or ask for help, parseFlags says so on stderr and returns an
// error.
//
// The memory of the system decides the defaults. It is divided like this: 3/8 for what is
// stored, 1/8 for large values that arrive, 1/8 for those that leave, 1/4 for connections,
// and 1/8 for the rest.
func parseFlags(args []string, sys system, stderr io.Writer) (cfg config, err error) {
	memory := sys.memory
	if memory == math.MaxInt64 {
		memory = 1 << 30
	}
	cfg.http.MaxInflightBytes = max(1, memory/8)

	flags := flag.NewFlagSet("kvactor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.addr, "addr", ":8080", "listen on `host:port`")
	flags.Int64Var(&cfg.http.MaxValueBytes, "max-value-bytes", max(1, min(64<<20, memory/16)),
		"refuse a value of more than `n` bytes")
	flags.Int64Var(&cfg.maxStoreBytes, "max-store-bytes", max(1, memory/8*3),
		"store at most `n` bytes of keys and values, with 128 for each key")
	flags.IntVar(&cfg.http.MaxConns, "max-conns", max(1, min(int(memory/4/httpapi.ConnBytes), sys.maxConns())),
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
	case cfg.maxStoreBytes > sys.memory:
		err = fmt.Errorf("-max-store-bytes is %d, but the process may use only %d bytes of memory", cfg.maxStoreBytes, sys.memory)
	case cfg.http.MaxConns < 1:
		err = errors.New("-max-conns must be at least 1")
	}
	if err != nil {
		fmt.Fprintln(stderr, "kvactor:", err)
		return cfg, err
	}
	cfg.fit(sys)
	return cfg, nil
}

// fit changes limits that do not fit the system, or one another. It writes cfg.limits: the
// limits in force, and a line for each limit that has been changed or that is more than its
// share of the memory.
func (cfg *config) fit(sys system) {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }

	if most := max(1, sys.memory/2); cfg.http.MaxValueBytes > most {
		note("-max-value-bytes is %d instead of %d, because a value may take half of the memory at most", most, cfg.http.MaxValueBytes)
		cfg.http.MaxValueBytes = most
	}
	if least := cfg.http.MaxValueBytes; cfg.http.MaxInflightBytes < least {
		note("%d bytes in flight each way instead of %d, because a value of -max-value-bytes must fit", least, cfg.http.MaxInflightBytes)
		cfg.http.MaxInflightBytes = least
	}
	if share := sys.memory / 8 * 3; cfg.maxStoreBytes > share {
		note("-max-store-bytes is more than %d, its share of the memory, so the memory may run out before the store is full", share)
	}
	if most := sys.maxConns(); cfg.http.MaxConns >= most {
		note("-max-conns is %d, because the process may have only %d files open", most, sys.openFiles)
		cfg.http.MaxConns = most
	}
	if share := sys.memory / 4 / httpapi.ConnBytes; int64(cfg.http.MaxConns) > share {
		note("-max-conns is more than %d, its share of the memory, so the memory may run out before all connections are taken", share)
	}

	cfg.limits = append([]string{fmt.Sprintf(
		"-max-value-bytes=%d -max-store-bytes=%d -max-conns=%d GOMEMLIMIT=%d, %d bytes in flight each way",
		cfg.http.MaxValueBytes, cfg.maxStoreBytes, cfg.http.MaxConns, sys.gcLimit, cfg.http.MaxInflightBytes,
	)}, notes...)
}

// run serves until a signal arrives, and then ends what it has started in the order in
// which that is safe: the requests, the store, the log.
func run(listener net.Listener, cfg config, signals <-chan os.Signal, stderr io.Writer) (err error) {
	log := httpapi.NewLog(stderr)
	store := actor.New(cfg.maxStoreBytes)
	server := httpapi.NewServer(listener, store, log, cfg.http)
	log.Print("Server listening on " + address(listener.Addr().(*net.TCPAddr)))
	for _, line := range cfg.limits {
		log.Print("Limits: " + line)
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve() }()

	select {
	case err = <-failed:
	case <-signals:
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

// A system is what the machine, the container and the environment let the process use. A
// figure that is unknown is math.MaxInt64.
type system struct {
	memory    int64 // in bytes
	gcLimit   int64 // of the garbage collector, in bytes
	openFiles int64
}

// maxConns returns how many connections there may be at most. Each is an open file, and
// the process needs a few others.
func (s system) maxConns() int { return int(min(max(1, s.openFiles-16), math.MaxInt)) }

// readSystem reads what the process may use. Root is the root of the file system.
func readSystem(root fs.FS) system {
	memory := systemMemory(root)
	goLimit := debug.SetMemoryLimit(-1) // GOMEMLIMIT; -1 changes nothing
	return system{
		memory:    min(memory, goLimit),
		gcLimit:   min(memory/8*5, goLimit), // the shares of values; see parseFlags
		openFiles: number(root, "proc/self/limits", "Max open files"),
	}
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
				if high := number(root, path.Join("sys/fs/cgroup", group, "memory.high"), ""); high > 0 {
					memory = min(memory, high) // the kernel slows down a group that has more
				}
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
