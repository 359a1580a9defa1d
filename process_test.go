package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvactor/httpapi/apitest"
)

// A signal ends the connections that have no request. A request that has begun still gets
// its response, and the log its last line. One stop may arrive as two signals; the second one
// changes nothing.
func TestSignals(t *testing.T) {
	t.Parallel()
	for _, signals := range [][]os.Signal{
		{syscall.SIGTERM, syscall.SIGTERM}, // timeout signals the process and then its group
		{syscall.SIGTERM, syscall.SIGHUP},  // systemd, with SendSIGHUP
		{syscall.SIGINT, syscall.SIGINT},   // Ctrl-C under npm or make
		{syscall.SIGHUP},
	} {
		t.Run(fmt.Sprint(signals), func(t *testing.T) {
			if signal.Ignored(signals[0]) {
				t.Skip("the tests were started with this signal ignored, as nohup does, and so is the server")
			}
			p := kvactor(t)
			idle := p.dial()
			idle.Want("GET", "/health", "", 200, "")
			uploading := p.beginUpload()
			p.signal(signals[0])
			idle.WantEnd()
			for _, sig := range signals[1:] {
				p.signal(sig)
			}
			uploading.Send("0123456789")
			uploading.WantResponse("PUT", 200, "")
			uploading.Close()
			const want = "\nGET /health returning 200\nServer stopping\nPUT /kv/a accepted, value=0123456789\nServer stopped\n"
			if log := p.wantEnd(); !strings.HasSuffix(log, want) {
				t.Errorf("logged %q, want %q at the end", log, want)
			}
		})
	}
}

// A server that was started with SIGINT and SIGHUP ignored is not stopped by them.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	t.Parallel()
	p := launch(t, shell(command("kvactor"), `trap "" INT HUP`))
	p.signal(syscall.SIGINT)
	p.signal(syscall.SIGHUP)
	for range 100 { // it would stop soon
		p.want("GET", "/health", "", 200, "")
	}
	p.signal(syscall.SIGTERM)
	p.wantEnd()
}

// If nothing reads stderr any more, a write to it does not end the process.
func TestReaderOfTheLogGoesAway(t *testing.T) {
	t.Parallel()
	p := kvactor(t)
	p.stderr.Close()
	p.want("PUT", "/kv/a", "1", 200, "")
	p.signal(syscall.SIGTERM)
	p.wantEnd()
}

// After a signal, an upload has 4 s to end, and a reader of the log has what is then left
// of 4.5 s. TestShutdownWaitsForRequests shows which requests are waited for.
func TestHowLongAStopTakes(t *testing.T) {
	const never = math.MaxInt64
	for name, test := range map[string]struct {
		upload, reader time.Duration // after the signal, when the upload ends and when the reader begins
		least, most    time.Duration // until run returns
	}{
		"an upload ends":                  {3 * time.Second, 0, 3 * time.Second, 4 * time.Second},
		"an upload stalls":                {never, 0, 4 * time.Second, 4 * time.Second},
		"the log is read late":            {0, 2 * time.Second, 2 * time.Second, 2 * time.Second},
		"an upload stalls, and no reader": {never, never, 4500 * time.Millisecond, 4500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startRun(t)
				c := r.listener.Dial(t)
				c.Send(apitest.Header("PUT", "/kv/a", "Expect: 100-continue", "Content-Length: 10"))
				c.WantResponse("PUT", http.StatusContinue, "")

				r.signals <- syscall.SIGTERM
				start := time.Now()
				synctest.Wait()
				r.signals <- syscall.SIGTERM // changes nothing
				time.AfterFunc(test.reader, r.readLog)
				if test.upload != never {
					time.Sleep(test.upload)
					c.Send("0123456789")
					c.WantResponse("PUT", 200, "")
					c.Close()
				}
				if err := r.wait(); err != nil {
					t.Errorf("run returns %v", err)
				}
				if took := time.Since(start); took < test.least || took > test.most {
					t.Errorf("run returns after %v, want %v to %v", took, test.least, test.most)
				}
				if test.upload == never {
					c.WantEnd()
				}
				if written := strings.HasSuffix(r.log.String(), "\nServer stopped\n"); written != (test.reader != never) {
					t.Errorf("logged %q", &r.log)
				}
			})
		})
	}
}

// A signal may arrive before the server serves. If the listener fails, run ends as after a
// signal, and returns the error.
func TestEndsOfRun(t *testing.T) {
	errListener := errors.New("the listener fails")
	for _, row := range []struct {
		signals []os.Signal // that have arrived
		err     error       // of the listener
		last    string      // lines of the log
	}{
		{[]os.Signal{syscall.SIGTERM}, nil, "Server stopping\nServer stopped\n"},
		{nil, errListener, "Server stopped\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := startRun(t, row.signals...)
			go r.readLog()
			if row.err != nil {
				r.listener.Return(nil, row.err)
			}
			err := r.wait()
			if want := "Server listening on 0.0.0.0:80\nLimits: " + r.limits[0] + "\n" + row.last; err != row.err || r.log.String() != want {
				t.Errorf("run returns %v and logs %q, want %v and %q", err, &r.log, row.err, want)
			}
		})
	}
}

// A testRun is a call of run in a bubble of synctest, where time passes without waiting.
type testRun struct {
	config
	signals  chan os.Signal
	listener apitest.Listener
	stderr   *io.PipeReader
	log      bytes.Buffer // what was read from stderr
	returned chan error   // the result of run
}

// startRun calls run with signals that have arrived before.
func startRun(t *testing.T, signals ...os.Signal) *testRun {
	cfg, err := parseFlags(nil, system{256 << 20, 160 << 20, 1000}, nil)
	if err != nil {
		t.Fatal(err)
	}
	stderr, w := io.Pipe()
	r := &testRun{
		config:   cfg,
		signals:  make(chan os.Signal, 1),
		listener: apitest.NewListener(),
		stderr:   stderr,
		returned: make(chan error),
	}
	for _, sig := range signals {
		r.signals <- sig
	}
	go func() {
		err := run(r.listener, cfg, r.signals, w)
		w.Close()
		r.returned <- err
	}()
	return r
}

// readLog reads the log until its end.
func (r *testRun) readLog() { r.log.ReadFrom(r.stderr) }

// wait waits until run has returned, and returns its result.
func (r *testRun) wait() error {
	err := <-r.returned
	synctest.Wait() // until readLog has seen the end
	return err
}

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
		debug.SetGCPercent(400)        // so that the clients leave more of the CPU to the server
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

// command returns the command that runs the server of a role with args. A GOGC that is empty is
// as good as none.
func command(server string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), role+"="+server, "GOGC=")
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

	var port int
	if _, err := fmt.Sscanf(p.line(), "Server listening on 127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	p.addr = fmt.Sprint("127.0.0.1:", port)
	return p
}

// kvactor launches the server with args.
func kvactor(t testing.TB, args ...string) *process {
	t.Helper()
	return launch(t, command("kvactor", args...))
}

// wantLine reads the next line of the log and checks it.
func (p *process) wantLine(want string) {
	p.t.Helper()
	if line := p.line(); line != want+"\n" {
		p.t.Fatalf("logged %q, want %q", line, want)
	}
}

// line reads the next line of the log.
func (p *process) line() string {
	p.t.Helper()
	p.stderr.SetReadDeadline(time.Now().Add(time.Minute)) // in case it is missing
	line, err := p.log.ReadString('\n')
	if err != nil {
		p.t.Fatalf("logged %q, %v, want a line", line, err)
	}
	p.stderr.SetReadDeadline(time.Time{})
	return line
}

// signal sends sig to the server.
func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wantEnd waits until the server has ended after a signal, checks its exit code, and returns
// the rest of its log. The end should take less than 5 s. After 8 s, because machines may be
// busy, wantEnd kills the server as the test harness would.
func (p *process) wantEnd() (log string) {
	p.t.Helper()
	kill := time.AfterFunc(8*time.Second, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	p.cmd.Wait()
	if p.cmd.ProcessState.ExitCode() != 0 {
		p.t.Errorf("the server ended with %v, want exit code 0", p.cmd.ProcessState)
	}
	rest, _ := io.ReadAll(p.log)
	return string(rest)
}

// memory returns a size in bytes that Linux knows of the server: VmHWM is the most memory that
// it has occupied so far. RssFile is what is mapped from files now, and RssAnon is the rest.
func (p *process) memory(name string) int64 {
	p.t.Helper()
	kB := number(os.DirFS("/proc"), fmt.Sprint(p.cmd.Process.Pid, "/status"), name+":")
	if kB == math.MaxInt64 {
		p.t.Fatalf("Linux does not know %s", name)
	}
	return kB << 10
}

func (p *process) dial() apitest.Client {
	p.t.Helper()
	c := apitest.Dial(p.t, p.addr)
	c.SetDeadline(time.Now().Add(time.Minute)) // in case the server does not respond
	return c
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
	c.Send(apitest.Header("PUT", "/kv/a", "Expect: 100-continue", "Content-Length: 10"))
	c.WantResponse("PUT", http.StatusContinue, "")
	return c
}
