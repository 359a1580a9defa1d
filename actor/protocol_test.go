package actor

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

//go:embed protocol.pml
var protocol []byte

// What Spin reports if it has found no error and has reached all statements, and if it has not
// explored everything.
var (
	explored = regexp.MustCompile(`(?s)Full statespace search.*errors: 0\n` +
		`.*proctype Caller\n\t\(0 of .*proctype Owner\n\t\(0 of .*proctype Stop\n\t\(0 of `)
	cutShort = regexp.MustCompile("Search not completed|search depth too small|out of memory")
)

// TestProtocolModel shows of a model of the protocol what no run of store.go can show:
// guarantees 2 to 5 and 7 hold in every order of the single steps of three callers, the owner
// and two calls of Stop, whatever each select chooses. The model checker Spin explores these
// orders. The comment in protocol.pml says what this shows and what it does not.
func TestProtocolModel(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v: install %s to check the model of the protocol", err, tool)
		}
	}

	// Spin must find what each change of the model breaks. Changes that break different
	// guarantees are made together, because compiling takes most of the time.
	for _, test := range []struct{ changes, guarantees []string }{
		{nil, []string{"received_means_done", "error_means_no_effect", "owner_never_waits", "linearizable", "it_ends"}},
		{[]string{"BUFFERED", "NOCAP", "REPLYFIRST", "UNCHECKED"}, []string{"it_ends", "owner_never_waits", "linearizable", "error_means_no_effect"}},
		{[]string{"LATE", "NOWAKE"}, []string{"received_means_done", "error_means_no_effect", "it_ends"}},
	} {
		t.Run(fmt.Sprint("with changes ", test.changes), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "protocol.pml"), protocol, 0o666); err != nil {
				t.Fatal(err)
			}
			args := []string{"-a"}
			for _, change := range test.changes {
				args = append(args, "-D"+change)
			}
			runIn(t, dir, "spin", append(args, "protocol.pml")...)
			// By default, Spin skips orders that it takes for equivalent. NOREDUCE makes it
			// try them all.
			runIn(t, dir, "gcc", "-DNOREDUCE", "-w", "-o", "pan", "pan.c")

			for _, guarantee := range test.guarantees {
				t.Run(guarantee, func(t *testing.T) {
					t.Parallel()
					out := runIn(t, dir, "./pan", "-a", "-N", guarantee, "-m1000", "-w18") // large enough, or cutShort matches
					switch holds := explored.MatchString(out) && !cutShort.MatchString(out); {
					case len(test.changes) == 0 && !holds:
						t.Errorf("it does not hold; protocol.pml says how to replay an error\n%s", out)
					case len(test.changes) > 0 && !strings.Contains(out, "errors: 1\n"):
						t.Errorf("it still holds\n%s", out)
					}
				})
			}
		})
	}
}

// runIn runs a command in dir and returns what it writes.
func runIn(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}
