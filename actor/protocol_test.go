package actor

import (
	_ "embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
		check := compile(t)
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

	// The controls: Spin must notice each change that the model offers. Changes that break
	// different guarantees are made together, because compiling takes most of the time.
	for _, changes := range []map[string][]string{
		{
			"BUFFERED":   {"it_ends"},
			"NOCAP":      {"owner_never_waits"},
			"REPLYFIRST": {"linearizable"},
			"UNCHECKED":  {"error_means_no_effect"},
		}, {
			"LATE":   {"received_means_done", "error_means_no_effect"},
			"NOWAKE": {"it_ends"},
		},
	} {
		switches := slices.Sorted(maps.Keys(changes))
		t.Run(fmt.Sprint("with ", switches), func(t *testing.T) {
			t.Parallel()
			check := compile(t, switches...)
			for change, guarantees := range changes {
				for _, guarantee := range guarantees {
					if out := check(t, guarantee); !strings.Contains(out, "errors: 1\n") {
						t.Errorf("%s: %s still holds\n%s", change, guarantee, out)
					}
				}
			}
		})
	}
}

// compile makes Spin translate the model, with switches, to a C program that
// explores it, and compiles that. It returns a function that runs the program for a
// guarantee and returns its output.
func compile(t *testing.T, switches ...string) func(t *testing.T, guarantee string) string {
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
	args := []string{"-a"}
	for _, name := range switches {
		args = append(args, "-D"+name)
	}
	run(t, "spin", append(args, "protocol.pml")...)
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
