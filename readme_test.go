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
	quotedCode = regexp.MustCompile("(?s)```go\n(.*?)```")
	quotedTest = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)\\w+)`")
)

// What a README quotes is there: its Go code stands in a file of the repository, and so
// do the tests that it names.
func TestREADME(t *testing.T) {
	var source strings.Builder
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "httpapi/README.md"} { // package actor checks its own
		readme, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		for _, block := range quotedCode.FindAllSubmatch(readme, -1) {
			if !strings.Contains(source.String(), string(block[1])) {
				t.Errorf("no file has this code of %s:\n%s", name, block[1])
			}
		}
		for _, test := range quotedTest.FindAllSubmatch(readme, -1) {
			if !strings.Contains(source.String(), "func "+string(test[1])+"(") {
				t.Errorf("%s names %s, and there is no such test", name, test[1])
			}
		}
	}
}
