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
	"maps"
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
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"kvactor/httpapi"
	"kvactor/httpapi/apitest"
)

// role is the environment variable that makes this test binary a server.
const role = "KVACTOR_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "kvactor":
		main()
	case "bare":
		serveBare()
	case "twin":
		serveTwin()
	default:
		os.Exit(m.Run())
	}
}

// A process is a server in a process of its own.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	addr   string
	stderr *os.File
	log    *bufio.Reader // reads from stderr, after the line with the address
}

// command returns the command that runs the server with args.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), role+"=kvactor")
	return cmd
}

// launch runs cmd, which is a server, on a free port until the test ends.
func launch(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd.Args = append(cmd.Args, "-addr", "127.0.0.1:0")
	cmd.Stderr = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, stderr: r, log: bufio.NewReader(r)}
	t.Cleanup(p.kill)

	line, err := p.log.ReadString('\n')
	addr, found := strings.CutPrefix(line, "Server listening on ")
	if !found {
		t.Fatalf("the first line of the log is %q, %v", line, err)
	}
	p.addr = strings.TrimSpace(addr)
	return p
}

// kvactor launches the server with args.
func kvactor(t testing.TB, args ...string) *process {
	t.Helper()
	return launch(t, command(args...))
}

// discardLog reads what the server logs from now on.
func (p *process) discardLog() *process {
	go io.Copy(io.Discard, p.log)
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// signal sends sig to the server.
func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wantExit waits until the server has ended and checks its exit code.
func (p *process) wantExit(code int) {
	p.t.Helper()
	p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("the server ended with %v, want exit code %d", p.cmd.ProcessState, code)
	}
}

// memory returns a size in bytes that Linux knows of the server: VmRSS is what it
// occupies, and VmHWM is the most that it has occupied.
func (p *process) memory(name string) int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var kB int64
	_, rest, _ := strings.Cut(string(status), name+":")
	if _, err := fmt.Sscanf(rest, "%d kB", &kB); err != nil {
		p.t.Fatalf("%s: %v", name, err)
	}
	return kB << 10
}

func (p *process) dial() apitest.Client {
	p.t.Helper()
	return apitest.Dial(p.t, p.addr)
}

// beginUpload sends the header of a PUT of 10 bytes to /kv/a. The server has begun
// to serve it when beginUpload returns.
func (p *process) beginUpload() apitest.Client {
	p.t.Helper()
	c := p.dial()
	c.Send("PUT /kv/a HTTP/1.1\r\nHost: kv\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
	if resp, _, err := c.Response("PUT"); err != nil || resp.StatusCode != http.StatusContinue {
		p.t.Fatalf("%v, %v; want 100 Continue", resp, err)
	}
	return c
}

// pipeline sends up to n requests on one connection without waiting for responses.
// It returns how many were served with status 200 before one was not, and what was
// wrong with that one.
func (p *process) pipeline(n int, write func(w *bufio.Writer, i int) error) (served int, err error) {
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		return 0, err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		w := bufio.NewWriterSize(conn, 64<<10)
		for i := range n {
			if write(w, i) != nil {
				return
			}
		}
		w.Flush()
	}()
	c := apitest.New(p.t, conn)
	for served < n && err == nil {
		if err = c.Skip(); err == nil {
			served++
		}
	}
	// What was sent after a failure is served, too. Wait for that.
	conn.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c.R)
	conn.Close()
	<-sent
	return served, err
}

// writePut writes a PUT, of known length or chunked.
func writePut(w *bufio.Writer, key string, value []byte, chunked bool) error {
	format, end := "PUT /kv/%s HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n\r\n", ""
	if chunked {
		format, end = "PUT /kv/%s HTTP/1.1\r\nHost: kv\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", "\r\n0\r\n\r\n"
	}
	fmt.Fprintf(w, format, key, len(value))
	w.Write(value)
	_, err := w.WriteString(end)
	return err
}

func writeDelete(w *bufio.Writer, key string) error {
	_, err := w.WriteString(apitest.Request("DELETE", "/kv/"+key, ""))
	return err
}

// The README is true where a test can show it: its Go code stands in a file of the
// repository, and the tests that it names exist.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	err = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1) {
		if !strings.Contains(source.String(), string(block[1])) {
			t.Errorf("no file has this code of the README:\n%s", block[1])
		}
	}
	for _, name := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(readme, -1) {
		if !strings.Contains(source.String(), "func "+string(name[1])+"(") {
			t.Errorf("there is no %s", name[1])
		}
	}
}

// The rule of the whole program: no locks, no atomics, no maps for many goroutines.
func TestSafetyComesFromOwnership(t *testing.T) {
	forbidden := regexp.MustCompile(`^sync\.(Mutex|RWMutex|Map|Cond|Once\w*|Locker)$`)
	checked := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, imported := range file.Imports {
			switch name := strings.Trim(imported.Path.Value, `"`); {
			case name == "unsafe", strings.HasPrefix(name, "sync/"):
				t.Errorf("%s imports %s", path, name)
			case name == "sync" && imported.Name != nil:
				t.Errorf("%s imports sync under another name", path)
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
		checked[filepath.ToSlash(path)] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"main.go", "actor/store.go", "httpapi/log.go", "httpapi/apitest/apitest.go"} {
		if !checked[path] {
			t.Errorf("%s was not checked", path)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"-h", 0, "-addr host:port\n    \tlisten on"},
		{"-h", 0, "-max-value-bytes n\n    \trefuse a value of more than"},
		{"-h", 0, "-max-store-bytes n\n    \tstore at most"},
		{"-h", 0, "-max-conns n\n    \tkeep at most"},
		{"-h", 0, "-quiet\n    \tdo not log"},
		{"-port 80", 2, "not defined: -port"},
		{"serve", 2, `unexpected argument: "serve"`},
		{"-quiet serve", 2, `unexpected argument: "serve"`},
		{"-max-value-bytes 0", 2, "-max-value-bytes must be at least 1"},
		{"-max-value-bytes 64MiB", 2, `invalid value "64MiB" for flag -max-value-bytes`},
		{"-max-store-bytes 0", 2, "-max-store-bytes must be at least 1"},
		{"-max-store-bytes -1", 2, "-max-store-bytes must be at least 1"},
		{"-max-conns 0", 2, "-max-conns must be at least 1"},
		{"-quiet=maybe", 2, `invalid boolean value "maybe" for -quiet`},
		{"-addr nowhere", 1, "nowhere"},
		{"-addr 127.0.0.1:99999", 1, "99999"},
	} {
		// No server can listen on this port, if args are accepted by mistake.
		args := append([]string{"-addr", "127.0.0.1:65536"}, strings.Fields(test.args)...)
		cmd := command(args...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.says) {
			t.Errorf("kvactor %s: exit code %d, %q; want %d, %q", test.args, code, out, test.code, test.says)
		}
	}
}

func TestPortInUse(t *testing.T) {
	p := kvactor(t)
	cmd := command("-addr", p.addr)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "address already in use") {
		t.Errorf("exit code %d, %q; want 1, address already in use", code, out)
	}
}

func TestLog(t *testing.T) {
	p := kvactor(t)
	c := p.dial()
	c.Want("PUT", "/kv/kenya:capital", "Nairobi", 200, "")
	c.Want("GET", "/kv/kenya:capital", "", 200, "Nairobi")
	c.Want("DELETE", "/kv/kenya:capital", "", 200, "")
	c.Want("GET", "/kv/kenya:capital", "", 404, "key not found")
	c.Want("DELETE", "/clear", "", 200, "")
	c.Want("PUT", "/kv/a", "1\nDELETE /clear accepted", 200, "")
	c.Want("GET", "/kv/a%0ADELETE%20/clear%20accepted", "", 400, "key contains invalid characters")
	c.Close()
	p.signal(syscall.SIGTERM)

	log, _ := io.ReadAll(p.log)
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
	c := p.dial()
	c.Want("PUT", "/kv/a", "1", 200, "")
	c.Want("POST", "/kv/a", "1", 405, "method not allowed")
	c.Close()
	p.signal(syscall.SIGTERM)
	if log, _ := io.ReadAll(p.log); string(log) != "Server stopping\nServer stopped\n" {
		t.Errorf("logged %q", log)
	}
	p.wantExit(0)
}

func TestLimits(t *testing.T) {
	p := kvactor(t, "-max-value-bytes", "1000", "-max-store-bytes", "2500", "-max-conns", "1").discardLog()
	value := strings.Repeat("x", 1000)
	first := p.dial()
	first.Want("PUT", "/kv/a", value, 200, "")

	second := p.dial()
	second.Send(apitest.Request("PUT", "/kv/b", value))
	for range 10 {
		first.Want("GET", "/kv/b", "", 404, "key not found") // the second connection waits
	}
	first.Close()
	if resp, _, err := second.Response("PUT"); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v; want 200 when the first connection has ended", resp, err)
	}
	second.Want("PUT", "/kv/c", value, 507, "store is full")
	second.Want("PUT", "/kv/a", value+"x", 413, "value too large")
}

// A signal may arrive at any moment of the start. A signal to a process could arrive
// before main asks for it, so this test cancels the context that main passes to run.
func TestSignalWhileStarting(t *testing.T) {
	stderr := os.Stderr
	t.Cleanup(func() { os.Stderr = stderr })
	cfg, err := parseFlags([]string{"-addr", "127.0.0.1:0"}, container, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		os.Stderr = file
		signaled, cancel := context.WithCancel(t.Context())
		if i == 0 {
			cancel()
		} else {
			go func() {
				for range i {
					runtime.Gosched()
				}
				cancel()
			}()
		}
		err = run(signaled, cancel, cfg)
		log, _ := os.ReadFile(file.Name())
		file.Close()
		if err != nil || !strings.HasSuffix(string(log), "\nServer stopping\nServer stopped\n") {
			t.Fatalf("run returns %v and logs %q", err, log)
		}
	}
}

func TestSignalAfterTheFirstLine(t *testing.T) {
	for range 10 {
		p := kvactor(t)
		p.signal(syscall.SIGTERM)
		p.wantExit(0)
	}
}

// A request that has begun gets its response. A connection without one ends at once.
func TestShutdown(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(sig.String(), func(t *testing.T) {
			p := kvactor(t).discardLog()
			idle := p.dial()
			idle.Want("GET", "/health", "", 200, "")
			uploading := p.beginUpload()
			silent := p.dial()
			p.dial().Want("GET", "/health", "", 200, "") // silent was accepted before

			p.signal(sig)
			for _, c := range []apitest.Client{idle, silent} {
				if _, err := c.R.ReadByte(); err != io.EOF {
					t.Errorf("a connection without a request reads %v, want EOF", err)
				}
			}
			if conn, err := net.Dial("tcp", p.addr); err == nil {
				conn.Close()
				t.Error("the server accepts a new connection")
			}
			uploading.Send("0123456789") // it is still open
			if resp, _, err := uploading.Response("PUT"); err != nil || resp.StatusCode != 200 {
				t.Errorf("the upload under way gets %v, %v; want 200", resp, err)
			}
			p.wantExit(0)
		})
	}
}

func TestShutdownCutsOffRequestsThatDoNotFinish(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a shutdown may")
	}
	t.Parallel()
	p := kvactor(t)
	half := p.dial()
	half.Send("GET /kv/a HT")
	moving := p.dial()
	moving.Send("PUT /kv/a HTTP/1.1\r\nHost: kv\r\nTransfer-Encoding: chunked\r\n\r\n")
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			if _, err := io.WriteString(moving, "1\r\nx\r\n"); err != nil {
				return
			}
		}
	}()
	stalled := p.beginUpload()
	p.signal(syscall.SIGTERM)

	log, _ := io.ReadAll(p.log)
	if !strings.HasSuffix(string(log), "Server stopped\n") || strings.Contains(string(log), "accepted") {
		t.Errorf("logged %q", log)
	}
	p.wantExit(0)
	for _, c := range []apitest.Client{half, moving, stalled} {
		if resp, _, err := c.Response("PUT"); err == nil && resp.StatusCode == 200 {
			t.Error("a request that did not finish gets 200")
		}
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := kvactor(t)
	p.beginUpload()
	p.signal(syscall.SIGTERM)
	if line, err := p.log.ReadString('\n'); line != "Server stopping\n" {
		t.Fatalf("logged %q, %v", line, err)
	}
	p.signal(syscall.SIGTERM)
	p.cmd.Wait()
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("the server ended with %v, want the signal", p.cmd.ProcessState)
	}
}

// A PUT is logged as accepted if and only if its client gets 200.
func TestShutdownUnderLoad(t *testing.T) {
	t.Parallel()
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		p := kvactor(t)
		accepted := make(chan []string, 1)
		go func() {
			log, _ := io.ReadAll(p.log)
			var keys []string
			for _, match := range acceptedPut.FindAllStringSubmatch(string(log), -1) {
				keys = append(keys, match[1])
			}
			accepted <- keys
		}()

		const clients = 50
		var wg, busy sync.WaitGroup
		busy.Add(clients)
		served := make([][]string, clients)
		for i := range clients {
			wg.Go(func() {
				served[i] = putUntilShutdown(p, fmt.Sprintf("%d.", i), i%2 == 0, busy.Done)
			})
		}
		busy.Wait()
		p.signal(syscall.SIGTERM)
		wg.Wait()

		balance := make(map[string]int)
		for _, key := range slices.Concat(served...) {
			balance[key]++
		}
		for _, key := range <-accepted {
			balance[key]--
		}
		maps.DeleteFunc(balance, func(_ string, n int) bool { return n == 0 })
		if len(balance) > 0 {
			t.Errorf("PUTs that are only logged as accepted (-1), or only got 200 (1): %v", balance)
		}
		p.wantExit(0)
	}
}

var acceptedPut = regexp.MustCompile(`(?m)^PUT /kv/(\S+) accepted, value=x$`)

// putUntilShutdown puts one key after another, on one connection or on one for each,
// and calls busy when the server has served some. It returns the keys of the PUTs
// that were served when a connection fails.
func putUntilShutdown(p *process, prefix string, keepAlive bool, busy func()) (served []string) {
	var c apitest.Client
	for i := 0; ; i++ {
		if i == 5 {
			busy()
		}
		if c.Conn == nil || !keepAlive {
			conn, err := net.Dial("tcp", p.addr)
			if err != nil {
				return served
			}
			defer conn.Close()
			c = apitest.New(p.t, conn)
		}
		key := fmt.Sprint(prefix, i)
		resp, body, err := c.Do("PUT", "/kv/"+key, "x")
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			p.t.Error("a response was cut short")
			return served
		case err != nil:
			return served
		case resp.StatusCode != 200:
			p.t.Errorf("PUT /kv/%s: %d %q", key, resp.StatusCode, body)
		}
		served = append(served, key)
	}
}

// While no one reads stderr the server goes on. It says afterwards how many lines it
// has dropped.
func TestNoOneReadsTheLog(t *testing.T) {
	p := kvactor(t)
	const requests = 20_000
	request := apitest.Request("GET", "/kv/"+strings.Repeat("long", 15), "")
	c := p.dial()
	go io.WriteString(c, strings.Repeat(request, requests))
	for range requests {
		if resp, _, err := c.Response("GET"); err != nil || resp.StatusCode != 404 {
			t.Fatalf("%v, %v; want 404", resp, err)
		}
	}

	p.stderr.SetReadDeadline(time.Now().Add(time.Minute)) // if a line is missing
	lines, dropped := 0, 0
	for lines+dropped < requests {
		line, err := p.log.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "GET ") {
			lines++
		} else if _, err := fmt.Sscanf(line, "Log dropped %d lines\n", &dropped); err != nil {
			t.Fatalf("logged %q", line)
		}
	}
	if dropped == 0 || lines+dropped != requests {
		t.Errorf("%d lines and %d dropped, want %d in all and some dropped", lines, dropped, requests)
	}
	c.Close()
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
}

func TestReaderOfTheLogGoesAway(t *testing.T) {
	p := kvactor(t)
	p.stderr.Close()
	c := p.dial()
	for range 100 {
		c.Want("PUT", "/kv/a", "1", 200, "")
	}
	c.Close()
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
}

// Clients that do what they should not do no harm to one that does not.
func TestFaults(t *testing.T) {
	p := kvactor(t, "-max-conns", "10000").discardLog()
	value := strings.Repeat("value ", 1<<20/6)
	good := p.dial()
	good.Want("PUT", "/kv/good", value, 200, "")

	for _, fault := range []struct {
		name  string
		count int
		do    func(c apitest.Client)
	}{
		{"half a header", 300, func(c apitest.Client) { c.Send("GET /kv/good HTTP/1.1\r\nHost: k") }},
		{"megabytes declared, a byte sent", 300, func(c apitest.Client) {
			c.Send("PUT /kv/bad HTTP/1.1\r\nHost: kv\r\nContent-Length: 60000000\r\n\r\nx")
		}},
		{"megabytes asked for, none read", 100, func(c apitest.Client) {
			c.Conn.(*net.TCPConn).SetReadBuffer(4096)
			c.Send(strings.Repeat(apitest.Request("GET", "/kv/good", ""), 5))
		}},
		{"an upload cut anywhere", 300, func(c apitest.Client) {
			c.Send("PUT /kv/bad HTTP/1.1\r\nHost: kv\r\nContent-Length: 100000\r\n\r\n")
			c.Send(value[:rand.IntN(100_000)])
			c.Close()
		}},
		{"a reset", 300, func(c apitest.Client) {
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Send("PUT /kv/bad HTTP/1.1\r\nHost: kv\r\nContent-Length: 100000\r\n\r\nx")
			c.Close()
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			for range fault.count {
				fault.do(apitest.Dial(t, p.addr))
			}
			for range 10 {
				good.Want("GET", "/kv/good", "", 200, value)
				good.Want("PUT", "/kv/other", "1", 200, "")
				apitest.Dial(t, p.addr).Want("GET", "/kv/bad", "", 404, "key not found")
			}
		})
	}
}

func TestManyConnections(t *testing.T) {
	connections := 2000
	if testing.Short() {
		connections = 500
	}
	p := kvactor(t, "-max-conns", "10000").discardLog()
	clients := make([]apitest.Client, connections)
	for i := range clients {
		clients[i] = p.dial()
	}
	for _, method := range []string{"PUT", "GET"} { // all are open at once
		for i, c := range clients {
			key, value := fmt.Sprintf("/kv/%d", i), fmt.Sprintf("value of %d", i)
			if method == "PUT" {
				c.Want("PUT", key, value, 200, "")
			} else {
				c.Want("GET", key, "", 200, value)
			}
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
			t.Errorf("address(%s) = %s, want %s", addr, got, want)
		}
	}
}

func TestSystemMemory(t *testing.T) {
	const (
		meminfo  = "proc/meminfo"
		version1 = "sys/fs/cgroup/memory/memory.limit_in_bytes"
		version2 = "sys/fs/cgroup/memory.max"

		machine = "MemTotal:       24684096 kB\nMemFree:        123 kB\n"
	)
	for name, test := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing to read":          {nil, math.MaxInt64},
		"nothing to understand":    {map[string]string{meminfo: "?", version1: "", version2: "?"}, math.MaxInt64},
		"a machine":                {map[string]string{meminfo: machine}, 24684096 << 10},
		"version 2":                {map[string]string{meminfo: machine, version2: "268435456\n"}, 256 << 20},
		"version 2, no limit":      {map[string]string{meminfo: machine, version2: "max\n"}, 24684096 << 10},
		"version 1":                {map[string]string{meminfo: machine, version1: "268435456\n"}, 256 << 20},
		"version 1, no limit":      {map[string]string{meminfo: machine, version1: "9223372036854771712\n"}, 24684096 << 10},
		"both versions":            {map[string]string{version1: "2000\n", version2: "1000\n"}, 1000},
		"a limit, and no machine":  {map[string]string{version2: "268435456\n"}, 256 << 20},
		"a limit above the memory": {map[string]string{meminfo: "MemTotal: 1024 kB\n", version2: "268435456\n"}, 1 << 20},
	} {
		root := make(fstest.MapFS)
		for path, text := range test.files {
			root[path] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := systemMemory(root); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })

	const none = math.MaxInt64
	for _, test := range []struct {
		name                        string
		system, gomemlimit          int64
		want, limitOfTheCollectorIs int64
	}{
		{"both unknown", none, none, 1 << 30, none},
		{"system known", container, none, container, container/8*5 + ballastSize},
		{"GOMEMLIMIT less", container, 100 << 20, 100 << 20, 100 << 20},
		{"GOMEMLIMIT more", container, 1 << 30, container, container/8*5 + ballastSize},
		{"GOMEMLIMIT alone", none, 100 << 20, 100 << 20, 100 << 20},
	} {
		debug.SetMemoryLimit(test.gomemlimit)
		if got := limitMemory(test.system); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
		if got := debug.SetMemoryLimit(-1); got != test.limitOfTheCollectorIs {
			t.Errorf("%s: the collector's limit is %d, want %d", test.name, got, test.limitOfTheCollectorIs)
		}
	}
}

func TestDefaultsFollowTheMemory(t *testing.T) {
	for memory, want := range map[int64]config{
		256 << 20: {":8080", 96 << 20, httpapi.Config{MaxValueBytes: 64 << 20, MaxConns: 256}},
		1 << 30:   {":8080", 384 << 20, httpapi.Config{MaxValueBytes: 64 << 20, MaxConns: 1024}},
		1:         {":8080", 1, httpapi.Config{MaxValueBytes: 64 << 20, MaxConns: 1}},
	} {
		if got, err := parseFlags(nil, memory, io.Discard); got != want || err != nil {
			t.Errorf("%d bytes: %+v, %v; want %+v", memory, got, err, want)
		}
	}
}

// The memory of the containers that TestSiege imitates. The tiny one is for attacks
// that take many requests. It is smaller than the program, so it is what a server may
// occupy in addition to what it needs when it starts.
const (
	container     = 256 << 20
	tinyContainer = 4 << 20
)

// slotSize is what the store counts for an entry in addition to key and value.
const slotSize = 128

// A siege is an attack on a server that has the limits of a container.
type siege struct {
	*process
	limits config
	conns  []net.Conn // open until the attack is over
}

// text returns a value of n bytes, up to 64 MiB. All values share their bytes.
func text(n int) []byte { return allText()[:n] }

var allText = sync.OnceValue(func() []byte { return bytes.Repeat([]byte("x"), 64<<20) })

// lengths are the two ways to send a value: of known length and chunked.
var lengths = []bool{false, true}

// TestSiege checks that the memory of the server stays within its bounds whatever
// clients do, that the server still serves, and that it has not miscounted a byte.
func TestSiege(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	binary := filepath.Join(t.TempDir(), "kvactor") // without the memory of the race detector
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	for _, attack := range []struct {
		name   string
		long   bool // not for -short
		memory int64
		run    func(s *siege)
	}{
		{name: "values of 1 byte", memory: tinyContainer, run: func(s *siege) {
			s.fillTwice(1)
		}},
		{name: "values of megabytes", long: true, memory: container, run: func(s *siege) {
			s.fillTwice(1 << 20)
			s.fillTwice(5 << 20)
		}},

		{name: "uploads of 60 MB", memory: container, run: func(s *siege) {
			s.uploadAtOnce(4, 60e6)
			s.uploadAtOnce(16, 60e6)
		}},
		{name: "400 uploads of 1 MB", long: true, memory: container, run: func(s *siege) { s.uploadAtOnce(400, 1e6) }},
		{name: "one upload after another", long: true, memory: container, run: func(s *siege) {
			s.fill("full", text(1<<20), false)
			for _, chunked := range lengths {
				for range 2 {
					if status := s.upload("key", text(64<<20), chunked); status != 507 {
						s.t.Errorf("PUT: %d, want 507", status)
					}
				}
			}
		}},
		{name: "uploads that stall, trickle, are torn or are not UTF-8", long: true, memory: container, run: func(s *siege) {
			value := append(bytes.Clone(text(8<<20)), 0xff)
			atOnce(4, func(i int) {
				for range 3 {
					if status := s.upload(key("upload", i), value, i%2 == 0); status != 400 {
						s.t.Errorf("PUT: %d, want 400", status)
					}
				}
			})

			conns := s.connect(50)
			atOnce(len(conns), func(i int) {
				fmt.Fprintf(conns[i], "PUT /kv/%d HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n\r\n", i, 60<<20)
				conns[i].Write(text(4 << 20))
			})
			s.closeAll()

			conns = s.connect(50)
			for i, conn := range conns {
				fmt.Fprintf(conn, "PUT /kv/%d HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n\r\n", i, 4<<20)
			}
			for piece := range slices.Chunk(text(4<<20), 64<<10) {
				for _, conn := range conns {
					conn.Write(piece)
				}
			}
			s.closeAll()

			atOnce(20, func(i int) {
				for range 3 {
					conn, err := net.Dial("tcp", s.addr)
					if err != nil {
						s.t.Error(err)
						return
					}
					fmt.Fprintf(conn, "PUT /kv/%d HTTP/1.1\r\nHost: kv\r\nContent-Length: %d\r\n\r\n", i, 10<<20)
					conn.Write(text(rand.IntN(10 << 20)))
					conn.Close()
				}
			})
		}},

		{name: "headers without an end", memory: container, run: func(s *siege) {
			s.fill("full", text(1<<20), false)
			s.sendHeaders(func(i int) string { return fmt.Sprintf("%d:\r\n", i) }) // empty fields
			s.sendHeaders(func(int) string { return "a long name" })               // one field
		}},

		{name: "slow readers of a value that changes", memory: container, run: func(s *siege) {
			for i := range 30 {
				s.upload("key", text(50e6), i%2 == 0) // 507 when too many are being read
				s.read("key")
				if i%4 == 3 {
					s.clear()
				}
			}
		}},
		{name: "slow readers of many values", long: true, memory: container, run: func(s *siege) {
			stored := s.fill("full", text(1<<20), false)
			for i := range 2 * stored {
				s.read(key("full", i%stored))
			}
			for i := range stored {
				s.upload(key("full", i), text(1<<20), false)
			}
			s.clear()
			s.fill("again", text(1<<20), false)
		}},

		{name: "keys deleted but for one", long: true, memory: tinyContainer, run: func(s *siege) {
			stored := s.fill("small", text(1), false)
			s.pipelineAll(stored-1, func(w *bufio.Writer, i int) error {
				return writeDelete(w, key("small", i))
			})
			// The slots are still there, so they still count.
			left := s.limits.maxStoreBytes - int64(stored*slotSize+len(key("small", 0))+1)
			want := left / int64(len(key("large", 0))+10_000)
			if got := s.fill("large", text(10_000), false); int64(got) != want {
				s.t.Errorf("%d values of 10,000 bytes fit, want %d", got, want)
			}
		}},
		{name: "keys replaced by others", long: true, memory: tinyContainer, run: func(s *siege) {
			stored := s.fill("old", text(1), false)
			s.pipelineAll(2*stored, func(w *bufio.Writer, i int) error {
				if i%2 == 0 {
					return writeDelete(w, key("old", i/2))
				}
				return writePut(w, key("new", i/2), text(1), i%4 == 1)
			})
		}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			if attack.long && testing.Short() {
				t.Skip("one of many")
			}
			t.Parallel()
			s := startSiege(t, binary, attack.memory)
			bound := attack.memory / 16 * 15
			if attack.memory == tinyContainer {
				bound = s.memory("VmHWM") + 4*attack.memory
			}
			attack.run(s)
			s.closeAll()

			s.wantExactAccount()
			peak := s.memory("VmHWM")
			t.Logf("the process has occupied %d MiB", peak>>20)
			if peak > bound {
				t.Errorf("the process has occupied %d MiB, want at most %d", peak>>20, bound>>20)
			}
			s.dial().Want("GET", "/health", "", 200, "")
		})
	}
}

// startSiege launches binary with the limits of a container that has memory bytes.
func startSiege(t *testing.T, binary string, memory int64) *siege {
	t.Helper()
	cfg, err := parseFlags(nil, memory, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-quiet",
		"-max-store-bytes", strconv.FormatInt(cfg.maxStoreBytes, 10),
		"-max-conns", strconv.Itoa(cfg.http.MaxConns))
	cmd.Env = append(os.Environ(), fmt.Sprint("GOMEMLIMIT=", container/8*5+ballastSize))
	if memory == tinyContainer {
		cmd.Env = append(cmd.Env, "GOGC=10") // so that little of what it occupies is garbage
	}
	return &siege{process: launch(t, cmd).discardLog(), limits: cfg}
}

// connect opens n connections.
func (s *siege) connect(n int) []net.Conn {
	s.t.Helper()
	opened := make([]net.Conn, n)
	for i := range opened {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			s.t.Fatal(err)
		}
		opened[i] = conn
	}
	s.conns = append(s.conns, opened...)
	return opened
}

// closeAll closes the connections that connect has opened.
func (s *siege) closeAll() {
	for _, conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
}

// clear removes every key.
func (s *siege) clear() {
	s.t.Helper()
	c := s.dial()
	defer c.Close()
	c.Want("DELETE", "/clear", "", 200, "")
}

// upload puts value and returns the status of the response.
func (s *siege) upload(key string, value []byte, chunked bool) int {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Error(err)
		return 0
	}
	defer conn.Close()
	go func() {
		w := bufio.NewWriter(conn)
		writePut(w, key, value, chunked)
		w.Flush()
	}()
	resp, _, err := apitest.New(s.t, conn).Response("PUT")
	if err != nil {
		s.t.Errorf("PUT of %d bytes: %v", len(value), err)
		return 0
	}
	return resp.StatusCode
}

// uploadAtOnce uploads n values at once, into an empty store and into a full one.
// Every other value is chunked.
func (s *siege) uploadAtOnce(n, size int) {
	s.clear()
	for range 2 {
		atOnce(n, func(i int) {
			if status := s.upload(key("upload", i), text(size), i%2 == 1); status != 200 && status != 507 {
				s.t.Errorf("PUT: %d, want 200 or 507", status)
			}
		})
		s.fill("full", text(1<<20), false)
	}
}

// atOnce calls f in n goroutines and waits until all have returned.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// key returns a key. Keys with the same prefix have the same length.
func key(prefix string, i int) string { return fmt.Sprintf("%s%06d", prefix, i) }

// fill puts value under one key after another until the store is full, and returns
// under how many.
func (s *siege) fill(prefix string, value []byte, chunked bool) int {
	s.t.Helper()
	stored, err := s.pipeline(math.MaxInt, func(w *bufio.Writer, i int) error {
		return writePut(w, key(prefix, i), value, chunked)
	})
	if !strings.Contains(fmt.Sprint(err), " 507 ") {
		s.t.Errorf("after %d values of %d bytes: %v, want 507", stored, len(value), err)
	}
	return stored
}

// fillTwice fills the store with values of size bytes, of known length and chunked.
// It must take as many of either kind.
func (s *siege) fillTwice(size int) {
	s.t.Helper()
	s.clear()
	known := s.fill("key", text(size), false)
	s.clear()
	if chunked := s.fill("key", text(size), true); chunked != known {
		s.t.Errorf("%d chunked values of %d bytes fit, and %d of known length", chunked, size, known)
	}
}

// pipelineAll sends n requests, all of which must be served with status 200.
func (s *siege) pipelineAll(n int, write func(w *bufio.Writer, i int) error) {
	s.t.Helper()
	if served, err := s.pipeline(n, write); err != nil {
		s.t.Errorf("after %d of %d requests: %v", served, n, err)
	}
}

// sendHeaders opens connections with headers that never end, and closes them when the
// server has had the time to read what it reads of them. A header consists of one piece
// after another and is almost as large as the server allows.
func (s *siege) sendHeaders(piece func(i int) string) {
	s.t.Helper()
	header := []byte("GET /kv/key HTTP/1.1\r\nHost: kv\r\nx")
	for i := 0; len(header) < 8900; i++ {
		header = append(header, piece(i)...)
	}
	good := s.dial()
	defer good.Close()
	good.Want("GET", "/health", "", 200, "") // it is one of those that the server keeps open
	for _, conn := range s.connect(3000) {
		conn.Write(header)
	}
	for range 500 {
		good.Want("GET", "/health", "", 200, "")
	}
	s.closeAll()
}

// read asks for the value of key and reads only the beginning of the response.
func (s *siege) read(key string) {
	s.t.Helper()
	conn := s.connect(1)[0]
	conn.(*net.TCPConn).SetReadBuffer(4096)
	c := apitest.New(s.t, conn)
	c.Send(apitest.Request("GET", "/kv/"+key, ""))
	if _, err := c.R.ReadByte(); err != nil {
		s.t.Errorf("GET /kv/%s: %v", key, err)
	}
}

// wantExactAccount empties the store and checks to the byte how much it takes. This
// finds a single byte that is still counted as arriving or leaving. Values of 1 MiB
// would not, because they leave a part of the budget free.
func (s *siege) wantExactAccount() {
	s.t.Helper()

	// The server serves as many connections at once as it may keep open only if all
	// those of the attack have ended.
	for _, conn := range s.connect(s.limits.http.MaxConns) {
		apitest.New(s.t, conn).Want("GET", "/health", "", 200, "")
	}
	s.closeAll()

	s.clear()
	for _, key := range []string{"a", "b"} {
		if status := s.upload(key, text(int(s.limits.maxStoreBytes/2)-slotSize-1), false); status != 200 {
			s.t.Errorf("PUT of half the budget: %d, want 200", status)
		}
	}
	if status := s.upload("c", text(1), false); status != 507 {
		s.t.Errorf("PUT of 1 byte when the budget is used up: %d, want 507", status)
	}
	for n, want := range map[int64]int{s.limits.maxStoreBytes / 4: 100, s.limits.maxStoreBytes/4 + 1: 507} {
		c := s.dial()
		c.Send(fmt.Sprintf("PUT /kv/a HTTP/1.1\r\nHost: kv\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", n))
		if resp, _, err := c.Response("PUT"); err != nil || resp.StatusCode != want {
			s.t.Errorf("PUT of %d bytes when a quarter of the budget is left: %v, %v; want %d", n, resp, err, want)
		}
		c.Close()
	}
}

// BenchmarkServer compares the server with others, each in a process of its own. They
// take turns at the same load from 50 connections.
//
//   - bare is the cheapest handler of net/http that does the same with the bytes. It
//     has no timeouts, no limits and no log.
//   - twin is the same server in front of a map and a sync.RWMutex. It shows what the
//     owner costs, beside a lock.
//   - quiet is the same server without a log of requests.
//
// The metrics are ratios of the server to the other: req/s-ratio of the requests per
// second, where more is better, cpu-ratio of the CPU time for a request, and p99-ratio
// of the 99th percentile of the time to a response, where less is better.
//
//	go test -run '^$' -bench Server -benchtime 20x .
func BenchmarkServer(b *testing.B) {
	for _, load := range []struct {
		name, method string
		size         int
		requests     int // in a round
	}{
		{"GET 11 bytes", "GET", 11, 10_000},
		{"PUT 11 bytes", "PUT", 11, 10_000},
		{"GET 1 MiB", "GET", 1 << 20, 500},
		{"PUT 1 MiB", "PUT", 1 << 20, 250},
	} {
		for _, other := range []string{"bare", "twin", "quiet"} {
			b.Run(load.name+"/to "+other, func(b *testing.B) {
				cmd := command("-quiet")
				if other != "quiet" {
					cmd = command()
					cmd.Env = append(cmd.Env, role+"="+other)
				}
				servers := [2]*process{kvactor(b).discardLog(), launch(b, cmd).discardLog()}
				value := strings.Repeat("x", load.size)
				request := apitest.Request("GET", "/kv/key", "")
				if load.method == "PUT" {
					request = apitest.Request("PUT", "/kv/key", value)
				}

				var loads [2]*clients
				for i, p := range servers {
					loads[i] = p.dialAll(50)
					p.dial().Want("PUT", "/kv/key", value, 200, "")
				}
				for b.Loop() {
					for i := range servers {
						loads[i].send(b, load.requests, func(int) string { return request })
					}
				}

				var cpu [2]time.Duration
				for i, p := range servers {
					p.kill()
					cpu[i] = p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(loads[1].took)/float64(loads[0].took), "req/s-ratio")
				b.ReportMetric(float64(cpu[0])/float64(cpu[1]), "cpu-ratio")
				b.ReportMetric(float64(loads[0].p99())/float64(loads[1].p99()), "p99-ratio")
				b.ReportMetric(float64(cpu[0].Microseconds())/float64(len(loads[0].latencies)), "cpu-µs/req")
			})
		}
	}
}

// BenchmarkMillionKeys compares a server that holds a million keys of 100 bytes with
// one that holds a single key. It reports what the process occupies for a key, and the
// ratio of the CPU time for a GET.
//
//	go test -run '^$' -bench MillionKeys -benchtime 20x .
func BenchmarkMillionKeys(b *testing.B) {
	if runtime.GOOS != "linux" {
		b.Skip("reads /proc")
	}
	var servers [2]*process
	var loads [2]*clients
	var cpu [2]time.Duration
	keys := [2]int{1_000_000, 1}
	for i := range servers {
		p := kvactor(b, "-quiet", "-max-store-bytes", strconv.Itoa(1<<30)).discardLog()
		const conns = 4
		atOnce(min(conns, keys[i]), func(conn int) {
			n := (keys[i] + conns - 1) / conns
			if served, err := p.pipeline(n, func(w *bufio.Writer, i int) error {
				return writePut(w, key("", conn*n+i), text(100), false)
			}); err != nil {
				b.Errorf("after %d keys: %v", served, err)
			}
		})
		servers[i], loads[i] = p, p.dialAll(50)
	}
	resident := servers[0].memory("VmRSS") - servers[1].memory("VmRSS")

	for b.Loop() {
		for i, p := range servers {
			before := p.cpu()
			loads[i].send(b, 20_000, func(int) string {
				return apitest.Request("GET", "/kv/"+key("", rand.IntN(keys[i])), "")
			})
			cpu[i] += p.cpu() - before
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(resident)/float64(keys[0]), "resident-B/key")
	b.ReportMetric(float64(cpu[0])/float64(cpu[1]), "cpu-ratio")
}

// cpu returns the CPU time that Linux has counted for the server so far.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // the fields from the third on
	fields := strings.Fields(string(rest))
	user, _ := strconv.Atoi(fields[14-3])
	system, _ := strconv.Atoi(fields[15-3])
	return time.Duration(user+system) * time.Second / 100
}

// A clients is a load on a server, and what was measured of it.
type clients struct {
	conns     []apitest.Client
	took      time.Duration
	latencies []time.Duration
}

func (p *process) dialAll(n int) *clients {
	p.t.Helper()
	all := new(clients)
	for range n {
		all.conns = append(all.conns, p.dial())
	}
	return all
}

// send sends about n requests over all connections at once.
func (c *clients) send(b *testing.B, n int, request func(i int) string) {
	n /= len(c.conns)
	start := time.Now()
	latencies := make([][]time.Duration, len(c.conns))
	atOnce(len(c.conns), func(conn int) {
		client := c.conns[conn]
		for i := range n {
			start := time.Now()
			_, err := io.WriteString(client, request(i))
			if err == nil {
				err = client.Skip()
			}
			if err != nil {
				b.Error(err)
				return
			}
			latencies[conn] = append(latencies[conn], time.Since(start))
		}
	})
	c.took += time.Since(start)
	c.latencies = append(c.latencies, slices.Concat(latencies...)...)
}

func (c *clients) p99() time.Duration {
	slices.Sort(c.latencies)
	return c.latencies[len(c.latencies)*99/100]
}

// listen begins the server of a role other than kvactor, with the flags of kvactor.
func listen() (net.Listener, config) {
	cfg, err := parseFlags(os.Args[1:], limitMemory(systemMemory(os.DirFS("/"))), os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "Server listening on", listener.Addr())
	return listener, cfg
}

// serveBare serves the value that was put last, whatever its key.
func serveBare() {
	var stored atomic.Pointer[[]byte]
	listener, _ := listen()
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case "GET":
			value := *stored.Load()
			if len(value) > 2<<10 { // net/http would send chunks
				w.Header()["Content-Length"] = []string{strconv.Itoa(len(value))}
			}
			w.Write(value)
		case "PUT":
			value, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			stored.Store(&value)
			w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
		}
	})))
}

// serveTwin serves the same API as kvactor does, from a lockedStore.
func serveTwin() {
	ballast := make([]byte, ballastSize) // as in main
	defer runtime.KeepAlive(ballast)
	listener, cfg := listen()
	events := httpapi.NewLog(os.Stderr)
	go events.Run()
	store := &lockedStore{values: make(map[string][]byte)}
	log.Fatal(httpapi.NewServer(listener, store, events, cfg.http).Serve())
}

// A lockedStore is a store with a lock and without a budget.
type lockedStore struct {
	mu     sync.RWMutex
	values map[string][]byte // guarded by mu
}

func (s *lockedStore) Get(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, found := s.values[key]
	return value, found, nil
}

func (s *lockedStore) Put(_ context.Context, key string, value []byte, _ int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = value
	return nil
}

func (s *lockedStore) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, key)
	return nil
}

func (s *lockedStore) Clear(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.values)
	return nil
}

func (s *lockedStore) Release([]byte)                            {}
func (s *lockedStore) Fits(context.Context, string, int64) error { return nil }
func (s *lockedStore) Reserve(context.Context, int64) error      { return nil }
func (s *lockedStore) Unreserve(int64)                           {}
func (s *lockedStore) Ping(context.Context) error                { return nil }
