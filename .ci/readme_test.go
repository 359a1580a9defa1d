// Package ci checks what the README files of the repository quote and name.
package ci

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	code    = regexp.MustCompile("(?s)\n```go\n(.*?)```")
	name    = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	link    = regexp.MustCompile(`\]\(([^):#]*)#?([^):]*)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	indent  = regexp.MustCompile(`(?m)^\s+`)
	dropped = regexp.MustCompile(`[^\w -]`) // in the anchor of a heading
)

// The Go code that a README quotes stands in a file of the repository, where it may be
// indented. The tests that it names are there, and so are the files and headings that it
// links to. The commands are run by .ci/readme, and what the lesson's README files quote of
// programs and tests is checked by package lesson.
func TestREADMEs(t *testing.T) {
	source, readmes := "", make(map[string]string)
	anchors := make(map[string]bool) // README#heading
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		switch {
		case err == nil && filepath.Ext(path) == ".go":
			source += read(t, path)
		case err == nil && filepath.Base(path) == "README.md":
			readmes[path] = read(t, path)
			for _, match := range heading.FindAllStringSubmatch(readmes[path], -1) {
				text := dropped.ReplaceAllString(strings.ToLower(match[1]), "")
				anchors[path+"#"+strings.ReplaceAll(text, " ", "-")] = true
			}
		}
		return err
	})
	if err != nil || len(readmes) != 5 {
		t.Fatalf("%d READMEs, %v", len(readmes), err)
	}
	source = indent.ReplaceAllString(source, "")
	for file, readme := range readmes {
		for _, match := range code.FindAllStringSubmatch(readme, -1) {
			if !strings.Contains(source, indent.ReplaceAllString(match[1], "")) {
				t.Errorf("no file has this code of %s:\n%s", file, match[1])
			}
		}
		for _, test := range name.FindAllString(readme, -1) {
			if !strings.Contains(source, "func "+test+"(") {
				t.Errorf("%s names %s, and there is no such test", file, test)
			}
		}
		for _, match := range link.FindAllStringSubmatch(readme, -1) {
			target := file
			if match[1] != "" {
				target = filepath.Join(filepath.Dir(file), match[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if anchor := target + "#" + match[2]; match[2] != "" && !anchors[anchor] {
				t.Errorf("%s links to %s, and there is no such heading", file, anchor)
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
