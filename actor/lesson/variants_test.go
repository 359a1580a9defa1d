package lesson

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestBreaksAndExercises checks breaks/README.md and exercises/README.md.
func TestBreaksAndExercises(t *testing.T) {
	t.Parallel()
	skipUnlessGate(t)
	all := &variants{dir: t.TempDir(), overlay: make(map[string]string), tests: make(map[string][]string)}
	testBreaks, testExercises := addBreaks(t, all), addExercises(t, all)
	all.build(t)
	t.Run("breaks", testBreaks)
	t.Run("exercises", testExercises)
}

// Variants are copies of a package, each with a change, and their tests. One binary has
// all of them, because linking a binary for each would take most of the time. Each call of
// run is a process of its own, because a test that fails may end the process.
//
// The go command sees the copies in folders of this package, so that it can keep what it
// has compiled for the next time. An overlay says where they are.
type variants struct {
	dir     string              // has the copies, the overlay and the binary
	overlay map[string]string   // from a file name that the go command sees to the file
	tests   map[string][]string // from the name of a variant to its tests
	tags    []string            // of files of tests
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// add adds a file to the variant name.
func (v *variants) add(t *testing.T, name, file, content string) {
	t.Helper()
	if base, isTest := strings.CutSuffix(file, "_test.go"); isTest {
		file = base + "_in_variant.go" // other packages cannot import a test file
		for _, test := range testFunc.FindAllStringSubmatch(content, -1) {
			v.tests[name] = append(v.tests[name], test[1])
		}
	}
	v.write(t, filepath.Join(name, file), content)
}

func (v *variants) write(t *testing.T, file, content string) {
	t.Helper()
	path := filepath.Join(v.dir, file)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(content), 0o666)); err != nil {
		t.Fatal(err)
	}
	v.overlay[filepath.Join("variants", file)] = path
}

// build builds the binary.
func (v *variants) build(t *testing.T) {
	t.Helper()
	var imports, runs strings.Builder
	for _, name := range slices.Sorted(maps.Keys(v.tests)) {
		alias := strings.ReplaceAll(name, "-", "_")
		fmt.Fprintf(&imports, "import %s %q\n", alias, "kvactor/actor/lesson/variants/"+name)
		for _, test := range v.tests[name] {
			fmt.Fprintf(&runs, "t.Run(%q, %s.%s)\n", name+"/"+test, alias, test)
		}
	}
	v.write(t, "variants_test.go",
		fmt.Sprintf("package variants\nimport \"testing\"\n%s\nfunc TestVariants(t *testing.T) {\n%s}\n", &imports, &runs))
	overlay, err := json.Marshal(map[string]any{"Replace": v.overlay})
	if err != nil {
		t.Fatal(err)
	}
	v.write(t, "overlay.json", string(overlay))
	mustRun(t, ".", "go", "test", "-c", "-o", filepath.Join(v.dir, "variants"), "-overlay", filepath.Join(v.dir, "overlay.json"),
		"-tags", strings.Join(v.tags, ","), "-vet=off", "-ldflags=-w", "./variants")
}

// run runs the tests of the variant name that match pattern, and returns what they write.
func (v *variants) run(t *testing.T, name, pattern string) string {
	t.Helper()
	return run(t, filepath.Join(v.dir, name), filepath.Join(v.dir, "variants"),
		"-test.v", "-test.run=^TestVariants$/^"+name+"$/"+pattern, "-test.timeout=1m")
}
