package lesson

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Variants are copies of a package, each with a change, and their tests. One binary has
// all of them, because linking a binary for each would take most of the time. Each call of
// run is a process of its own, because a test that fails may end the process.
type variants struct {
	module  string              // the folder that has a folder for each variant
	overlay map[string]string   // from a file name that the go command sees to that of a test file
	tests   map[string][]string // from the name of a variant to its tests
}

func newVariants(t *testing.T) *variants {
	v := &variants{module: t.TempDir(), overlay: make(map[string]string), tests: make(map[string][]string)}
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
	if base, isTest := strings.CutSuffix(path, "_test.go"); isTest {
		v.overlay[base+"_in_variant.go"] = path // other packages cannot import a test file
		for _, test := range testFunc.FindAllStringSubmatch(content, -1) {
			v.tests[name] = append(v.tests[name], test[1])
		}
	}
}

// build builds the binary, with tags for all packages.
func (v *variants) build(t *testing.T, tags ...string) {
	t.Helper()
	var imports, runs strings.Builder
	for name, tests := range v.tests {
		alias := strings.ReplaceAll(name, "-", "_")
		fmt.Fprintf(&imports, "import %s %q\n", alias, "kvactor/"+name)
		for _, test := range tests {
			fmt.Fprintf(&runs, "t.Run(%q, %s.%s)\n", name+"/"+test, alias, test)
		}
	}
	write(t, filepath.Join(v.module, "variants_test.go"),
		fmt.Sprintf("package variants\nimport \"testing\"\n%s\nfunc TestVariants(t *testing.T) {\n%s}\n", &imports, &runs))
	overlay, err := json.Marshal(map[string]any{"Replace": v.overlay})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(v.module, "overlay.json"), string(overlay))
	mustRun(t, v.module, "go", "test", "-c", "-o", "variants", "-overlay", "overlay.json",
		"-tags", strings.Join(tags, ","), "-vet=off", "-ldflags=-w", ".")
}

// run runs the tests of the variant name that match pattern, and returns what they write.
func (v *variants) run(t *testing.T, name, pattern string) string {
	t.Helper()
	return run(t, filepath.Join(v.module, name), filepath.Join(v.module, "variants"),
		"-test.v", "-test.run=^TestVariants$/^"+name+"$/"+pattern, "-test.timeout=1m")
}
