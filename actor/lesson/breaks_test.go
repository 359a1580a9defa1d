package lesson

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// addBreaks applies each patch of breaks to a copy of package actor. It returns a test that
// checks that the command that breaks/README.md shows fails, with the words that it quotes.
func addBreaks(t *testing.T, all *variants) func(t *testing.T) {
	var answers [][3]string // patch, test, and words that the test must write
	quote := regexp.MustCompile("(?s)\ngo test -run '\\^(Test\\w+)\\$' ./actor\n```\n\n```text\n(.*?)\n```")
	sections, _, _ := strings.Cut(read(t, "breaks/README.md"), "\n## When it hangs\n")
	for _, section := range strings.Split(sections, "\n## ")[1:] {
		name, _, _ := strings.Cut(section, "\n")
		files := []string{"store.go", "table.go", "store_test.go"}
		for _, match := range quote.FindAllStringSubmatch(section, -1) {
			answers = append(answers, [3]string{name, match[1], match[2]})
			files = append(files, fileOf(t, match[1]))
		}
		if len(files) == 3 {
			t.Errorf("breaks/README.md: %s has no command with its words", name)
		}

		patch := read(t, filepath.Join("breaks", name+".patch"))
		changed := regexp.MustCompile(`(?m)^\+\+\+ b/actor/(\S+)`).FindStringSubmatch(patch)
		if changed == nil {
			t.Fatalf("%s.patch: changes no file of package actor", name)
		}
		for _, file := range files {
			content := read(t, "../"+file)
			if file == changed[1] {
				var err error
				if content, err = apply(content, patch); err != nil {
					t.Fatalf("%s.patch: %v", name, err)
				}
			}
			all.add(t, name, file, content)
		}
	}
	all.add(t, "own-call", "hang_test.go", read(t, "testdata/hang_test.go"))
	patches, _ := filepath.Glob("breaks/*.patch")
	for _, patch := range patches {
		name := strings.TrimSuffix(filepath.Base(patch), ".patch")
		if !slices.ContainsFunc(answers, func(answer [3]string) bool { return answer[0] == name }) {
			t.Errorf("breaks/README.md has no answer for %s", name)
		}
	}

	return func(t *testing.T) {
		t.Parallel()
		t.Run("when it hangs", func(t *testing.T) { wantStates(t, all.run(t, "own-call", "^TestHang$")) })
		for _, answer := range answers {
			name, test, words := answer[0], answer[1], answer[2]
			t.Run(name+" "+test, func(t *testing.T) {
				t.Parallel()
				out := all.run(t, name, "^"+test+"$")
				if !strings.Contains(out, words) || !strings.Contains(out, "\nexit status ") {
					t.Errorf("it must fail with %q, and writes\n%s", words, out)
				}
			})
		}
	}
}

// wantStates checks the table "When it hangs" of breaks/README.md: what the stacks in dump
// say of goroutines that wait.
func wantStates(t *testing.T, dump string) {
	t.Helper()
	for _, row := range []struct{ state, top, below string }{
		{"chan receive", "run", ""},
		{"chan send", "run", ""},
		{"select", "ask", "run"},
		{"select", "ask", "Get"},
		{"chan receive", "ask", "Get"},
	} {
		if !slices.ContainsFunc(strings.Split(dump, "\n\n"), func(stack string) bool {
			header, frames, _ := strings.Cut(stack, "\n")
			top, rest, _ := strings.Cut(frames, "\n")
			return strings.Contains(header, "["+row.state) &&
				strings.Contains(top, ".(*Store)."+row.top+"(") &&
				(row.below == "" || strings.Contains(rest, ".(*Store)."+row.below+"("))
		}) {
			t.Errorf("no stack has [%s] in %s, called by %s:\n%s", row.state, row.top, row.below, dump)
		}
	}
}

// fileOf returns the name of the file of package actor that has test.
func fileOf(t *testing.T, test string) string {
	t.Helper()
	files, _ := filepath.Glob("../*_test.go")
	for _, file := range files {
		if strings.Contains(read(t, file), "func "+test+"(") {
			return filepath.Base(file)
		}
	}
	t.Fatalf("package actor has no test %s", test)
	return ""
}
