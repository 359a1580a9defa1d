package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"kvactor/httpapi/apitest"
)

// role is the environment variable that makes this test binary a server.
const role = "KVACTOR_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "kvactor":
		main()
	case "floor":
		serveFloor()
	case "twin":
		serveTwin()
	default:
		flag.Set("test.parallel", "8") // unless the command line says another number: many tests wait
		debug.SetGCPercent(gcPercent)  // as in main
		m.Run()
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

// command returns the command that runs the server of a role with args. The test harness
// sets ADDR, PEERS and DATA_DIR for later stages; they must change nothing.
func command(server string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), role+"="+server, "ADDR=kv:80", "PEERS=kv2:80,kv3:80", "DATA_DIR=/none")
	return cmd
}

// shell returns a command that runs script in a shell, which then becomes cmd.
func shell(cmd *exec.Cmd, script string) *exec.Cmd {
	sh := exec.Command("sh", append([]string{"-c", script + ` && exec "$0" "$@"`}, cmd.Args...)...)
	sh.Env = cmd.Env
	return sh
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
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})

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
	return launch(t, command("kvactor", args...))
}

// signal sends sig to the server.
func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// end sends sig, which should end the server within 5 s. After 8 s, because machines may be
// busy, end kills the server as the test harness would.
func (p *process) end(sig os.Signal) {
	p.t.Helper()
	p.signal(sig)
	timer := time.AfterFunc(8*time.Second, func() {
		if p.cmd.Process.Kill() == nil { // otherwise wantExit has seen the end
			p.t.Errorf("the server has not ended 8 s after the signal: %v", sig)
		}
	})
	p.t.Cleanup(func() { timer.Stop() })
}

// wantExit waits until the server has ended and checks its exit code.
func (p *process) wantExit(code int) {
	p.t.Helper()
	p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("the server ended with %v, want exit code %d", p.cmd.ProcessState, code)
	}
}

// memory returns a size in bytes that Linux knows of the server: VmHWM is the most that it
// has occupied, and RssFile is the part that is mapped from files.
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

// cpu returns the CPU time that Linux has counted for the server so far, in steps of
// 10 ms.
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
	return time.Duration(user+system) * 10 * time.Millisecond
}

func (p *process) dial() apitest.Client {
	p.t.Helper()
	return apitest.Dial(p.t, p.addr)
}

// want sends a request, over a connection of its own because the server may close it
// after the response, and checks the status and the body of the response.
func (p *process) want(method, path, value string, status int, body string) {
	p.t.Helper()
	c := p.dial()
	defer c.Close()
	c.Want(method, path, value, status, body)
}

// beginUpload sends the header of a PUT of 10 bytes to /kv/a. The server has begun
// to serve it when beginUpload returns.
func (p *process) beginUpload() apitest.Client {
	p.t.Helper()
	c := p.dial()
	c.SetDeadline(time.Now().Add(time.Minute)) // in case the server never accepts c
	c.Send(apitest.Header("PUT", "/kv/a", "Expect: 100-continue", "Content-Length: 10"))
	c.WantResponse("PUT", http.StatusContinue, "")
	return c
}
