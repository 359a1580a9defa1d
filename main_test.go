package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"kvactor/actor"
	"kvactor/httpapi"
)

// role is an environment variable that has this test binary be a server.
const role = "KVACTOR_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "kvactor":
		main()
	case "bare":
		serveBaseline(bareHandler())
	case "twin":
		serveBaseline(twinHandler())
	default:
		os.Exit(m.Run())
	}
}

// A process is a server in a process of its own.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	addr   string
	stderr *os.File      // whoever wants to know what the log says reads it,
	lines  *bufio.Reader // here, after the line that says that it listens
}

// command returns the command that runs the server with args.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), role+"=kvactor")
	return cmd
}

// launch runs cmd, a server, on a free port, until the test ends.
func launch(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append(cmd.Args, "-addr", "127.0.0.1:0")
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		r.Close()
	})

	p := &process{t: t, cmd: cmd, stderr: r, lines: bufio.NewReader(r)}
	line, err := p.lines.ReadString('\n')
	addr, ok := strings.CutPrefix(line, "Server listening on ")
	if !ok {
		t.Fatalf("the server says %q, %v", line, err)
	}
	p.addr = strings.TrimSpace(addr)
	return p
}

func kvactor(t testing.TB, args ...string) *process {
	t.Helper()
	return launch(t, command(args...))
}

// discardLog reads what the server logs, and forgets it.
func (p *process) discardLog() *process {
	go io.Copy(io.Discard, p.lines)
	return p
}

// signal sends sig to the server.
func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wantExit waits until the server has ended, and checks its exit code.
func (p *process) wantExit(code int) {
	p.t.Helper()
	p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d (%v), want %d", got, p.cmd.ProcessState, code)
	}
}

// A client has one connection to a server.
type client struct {
	t testing.TB
	net.Conn
	answers *bufio.Reader
}

func (p *process) dial() client {
	p.t.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	return client{p.t, conn, bufio.NewReader(conn)}
}

// try sends a request and returns the status and the body of the answer.
func (c client) try(method, path, body string) (int, string, error) {
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body); err != nil {
		return 0, "", err
	}
	return c.answer()
}

func (c client) answer() (int, string, error) {
	if _, err := c.answers.Peek(1); err != nil {
		return 0, "", err // before the answer, not in the middle of it
	}
	resp, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// want sends a request and checks the answer.
func (c client) want(method, path, body string, status int, answer string) {
	c.t.Helper()
	gotStatus, got, err := c.try(method, path, body)
	if err != nil || gotStatus != status || got != answer {
		c.t.Errorf("%s %s: %d %.60q, %v; want %d %.60q", method, path, gotStatus, got, err, status, answer)
	}
}

// The rule of the whole program: no lock, no atomic, no map that is shared.
func TestSafetyComesFromOwnership(t *testing.T) {
	forbidden := regexp.MustCompile(`^sync\.(Mutex|RWMutex|Map|Cond|Once\w*|Locker)$`)
	filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range file.Imports {
			if strings.HasPrefix(imported.Path.Value, `"sync/`) || imported.Path.Value == `"unsafe"` {
				t.Errorf("%s imports %s", path, imported.Path.Value)
			}
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if selector, ok := node.(*ast.SelectorExpr); ok {
				if name := fmt.Sprintf("%s.%s", selector.X, selector.Sel); forbidden.MatchString(name) {
					t.Errorf("%s uses %s", path, name)
				}
			}
			return true
		})
		return nil
	})
}

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-h"}, 0, "-addr"},
		{[]string{"-h"}, 0, "-max-value-bytes"},
		{[]string{"-h"}, 0, "-max-store-bytes"},
		{[]string{"-h"}, 0, "-quiet"},
		{[]string{"-port", "80"}, 2, "not defined: -port"},
		{[]string{"serve"}, 2, `unexpected argument: "serve"`},
		{[]string{"-max-value-bytes", "0"}, 2, "-max-value-bytes must be at least 1"},
		{[]string{"-max-value-bytes", "64MiB"}, 2, "-max-value-bytes"},
		{[]string{"-max-store-bytes", "-1"}, 2, "-max-store-bytes must be at least 1"},
		{[]string{"-quiet=maybe"}, 2, "-quiet"},
		{[]string{"-addr", "nowhere"}, 1, "nowhere"},
		{[]string{"-addr", "127.0.0.1:99999"}, 1, "99999"},
	} {
		cmd := command(test.args...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.says) {
			t.Errorf("kvactor %v exits with %d and says %q, want %d and %q", test.args, code, out, test.code, test.says)
		}
	}
}

func TestPortInUse(t *testing.T) {
	p := kvactor(t)
	cmd := command("-addr", p.addr)
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "address already in use") {
		t.Errorf("exit code %d, %q", cmd.ProcessState.ExitCode(), out)
	}
}

func TestLog(t *testing.T) {
	p := kvactor(t)
	c := p.dial()
	c.want("PUT", "/kv/kenya:capital", "Nairobi", 200, "")
	c.want("GET", "/kv/kenya:capital", "", 200, "Nairobi")
	c.want("DELETE", "/kv/kenya:capital", "", 200, "")
	c.want("GET", "/kv/kenya:capital", "", 404, "key not found")
	c.want("DELETE", "/clear", "", 200, "")
	c.want("PUT", "/kv/a", "1\nDELETE /clear accepted", 200, "")
	c.want("GET", "/kv/a%0ADELETE%20/clear%20accepted", "", 400, "key contains invalid characters")
	p.signal(syscall.SIGTERM)

	log, _ := io.ReadAll(p.lines)
	if want := `PUT /kv/kenya:capital accepted, value=Nairobi
GET /kv/kenya:capital returning 200
DELETE /kv/kenya:capital accepted
GET /kv/kenya:capital returning 404
DELETE /clear accepted
PUT /kv/a accepted, value="1\nDELETE /clear accepted"
GET /kv/"a\nDELETE /clear accepted" returning 400
Server stopping
Server stopped
`; string(log) != want {
		t.Errorf("logged\n%s\nwant\n%s", log, want)
	}
	p.wantExit(0)
}

func TestQuiet(t *testing.T) {
	p := kvactor(t, "-quiet")
	p.dial().want("PUT", "/kv/a", "1", 200, "")
	p.dial().want("POST", "/kv/a", "1", 405, "method not allowed")
	p.signal(syscall.SIGTERM)
	if log, _ := io.ReadAll(p.lines); string(log) != "Server stopping\nServer stopped\n" {
		t.Errorf("logged %q", log)
	}
	p.wantExit(0)
}

func TestLimits(t *testing.T) {
	p := kvactor(t, "-max-value-bytes", "1000", "-max-store-bytes", "2500")
	c := p.dial()
	value := strings.Repeat("x", 1000)
	c.want("PUT", "/kv/a", value, 200, "")
	c.want("PUT", "/kv/a", value+"x", 413, "value too large")
	c = p.dial()
	c.want("PUT", "/kv/b", value, 200, "")
	c.want("PUT", "/kv/c", value, 507, "store is full")
	c.want("GET", "/kv/a", "", 200, value)
}

// Whoever has begun is answered; whoever has nothing under way holds up nothing.
func TestStop(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		p := kvactor(t).discardLog()
		idle := p.dial()
		idle.want("GET", "/health", "", 200, "")
		uploading := p.dial()
		io.WriteString(uploading, "PUT /kv/a HTTP/1.1\r\nHost: kv\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
		if status, _, err := uploading.answer(); status != http.StatusContinue {
			t.Fatal(status, err)
		}

		silent := p.dial()
		p.dial().want("GET", "/health", "", 200, "") // so the silent one is accepted

		p.signal(sig)
		for _, c := range []client{idle, silent} { // at once, or the upload would be cut off too
			if _, err := c.answers.ReadByte(); err != io.EOF {
				t.Errorf("a connection without a request reads %v", err)
			}
		}
		if conn, err := net.Dial("tcp", p.addr); err == nil {
			conn.Close()
			t.Error("a new connection is accepted")
		}
		io.WriteString(uploading, "0123456789")
		if status, answer, err := uploading.answer(); status != 200 || err != nil {
			t.Errorf("%v: the upload under way is answered %d %q, %v", sig, status, answer, err)
		}
		p.wantExit(0)
	}
}

func TestStopCutsOffWhoDoesNotFinish(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a stop may")
	}
	p := kvactor(t).discardLog()
	p.dial() // silent
	half := p.dial()
	io.WriteString(half, "GET /kv/a HT")
	endless := p.dial()
	io.WriteString(endless, "PUT /kv/a HTTP/1.1\r\nHost: kv\r\nTransfer-Encoding: chunked\r\n\r\n")
	go func() {
		for range time.Tick(10 * time.Millisecond) { // it moves, and never ends
			if _, err := io.WriteString(endless, "1\r\nx\r\n"); err != nil {
				return
			}
		}
	}()
	p.dial().want("GET", "/health", "", 200, "")
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
}

func TestSecondSignal(t *testing.T) {
	p := kvactor(t)
	uploading := p.dial()
	io.WriteString(uploading, "PUT /kv/a HTTP/1.1\r\nHost: kv\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
	uploading.answer()

	p.signal(syscall.SIGTERM)
	if line, err := p.lines.ReadString('\n'); line != "Server stopping\n" {
		t.Fatal(line, err)
	}
	p.signal(syscall.SIGTERM)
	p.cmd.Wait()
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", p.cmd.ProcessState)
	}
}

// A stop in the middle of load cuts no answer short, and loses nothing that was
// accepted before it.
func TestStopUnderLoad(t *testing.T) {
	p := kvactor(t).discardLog()
	value := strings.Repeat("value ", 5000)
	p.dial().want("PUT", "/kv/a", value, 200, "")

	var wg, answered sync.WaitGroup
	for range 50 {
		c := p.dial()
		answered.Add(1)
		wg.Go(func() {
			for i := 0; ; i++ {
				if i == 10 {
					answered.Done()
				}
				status, body, err := c.try("GET", "/kv/a", "")
				if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && (status != 200 || body != value) {
					t.Errorf("an answer is cut short: %d, %d bytes, %v", status, len(body), err)
				}
				if err != nil {
					return // between two answers
				}
			}
		})
	}
	answered.Wait()
	p.signal(syscall.SIGTERM)
	wg.Wait()
	p.wantExit(0)
}

// While nobody reads stderr the server serves; afterwards it says what is lost.
func TestNobodyReadsTheLog(t *testing.T) {
	p := kvactor(t)
	c := p.dial()
	key := strings.Repeat("long", 15)
	const requests = 20_000
	for range requests {
		c.want("GET", "/kv/"+key, "", 404, "key not found")
	}

	p.signal(syscall.SIGTERM) // and now somebody reads
	lines, dropped := 0, 0
	for {
		line, err := p.lines.ReadString('\n')
		if err != nil {
			break
		}
		var n int
		if strings.HasPrefix(line, "GET ") {
			lines++
		} else if _, err := fmt.Sscanf(line, "Log dropped %d lines", &n); err == nil {
			dropped += n
		}
	}
	// The lines that say that it stops may be among the dropped.
	if sum := lines + dropped; dropped == 0 || sum < requests || sum > requests+2 {
		t.Errorf("%d lines and %d dropped, of %d", lines, dropped, requests)
	}
	p.wantExit(0)
}

func TestReaderOfTheLogGoes(t *testing.T) {
	p := kvactor(t)
	p.stderr.Close()
	c := p.dial()
	for range 100 {
		c.want("PUT", "/kv/a", "1", 200, "")
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
}

// A store that is full, of whatever, keeps the process within bounds.
func TestFullStoreKeepsTheProcessInBounds(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	binary := filepath.Join(t.TempDir(), "kvactor") // without the race detector's memory
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const store = 16 << 20
	p := launch(t, exec.Command(binary, "-max-store-bytes", strconv.Itoa(store))).discardLog()
	bound := func(what string) {
		t.Helper()
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		var most int
		fmt.Sscanf(regexp.MustCompile(`VmHWM:\s+\d+`).FindString(string(status)), "VmHWM: %d", &most)
		if most <<= 10; most > 10*store { // most of it is headroom of the collector
			t.Errorf("%s, the process has taken %d MiB for a store of %d", what, most>>20, store>>20)
		}
	}

	keys := 0
	for _, length := range []int{1, 1 << 20, 5 << 20, 1} {
		value := strings.Repeat("x", length)
		for keys = 0; ; keys += 1000 {
			if fill(t, p, keys, 1000, value) < 1000 {
				break
			}
		}
		bound(fmt.Sprintf("full of values of %d bytes", length))
		c := p.dial()
		c.want("GET", "/kv/0", "", 200, value)
		c.want("PUT", "/kv/0", value, 200, "")
		c.want("DELETE", "/clear", "", 200, "")
		c.want("GET", "/kv/0", "", 404, "key not found")
	}
}

// fill puts up to n values under the keys from first, and returns how many the
// store had room for. The requests are pipelined.
func fill(t *testing.T, p *process, first, n int, value string) (stored int) {
	c := p.dial()
	defer c.Close()
	go func() {
		for i := range n {
			fmt.Fprintf(c, "PUT /kv/%d HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n\r\n%s", first+i, len(value), value)
		}
	}()
	for range n {
		status, answer, err := c.answer()
		switch {
		case status == http.StatusInsufficientStorage:
			return stored
		case status != http.StatusOK || err != nil:
			t.Fatalf("%d %s, %v", status, answer, err)
		}
		stored++
	}
	return stored
}

// The clients of TestFaults do what clients should not.
func TestFaults(t *testing.T) {
	p := kvactor(t).discardLog()
	value := strings.Repeat("value ", 1<<20/6)
	good := p.dial()
	good.want("PUT", "/kv/good", value, 200, "")

	for _, fault := range []struct {
		name  string
		count int
		do    func(c client)
	}{
		{"half a header", 1000, func(c client) { io.WriteString(c, "GET /kv/good HTTP/1.1\r\nHost: k") }},
		{"megabytes declared, a byte sent", 300, func(c client) {
			io.WriteString(c, "PUT /kv/bad HTTP/1.1\r\nHost: kv\r\nContent-Length: 60000000\r\n\r\nx")
		}},
		{"megabytes asked for, none read", 100, func(c client) {
			c.Conn.(*net.TCPConn).SetReadBuffer(4096)
			io.WriteString(c, strings.Repeat("GET /kv/good HTTP/1.1\r\nHost: kv\r\n\r\n", 5))
		}},
		{"an upload cut anywhere", 300, func(c client) {
			io.WriteString(c, "PUT /kv/bad HTTP/1.1\r\nHost: kv\r\nContent-Length: 100000\r\n\r\n")
			io.WriteString(c, value[:rand.IntN(100_000)])
			c.Close()
		}},
		{"a reset", 300, func(c client) {
			c.Conn.(*net.TCPConn).SetLinger(0)
			io.WriteString(c, "PUT /kv/bad HTTP/1.1\r\nHost: kv\r\nContent-Length: 100000\r\n\r\nx")
			c.Close()
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			for range fault.count {
				fault.do(p.dial())
			}
			for range 10 {
				good.want("GET", "/kv/good", "", 200, value)
				good.want("PUT", "/kv/other", "1", 200, "")
				p.dial().want("GET", "/kv/bad", "", 404, "key not found")
			}
		})
	}
}

func TestManyConnections(t *testing.T) {
	connections := 5000
	if testing.Short() {
		connections = 500
	}
	p := kvactor(t).discardLog()
	var wg sync.WaitGroup
	all := make([]client, connections)
	for i := range all {
		all[i] = p.dial()
	}
	for i, c := range all { // all of them are open
		wg.Go(func() {
			value := fmt.Sprintf("value of %d", i)
			c.want("PUT", fmt.Sprintf("/kv/%d", i), value, 200, "")
			c.want("GET", fmt.Sprintf("/kv/%d", i), "", 200, value)
		})
	}
	wg.Wait()
}

// A pipe is a listener that has a single connection, in memory, whose deadlines
// go by the clock of a synctest bubble.
type pipe chan net.Conn

func (p pipe) Accept() (net.Conn, error) {
	if conn, open := <-p; open {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipe) Close() error   { return nil }
func (p pipe) Addr() net.Addr { return &net.TCPAddr{} }

func TestSilentClientsAreCutOff(t *testing.T) {
	const health = "GET /health HTTP/1.1\r\nHost: kv\r\n\r\n"
	for _, test := range []struct {
		name  string
		sends func(c net.Conn) // after a first request
		after time.Duration
	}{
		{"nothing sent", func(net.Conn) {}, idleTimeout},
		{"half a header", func(c net.Conn) { io.WriteString(c, health[:30]) }, headerTimeout},
		{"a header, byte by byte", func(c net.Conn) {
			rest := health[4:] // net/http takes less than four bytes for none
			io.WriteString(c, health[:4])
			for i := range rest {
				time.Sleep(time.Second) // of the bubble, which takes no time
				if _, err := io.WriteString(c, rest[i:i+1]); err != nil {
					return
				}
			}
		}, headerTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				store := actor.New(1 << 20)
				go store.Run(ctx)
				server := newServer(httpapi.New(store, 1<<20, nil), io.Discard)
				listener := make(pipe)
				go server.Serve(listener)

				conn, served := net.Pipe()
				listener <- served
				c := client{t, conn, bufio.NewReader(conn)}
				for range 3 { // an idle connection is good for another request
					go io.WriteString(conn, health)
					if status, _, err := c.answer(); status != 200 || err != nil {
						t.Fatal(status, err)
					}
					time.Sleep(idleTimeout - time.Second)
				}
				go io.WriteString(conn, health)
				if status, _, err := c.answer(); status != 200 || err != nil {
					t.Fatal(status, err)
				}

				start := time.Now()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					test.sends(conn)
				}()
				c.answers.ReadByte() // until it is cut off
				if waited := time.Since(start); waited != test.after {
					t.Errorf("it is cut off after %v, want %v", waited, test.after)
				}
				<-sent
				close(listener)
				stop()
			})
		})
	}
}

// The collector is tuned only where the user has not tuned it.
func TestTuneGC(t *testing.T) {
	const limit = 1 << 30
	percent, memory := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(memory)
	})

	const ballast = 96 << 20
	for _, test := range []struct {
		gogc, gomemlimit string
		percent          int
		memory           int64
		ballast          bool
	}{
		{"", "", 35, limit/4*3 + ballast, true},
		{"100", "", 100, limit / 4 * 3, false},
		{"", "50MiB", 100, math.MaxInt64, false},
		{"100", "50MiB", 100, math.MaxInt64, false},
	} {
		t.Setenv("GOGC", test.gogc)
		t.Setenv("GOMEMLIMIT", test.gomemlimit)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		done := tuneGC(limit)
		runtime.ReadMemStats(&after)
		done()

		if got := debug.SetGCPercent(100); got != test.percent {
			t.Errorf("GOGC=%q GOMEMLIMIT=%q: percent %d, want %d", test.gogc, test.gomemlimit, got, test.percent)
		}
		if got := debug.SetMemoryLimit(math.MaxInt64); got != test.memory {
			t.Errorf("GOGC=%q GOMEMLIMIT=%q: limit %d, want %d", test.gogc, test.gomemlimit, got, test.memory)
		}
		// Goroutines of other tests may allocate as well, but not that much.
		if got := after.TotalAlloc-before.TotalAlloc >= ballast; got != test.ballast {
			t.Errorf("GOGC=%q GOMEMLIMIT=%q: a ballast is %t, want %t", test.gogc, test.gomemlimit, got, test.ballast)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	const meminfo = "MemTotal:       24684096 kB\nMemFree:        123 kB\n"
	for name, test := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing to read": {nil, 1 << 30},
		"a machine":       {map[string]string{"proc/meminfo": meminfo}, 24684096 << 10},
		"version 2, in a container": {map[string]string{
			"proc/meminfo":             meminfo,
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "268435456\n",
		}, 256 << 20},
		"version 2, without a limit": {map[string]string{
			"proc/meminfo":             meminfo,
			"proc/self/cgroup":         "0::/\n",
			"sys/fs/cgroup/memory.max": "max\n",
		}, 24684096 << 10},
		"version 2, a limit further up": {map[string]string{
			"proc/self/cgroup":             "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n",
			"sys/fs/cgroup/a/memory.max":   "1000000\n",
		}, 1000000},
		"version 1, in a container": {map[string]string{
			"proc/meminfo":     meminfo,
			"proc/self/cgroup": "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
		}, 256 << 20},
		"version 1, without a limit": {map[string]string{
			"proc/meminfo":     meminfo,
			"proc/self/cgroup": "4:memory:/a\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n",
		}, 24684096 << 10},
	} {
		root := make(fstest.MapFS)
		for path, text := range test.files {
			root[path] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := memoryLimit(root); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestAddress(t *testing.T) {
	for addr, want := range map[string]string{
		"[::]:8080":      "0.0.0.0:8080",
		"0.0.0.0:8080":   "0.0.0.0:8080",
		"127.0.0.1:8080": "127.0.0.1:8080",
		"[::1]:8080":     "[::1]:8080",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := address(tcp); got != want {
			t.Errorf("%s is shown as %s, want %s", addr, got, want)
		}
	}
}

// What the server costs, beside a handler of net/http that answers with a
// constant, and beside a twin whose handlers share a map and a lock. All three
// run with their default settings, each in a process of its own, and take turns
// at the same load from 50 connections. It reports ratios: of the requests that
// are answered in a second, of the CPU time that the server's process takes for
// them, and of the 99th percentile of the time to an answer. Give it rounds:
//
//	go test -run '^$' -bench Server -benchtime 20x .
func BenchmarkServer(b *testing.B) {
	small, large := "hello world", strings.Repeat("x", 1<<20)
	for _, load := range []struct {
		name, method, value string
		requests            int // in a round
	}{
		{"GET 11 bytes", "GET", small, 20_000},
		{"PUT 11 bytes", "PUT", small, 20_000},
		{"GET 1 MiB", "GET", large, 1000},
		{"PUT 1 MiB", "PUT", large, 500},
	} {
		for _, against := range []string{"bare", "twin", "quiet"} {
			b.Run(load.name+"/against "+against, func(b *testing.B) {
				baseline := command("-quiet")
				if against != "quiet" {
					baseline = command()
					baseline.Env = append(baseline.Env, role+"="+against)
				}
				servers := [2]*process{kvactor(b).discardLog(), launch(b, baseline).discardLog()}

				var took [2]time.Duration
				var latencies [2][]time.Duration
				conns := [2][]client{}
				for i, p := range servers {
					for range 50 {
						conns[i] = append(conns[i], p.dial())
					}
					if status, answer, err := conns[i][0].try("PUT", "/kv/key", load.value); status != 200 || err != nil {
						b.Fatal(status, answer, err)
					}
				}
				for b.Loop() {
					for i := range servers {
						start := time.Now()
						latencies[i] = append(latencies[i], drive(b, conns[i], load.method, load.value, load.requests)...)
						took[i] += time.Since(start)
					}
				}

				var cpu [2]time.Duration
				var p99 [2]time.Duration
				for i, p := range servers {
					p.cmd.Process.Kill()
					p.cmd.Wait()
					cpu[i] = p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
					slices.Sort(latencies[i])
					p99[i] = latencies[i][len(latencies[i])*99/100]
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(took[1])/float64(took[0]), "req/s-ratio")
				b.ReportMetric(float64(cpu[0])/float64(cpu[1]), "cpu-ratio")
				b.ReportMetric(float64(p99[0])/float64(p99[1]), "p99-ratio")
				b.ReportMetric(float64(cpu[0].Microseconds())/float64(len(latencies[0])), "cpu-µs/req")
			})
		}
	}
}

// drive sends n requests over conns, and returns how long each took.
func drive(b *testing.B, conns []client, method, value string, n int) []time.Duration {
	if method == "GET" {
		value = ""
	}
	request := fmt.Appendf(nil, "%s /kv/key HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n\r\n%s", method, len(value), value)
	if value == "" {
		request = []byte("GET /kv/key HTTP/1.1\r\nHost: kv\r\n\r\n")
	}

	latencies := make([]time.Duration, n/len(conns)*len(conns))
	var wg sync.WaitGroup
	for i, c := range conns {
		mine := latencies[i*n/len(conns):][:n/len(conns)]
		wg.Go(func() {
			for i := range mine {
				start := time.Now()
				if _, err := c.Write(request); err != nil {
					b.Error(err)
					return
				}
				if err := c.skipAnswer(); err != nil {
					b.Error(err)
					return
				}
				mine[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	return latencies
}

// skipAnswer reads an answer at the least price: the load shares the machine
// with the server that it measures.
func (c client) skipAnswer() error {
	length := 0
	for first := true; ; first = false {
		line, err := c.answers.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")):
			return fmt.Errorf("answered %q", line)
		case len(line) == 2:
			_, err := c.answers.Discard(length)
			return err
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
}

// serveBaseline serves handler the way the server itself is started.
func serveBaseline(handler http.Handler) {
	listener, err := net.Listen("tcp", os.Args[len(os.Args)-1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "Server listening on", listener.Addr())
	log.Fatal(http.Serve(listener, handler))
}

// bareHandler answers every GET with what was put last, and keeps nothing else.
func bareHandler() http.Handler {
	var value []byte
	var length string
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "GET" && len(value) > 2<<10:
			w.Header().Set("Content-Length", length)
			w.Write(value)
		case r.Method == "GET":
			w.Write(value)
		case value == nil:
			value, _ = io.ReadAll(r.Body)
			length = strconv.Itoa(len(value))
		default:
			io.Copy(io.Discard, r.Body)
		}
	})
}

// twinHandler is what one would write with a lock.
func twinHandler() http.Handler {
	var mu sync.RWMutex
	data := make(map[string]string)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kv/{key}", func(w http.ResponseWriter, r *http.Request) {
		mu.RLock()
		value, found := data[r.PathValue("key")]
		mu.RUnlock()
		if !found {
			http.Error(w, "key not found", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(value)))
		io.WriteString(w, value)
	})
	mux.HandleFunc("PUT /kv/{key}", func(w http.ResponseWriter, r *http.Request) {
		value, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		data[r.PathValue("key")] = string(value)
		mu.Unlock()
	})
	return mux
}
