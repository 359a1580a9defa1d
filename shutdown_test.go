package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A signal ends the connections that have no request. A request that has begun still gets
// its response.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			if signal.Ignored(sig) {
				t.Skip("the tests were started with this signal ignored, as nohup does, and so is the server")
			}
			p := kvactor(t)
			idle := p.dial()
			idle.Want("GET", "/health", "", 200, "")
			uploading := p.beginUpload()
			p.end(sig)
			idle.WantEnd()
			if conn, err := net.Dial("tcp", p.addr); err == nil {
				conn.Close()
				t.Error("the server accepts a new connection")
			}
			uploading.Send("0123456789")
			uploading.WantResponse("PUT", 200, "")
			p.wantExit(0)
		})
	}
}

func TestIgnoredSignalsStayIgnored(t *testing.T) {
	t.Parallel()
	p := launch(t, shell(command("kvactor"), `trap "" INT HUP`))
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		p.signal(sig)
		for range 100 { // the server would stop soon
			p.want("GET", "/health", "", 200, "")
		}
	}
	p.end(syscall.SIGTERM)
	log, _ := io.ReadAll(p.log)
	if !strings.HasSuffix(string(log), "GET /health returning 200\nServer stopping\nServer stopped\n") {
		t.Errorf("logged %q", log)
	}
	p.wantExit(0)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := kvactor(t)
	p.readLimits()
	p.beginUpload()
	p.end(syscall.SIGTERM)
	if line, err := p.log.ReadString('\n'); line != "Server stopping\n" {
		t.Fatalf("logged %q, %v", line, err)
	}
	p.end(syscall.SIGTERM)
	p.cmd.Wait()
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("the server ended with %v, want the signal", p.cmd.ProcessState)
	}
}

// The second signal may follow before run has received the first.
func TestTwoSignalsAtOnceEndAtOnce(t *testing.T) {
	cfg, err := parseFlags([]string{"-addr", "127.0.0.1:0"}, 256<<20, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal, 2)
	signals <- syscall.SIGTERM
	signals <- syscall.SIGINT
	if err := run(cfg, signals, io.Discard); err == nil || err.Error() != "stopped by a second signal" {
		t.Errorf("run returns %v, want that it was stopped by a second signal", err)
	}
}

// A signal may arrive at any moment after main has asked for signals. This test calls run,
// because a signal that is sent to a process could arrive too early.
func TestSignalWhileStarting(t *testing.T) {
	t.Parallel()
	cfg, err := parseFlags([]string{"-addr", ":0"}, 256<<20, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		signals := make(chan os.Signal, 1)
		if i == 0 {
			signals <- syscall.SIGTERM
		} else {
			go func() {
				for range i {
					runtime.Gosched()
				}
				signals <- syscall.SIGTERM
			}()
		}
		var log bytes.Buffer
		err := run(cfg, signals, &log)
		if err != nil || !strings.HasPrefix(log.String(), "Server listening on 0.0.0.0:") ||
			!strings.HasSuffix(log.String(), "\nServer stopping\nServer stopped\n") {
			t.Fatalf("run returns %v and logs %q", err, log.String())
		}
	}
}

func TestSignalAfterTheFirstLine(t *testing.T) {
	t.Parallel()
	for range 5 {
		p := kvactor(t)
		p.end(syscall.SIGTERM)
		p.wantExit(0)
	}
}

// A request has 4 s to finish.
func TestShutdownCutsOffRequestsThatDoNotFinish(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a shutdown may")
	}
	t.Parallel()
	p := kvactor(t)
	p.readLimits()
	stalled := p.beginUpload()
	signaled := time.Now()
	p.end(syscall.SIGTERM)
	log, _ := io.ReadAll(p.log)
	// A request that is cut off may be logged after the last line of the server.
	if !strings.Contains(string(log), "Server stopped\n") || strings.Contains(string(log), "accepted") {
		t.Errorf("logged %q", log)
	}
	p.wantExit(0)
	if passed := time.Since(signaled); passed < 4*time.Second {
		t.Errorf("the request was cut off after %v, want at least 4 s", passed)
	}
	if resp, _, err := stalled.Response("PUT"); err == nil && resp.StatusCode == 200 {
		t.Error("a request that did not finish gets 200")
	}
}
