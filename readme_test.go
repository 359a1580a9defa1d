package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	quotedCode = regexp.MustCompile("(?s)\n```go\n(.*?)```")
	quotedTest = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	quotedFile = regexp.MustCompile(`\]\(([^):#]+)[)#]`)
	space      = regexp.MustCompile(`(?m)^\s+`)
)

// What the READMEs quote is there: their Go code stands in a file of the repository, where
// it may be indented, and so do the tests and the files that they name.
func TestREADMEs(t *testing.T) {
	var source string
	var readmes []string
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		switch {
		case err == nil && filepath.Ext(path) == ".go":
			source += read(t, path)
		case err == nil && filepath.Base(path) == "README.md":
			readmes = append(readmes, path)
		}
		return err
	})
	if err != nil || len(readmes) != 5 {
		t.Fatalf("%d READMEs, %v", len(readmes), err)
	}
	unindented := space.ReplaceAllString(source, "")
	for _, name := range readmes {
		readme := read(t, name)
		for _, code := range quotedCode.FindAllStringSubmatch(readme, -1) {
			if !strings.Contains(unindented, space.ReplaceAllString(code[1], "")) {
				t.Errorf("no file has this code of %s:\n%s", name, code[1])
			}
		}
		for _, test := range quotedTest.FindAllString(readme, -1) {
			if !strings.Contains(source, "func "+test+"(") {
				t.Errorf("%s names %s, and there is no such test", name, test)
			}
		}
		for _, link := range quotedFile.FindAllStringSubmatch(readme, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), link[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
