// Package lesson tests the lesson: the outputs that its READMEs quote and what they claim.
package lesson

import (
	"cmp"
	"errors"
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
	program = regexp.MustCompile(`^\$ go run \./actor/lesson/([\w-]+)\n`)
	guest   = regexp.MustCompile(`\b(Ann|Bob|Eve)\b`)
	count   = regexp.MustCompile(`\b\d+ tickets|sold \d+`)
)

// told returns the lines of a program without their columns, as "Ann: waits to send". The
// first line names the columns. What the runtime writes of a crash stays as it is.
func told(out string) string {
	out, crash, crashed := strings.Cut(out, "fatal error:")
	header, lines, _ := strings.Cut(out, "\n")
	var b strings.Builder
	for line := range strings.Lines(lines) {
		text := strings.TrimLeft(line, " ")
		name, _, _ := strings.Cut(header[min(len(line)-len(text), len(header)):], " ")
		fmt.Fprintf(&b, "%s: %s", name, text)
	}
	if crashed {
		b.WriteString("fatal error:" + crash)
	}
	return b.String()
}

// inAnyOrder are the programs whose lines may come in another order than the one
// that README.md quotes. README.md says so of each.
var inAnyOrder = []string{"1-race", "2-lock", "3-owner", "5-stop", "8-tokens"}

// general replaces what may vary in what a program told.
func general(name, told string) string {
	if !slices.Contains(inAnyOrder, name) {
		return told
	}
	told, crash, crashed := strings.Cut(told, "fatal error:")
	told = count.ReplaceAllString(guest.ReplaceAllString(told, "NAME"), "N")
	told = strings.Join(slices.Sorted(strings.Lines(told)), "")
	if crashed {
		told += "fatal error:" + crash
	}
	return told
}

// TestPrograms runs each program that README.md quotes, and compares. A machine that is
// busy may disturb the pauses of a program, so one of three runs must be as quoted. What
// README.md says of every run is checked in every run.
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
		pattern := regexp.QuoteMeta(general(name, told(want)))
		pattern = strings.ReplaceAll(pattern, "\n"+`\.\.\.`+"\n", "\n(?s:.*\n)?")
		asQuoted := regexp.MustCompile("^" + pattern + "$")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			for range 3 {
				got = run(t, ".", "go", "run", "./"+name)
				got = strings.TrimSuffix(got, "exit status 1\n") // of go run, which writes the status of the program before
				if claim := claims[name]; claim != nil {
					if err := claim(told(got)); err != nil {
						t.Errorf("%v in\n%s", err, got)
					}
				}
				if asQuoted.MatchString(general(name, told(got))) {
					return
				}
			}
			t.Errorf("it wrote\n%s\nThe README quotes\n%s", got, want)
		})
	}
}

// numbers returns the sum of the numbers that follow each match of prefix.
func numbers(told, prefix string) (sum int) {
	for _, match := range regexp.MustCompile("(?m)"+prefix+`(\d+)`).FindAllStringSubmatch(told, -1) {
		n, _ := strconv.Atoi(match[1])
		sum += n
	}
	return sum
}

// claims check what README.md says of every run of a program.
var claims = map[string]func(told string) error{
	"2-lock": func(told string) error {
		if strings.LastIndex(told, "sees") > strings.Index(told, "has a ticket") || strings.Count(told, "has a ticket") != 2 {
			return errors.New("not every guest checks before one of them acts, or not all get a ticket")
		}
		return nil
	},
	"3-owner": func(told string) error {
		served := regexp.MustCompile(`(?m)^owner: (?:receives from|replies to) (\w+)$`).FindAllStringSubmatch(told, -1)
		if len(served) != 4 || served[0][1] != served[1][1] || served[2][1] != served[3][1] {
			return errors.New("the owner does not reply to a request before it receives the next")
		}
		if strings.Count(told, "is yours\n") != 1 {
			return errors.New("not one guest gets the seat")
		}
		return nil
	},
	"5-stop": func(told string) error {
		if sold, got := numbers(told, "^owner: sold "), numbers(told, "^(?:Ann|Bob|Eve): "); sold != got {
			return fmt.Errorf("the owner sold %d tickets, and the callers have %d", sold, got)
		}
		return nil
	},
	"7-log": func(told string) error {
		written := 0
		for _, batch := range regexp.MustCompile(`writes \[(.*)\]`).FindAllStringSubmatch(told, -1) {
			written += len(strings.Fields(batch[1]))
		}
		drops, reported := strings.Count(told, "sender: drops"), numbers(told, "dropped: ")
		if written+drops != 10 || reported != drops {
			return fmt.Errorf("%d lines are written and %d dropped, of which %d are reported", written, drops, reported)
		}
		return nil
	},
	"8-line": func(told string) error {
		free := 4
		for line := range strings.Lines(told) {
			free += numbers(line, "gives back ") - numbers(line, "owner: grants ")
			if free < 0 {
				return fmt.Errorf("the owner grants more seats than there are: %s", line)
			}
		}
		return nil
	},
	"9-pay": func(told string) error {
		orders := strings.Count(told, " orders ")
		if replies := regexp.MustCompile(`\bis (taken|yours|not paid|given up)\b`).FindAllString(told, -1); len(replies) != orders {
			return fmt.Errorf("%d orders, and %d replies", orders, len(replies))
		}
		return nil
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
	mustRun(t, ".", "go", "build", "-race", "-o", bin, "./1-race", "./2-lock")
	if out := run(t, ".", bin+"2-lock"); strings.Contains(out, "DATA RACE") {
		t.Errorf("2-lock has a data race:\n%s", out)
	}
	report, _, _ := strings.Cut(run(t, ".", bin+"1-race"), "lets them go on")
	if !strings.Contains(report, "WARNING: DATA RACE\n") || strings.Count(report, "1-race/main.go:18 ") < 2 {
		t.Errorf("1-race begins with\n%s", report)
	}
}

// TestProgramsFitOnAScreen keeps the promise of a screen for each program, without its last
// lines, which are the same in all of them.
func TestProgramsFitOnAScreen(t *testing.T) {
	limits := map[string]int{"8-line": 92, "9-pay": 110}
	programs, err := filepath.Glob("*/main.go")
	if err != nil || len(programs) == 0 {
		t.Fatalf("%d programs, %v", len(programs), err)
	}
	for _, name := range programs {
		code, _, _ := strings.Cut(read(t, name), "\nconst columns")
		if lines := strings.Count(code, "\n"); lines > cmp.Or(limits[filepath.Dir(name)], 66) {
			t.Errorf("%s has %d lines", name, lines)
		}
	}
}
