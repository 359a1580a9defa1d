package actor

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

//go:embed protocol.pml
var protocol []byte

// Guarantees 2 to 5 and 7: the model checker Spin tries every order in which the
// steps of three callers, the owner and two calls of Stop can happen. The comment
// in protocol.pml says what this shows and what it does not.
func TestProtocolModel(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v: install %s to check the model of the protocol", err, tool)
		}
	}

	t.Run("no order breaks a guarantee", func(t *testing.T) {
		t.Parallel()
		check := compile(t, "")
		for _, guarantee := range []string{
			"received_means_done",
			"error_means_no_effect",
			"owner_never_waits",
			"linearizable",
			"it_ends",
		} {
			t.Run(guarantee, func(t *testing.T) {
				t.Parallel()
				wantHolds(t, check(t, guarantee))
			})
		}
	})

	// The controls: Spin must notice that these changes break guarantees.
	for _, change := range []struct {
		name     string
		switches string
		breaks   []string
	}{
		{"a buffer for requests", "-DBUFFERED", []string{"it_ends"}},
		{"callers that give up late", "-DLATE", []string{"received_means_done", "error_means_no_effect"}},
		{"replies without capacity", "-DNOCAP", []string{"owner_never_waits"}},
		{"callers that do not wait for stopped", "-DNOWAKE", []string{"it_ends"}},
		{"a reply before the effect", "-DREPLYFIRST", []string{"linearizable"}},
		{"callers that do not check their context first", "-DUNCHECKED", []string{"error_means_no_effect"}},
	} {
		t.Run("with "+change.name, func(t *testing.T) {
			t.Parallel()
			check := compile(t, change.switches)
			for _, guarantee := range change.breaks {
				if out := check(t, guarantee); !strings.Contains(out, "errors: 1\n") {
					t.Errorf("%s still holds\n%s", guarantee, out)
				}
			}
		})
	}
}

// compile makes Spin translate the model, with switches, to a C program that
// explores it, and compiles that. It returns a function that runs the program for a
// guarantee and returns its output.
func compile(t *testing.T, switches string) func(t *testing.T, guarantee string) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "protocol.pml"), protocol, 0o666); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return string(out)
	}
	run(t, "spin", append(strings.Fields(switches), "-a", "protocol.pml")...)
	// By default, Spin skips orders that it takes for equivalent.
	// NOREDUCE makes it try them all.
	run(t, "gcc", "-DNOREDUCE", "-w", "-o", "pan", "pan.c")

	return func(t *testing.T, guarantee string) string {
		t.Helper()
		return run(t, filepath.Join(dir, "pan"), "-a", "-N", guarantee, "-m1000", "-w18") // the sizes that are needed
	}
}

var states = regexp.MustCompile(`\d+ states, stored`)

// wantHolds checks that Spin has explored everything and found no error.
func wantHolds(t *testing.T, out string) {
	t.Helper()
	complete := strings.Contains(out, "Full statespace search")
	for _, problem := range []string{"Search not completed", "search depth too small", "out of memory"} {
		complete = complete && !strings.Contains(out, problem)
	}
	if !complete || !strings.Contains(out, "errors: 0\n") {
		t.Errorf("Spin found an error, or did not explore everything; protocol.pml says how to replay it\n%s", out)
	}
	for _, process := range []string{"Caller", "Owner", "Stop"} {
		if !strings.Contains(out, "unreached in proctype "+process+"\n\t(0 of ") {
			t.Errorf("%s has statements that no order reaches\n%s", process, out)
		}
	}
	t.Log(states.FindString(out))
}
