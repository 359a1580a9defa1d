package lesson

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Variants are packages that differ in one file, with their tests. All of them are in one
// binary, because linking one for each would take most of the time. Each test runs in a
// process of its own, because a test that fails may end the process.
type variants struct {
	module  string            // the folder that has a folder for each variant
	renamed map[string]string // from a name that is no test file's to that of a test file
	imports strings.Builder
	runs    strings.Builder
}

func newVariants(t *testing.T) *variants {
	v := &variants{module: t.TempDir(), renamed: make(map[string]string)}
	for _, file := range []string{"go.mod", "go.sum"} {
		write(t, filepath.Join(v.module, file), read(t, "../../"+file))
	}
	return v
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// add adds a file to the variant name.
func (v *variants) add(t *testing.T, name, file, content string) {
	t.Helper()
	path := filepath.Join(v.module, name, file)
	write(t, path, content)
	base, isTest := strings.CutSuffix(path, "_test.go")
	if !isTest {
		return
	}
	v.renamed[base+"_in_variant.go"] = path
	for _, test := range testFunc.FindAllStringSubmatch(content, -1) {
		alias := strings.ReplaceAll(name, "-", "_")
		if !strings.Contains(v.imports.String(), alias+" ") {
			fmt.Fprintf(&v.imports, "import %s %q\n", alias, "kvactor/"+name)
		}
		fmt.Fprintf(&v.runs, "\tt.Run(%q, %s.%s)\n", name+"/"+test[1], alias, test[1])
	}
}

// build builds the binary. Only tests of packages with these build tags are in it.
func (v *variants) build(t *testing.T, tags ...string) {
	t.Helper()
	overlay, err := json.Marshal(map[string]any{"Replace": v.renamed})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(v.module, "overlay.json"), string(overlay))
	write(t, filepath.Join(v.module, "variants_test.go"), "package variants\n\nimport \"testing\"\n"+
		v.imports.String()+"\nfunc TestVariants(t *testing.T) {\n"+v.runs.String()+"}\n")
	mustRun(t, v.module, "go", "test", "-c", "-o", "variants", "-overlay", "overlay.json",
		"-tags", strings.Join(tags, ","), "-vet=off", "-ldflags=-w", ".")
}

// run runs the tests of the variant name that match pattern, and returns what they write.
func (v *variants) run(t *testing.T, name, pattern string) string {
	t.Helper()
	return run(t, filepath.Join(v.module, name), filepath.Join(v.module, "variants"),
		"-test.v", "-test.run=^TestVariants$/^"+name+"$/"+pattern, "-test.timeout=1m")
}
