// Package lesson tests the lesson: the outputs that its READMEs quote and what they claim.
package lesson

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var gate = flag.Bool("gate", false, "run the tests that build programs, which takes seconds")

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // unless the command line says another number: some programs sleep
	m.Run()
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// run runs a command in dir and returns what it writes, and, as go run does, a line
// about an exit status that is not 0.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if _, exited := err.(*exec.ExitError); exited {
		return fmt.Sprintf("%s%v\n", out, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// mustRun is like run, for a command that must succeed.
func mustRun(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	if out := run(t, dir, name, args...); regexp.MustCompile(`(?:^|\n)(?:exit status|signal:).*\n$`).MatchString(out) {
		t.Fatal(out)
	}
}

func skipUnlessGate(t *testing.T) {
	t.Helper()
	if !*gate {
		t.Skip("builds programs, which takes seconds: only with -gate, as in .ci/run")
	}
}

// apply returns text after patch, a unified diff of one file. It finds the place of
// a hunk by its lines and not by their numbers.
func apply(text, patch string) (string, error) {
	for _, hunk := range strings.Split("\n"+patch, "\n@@")[1:] {
		var before, after strings.Builder
		_, lines, _ := strings.Cut(hunk, "\n")
		for line := range strings.Lines(lines) {
			switch line[0] {
			case '-':
				before.WriteString(line[1:])
			case '+':
				after.WriteString(line[1:])
			default:
				line = strings.TrimPrefix(line, " ")
				before.WriteString(line)
				after.WriteString(line)
			}
		}
		if n := strings.Count(text, before.String()); n != 1 {
			return "", fmt.Errorf("the file has these lines %d times, and not once:\n%s", n, before.String())
		}
		text = strings.Replace(text, before.String(), after.String(), 1)
	}
	return text, nil
}

// blocks returns the fenced blocks of text in language.
func blocks(text, language string) []string {
	var found []string
	for _, part := range strings.Split("\n"+text, "\n```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		found = append(found, block)
	}
	return found
}

var (
	program = regexp.MustCompile(`^\$ go run \./actor/lesson/(\w+)\n`)
	guest   = regexp.MustCompile(`\b(Ann|Bob|Eve)\b`)
	count   = regexp.MustCompile(`\b\d+ (were sent|replies)|\bafter [\d.]+m?s\b`)
	id      = regexp.MustCompile(`goroutine \d+`)
	args    = regexp.MustCompile(`(?m)^(main\.\w+)\(.*\)$`)
)

// general replaces what varies from run to run in the output of a program.
func general(text string) string {
	text = strings.TrimPrefix(text, "each has written once\n") // race may end earlier
	text = guest.ReplaceAllString(text, "NAME")
	text = count.ReplaceAllString(text, "N $1")
	text = id.ReplaceAllString(text, "goroutine N")
	return args.ReplaceAllString(text, "$1(...)")
}

// inAnyOrder are the programs whose lines may come in another order than the one
// that README.md quotes. README.md says so of each.
var inAnyOrder = []string{"lock", "owner", "slow", "stop"}

// TestPrograms runs each program that README.md quotes, and compares.
func TestPrograms(t *testing.T) {
	t.Parallel()
	skipUnlessGate(t)
	for _, block := range blocks(read(t, "../README.md"), "console") {
		match := program.FindStringSubmatch(block)
		if match == nil {
			t.Errorf("the README quotes what this test does not know:\n%s", block)
			continue
		}
		name, want := match[1], block[len(match[0]):]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, ".", "go", "run", "./"+name)
			got = strings.TrimSuffix(got, "exit status 1\n") // of go run, which writes the status of the program before
			if claim := claims[name]; claim != nil {
				claim(t, got)
			}

			generalWant, generalGot := general(want), general(got)
			if slices.Contains(inAnyOrder, name) {
				generalWant, generalGot = sortLines(generalWant), sortLines(generalGot)
			}
			pattern := regexp.QuoteMeta(generalWant)
			pattern = strings.ReplaceAll(pattern, "\n"+`\.\.\.`+"\n", "\n(?s:.*\n)?")
			if !regexp.MustCompile("^" + pattern + "$").MatchString(generalGot) {
				t.Errorf("it wrote\n%s\nThe README quotes\n%s", got, want)
			}
		})
	}
}

func sortLines(text string) string {
	return strings.Join(slices.Sorted(strings.Lines(text)), "")
}

// claims check what README.md says of every run of a program.
var claims = map[string]func(t *testing.T, out string){
	// The owner replies to one request before it receives the next, and one guest
	// gets the seat.
	"owner": func(t *testing.T, out string) {
		var receives, replies, serving string
		for line := range strings.Lines(out) {
			line = strings.TrimSuffix(line, "\n")
			if name, found := strings.CutPrefix(line, "owner receives the request of "); found {
				if serving != "" {
					t.Errorf("the owner receives a second request:\n%s", out)
				}
				serving = name
				receives += name
			}
			if name, found := strings.CutPrefix(line, "owner replies to "); found {
				if serving != name {
					t.Errorf("the owner replies to a caller whose request it has not received:\n%s", out)
				}
				serving = ""
				replies += name
			}
		}
		if receives != replies || len(replies) != len("AnnBob") {
			t.Errorf("the owner receives from %s and replies to %s", receives, replies)
		}
		if strings.Count(out, "is yours\n") != 1 {
			t.Errorf("not one guest gets the seat:\n%s", out)
		}
	},

	// Every guest checks before one of them acts, so every guest gets a ticket.
	"lock": func(t *testing.T, out string) {
		if strings.LastIndex(out, "sees") > strings.Index(out, "takes") || !strings.Contains(out, "sold 2 tickets") {
			t.Errorf("it wrote\n%s", out)
		}
	},

	// About half of the requests are sent. With 1000 tosses of a coin, fewer than
	// 300 or more than 700 never come.
	"giveup": func(t *testing.T, out string) {
		match := regexp.MustCompile(`context, (\d+) were sent`).FindStringSubmatch(out)
		if match == nil {
			t.Fatalf("it wrote\n%s", out)
		}
		if sent, _ := strconv.Atoi(match[1]); sent < 300 || sent > 700 {
			t.Errorf("%d of 1000 requests were sent", sent)
		}
	},

	// The last guest waits for both writes.
	"slow": func(t *testing.T, out string) {
		var longest time.Duration
		for _, match := range regexp.MustCompile(`after (\S+)`).FindAllStringSubmatch(out, -1) {
			d, _ := time.ParseDuration(match[1])
			longest = max(longest, d)
		}
		if longest < 400*time.Millisecond {
			t.Errorf("no guest waits for both writes:\n%s", out)
		}
	},

	// The callers got as many replies as the owner sent.
	"stop": func(t *testing.T, out string) {
		sum := 0
		for _, match := range regexp.MustCompile(`(after|got) (\d+) replies`).FindAllStringSubmatch(out, -1) {
			n, _ := strconv.Atoi(match[2])
			if match[1] == "after" {
				n = -n
			}
			sum += n
		}
		if sum != 0 {
			t.Errorf("the numbers of replies sent and got differ by %d:\n%s", sum, out)
		}
	},
}

// TestRaceDetector checks what README.md says that the race detector reports.
func TestRaceDetector(t *testing.T) {
	t.Parallel()
	skipUnlessGate(t)
	info, _ := debug.ReadBuildInfo()
	if info == nil || !slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("needs the race detector: run this test with -race")
	}
	bin := t.TempDir() + string(filepath.Separator)
	mustRun(t, ".", "go", "build", "-race", "-o", bin, "./lock", "./race")
	if out := run(t, ".", bin+"lock"); strings.Contains(out, "DATA RACE") {
		t.Errorf("lock has a data race:\n%s", out)
	}
	report, _, _ := strings.Cut(run(t, ".", bin+"race"), "each has written once")
	if !strings.HasPrefix(report, "==================\nWARNING: DATA RACE\n") || strings.Count(report, "race/main.go:15 ") < 2 {
		t.Errorf("race begins with\n%s", report)
	}
}

// TestProgramsFitOnAScreen keeps the promise of one screen.
func TestProgramsFitOnAScreen(t *testing.T) {
	programs, err := filepath.Glob("*/main.go")
	if err != nil || len(programs) == 0 {
		t.Fatalf("%d programs, %v", len(programs), err)
	}
	for _, name := range programs {
		if lines := strings.Count(read(t, name), "\n"); lines > 60 {
			t.Errorf("%s has %d lines", name, lines)
		}
	}
}
