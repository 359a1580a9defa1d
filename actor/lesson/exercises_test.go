package lesson

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExercises checks the test of each exercise: it must accept the solution that
// exercises/README.md shows, and reject each wrong answer of exercises/testdata.
func TestExercises(t *testing.T) {
	t.Parallel()
	skipIfShort(t)
	all := newVariants(t)
	store := read(t, "exercises/store.go")
	want := make(map[string]string) // from the name of a variant to what its tests write
	var tags []string

	add := func(name, tag, patch, result string) {
		changed, err := apply(store, patch)
		if err != nil {
			t.Fatalf("%s: %v\nHave you changed exercises/store.go to solve an exercise? Then all is well: "+
				"this test needs the store as it was given.", name, err)
		}
		want[name] = result
		all.add(t, name, "store.go", changed)
		for _, file := range []string{"helpers_test.go", tag + "_test.go"} {
			all.add(t, name, file, read(t, filepath.Join("exercises", file)))
		}
	}
	for _, section := range strings.Split(read(t, "exercises/README.md"), "\n## ")[1:] {
		tag := regexp.MustCompile(`-tags (\w+)`).FindStringSubmatch(section)
		solutions := blocks(section, "diff")
		if tag == nil || len(solutions) != 1 {
			t.Fatalf("this section has no command, or not one solution:\n%s", section)
		}
		tags = append(tags, tag[1])
		add("solution-"+tag[1], tag[1], solutions[0], "\nPASS\n")

		wrong, err := filepath.Glob("exercises/testdata/wrong/" + tag[1] + "-*.patch")
		if err != nil || len(wrong) == 0 {
			t.Fatalf("%d wrong answers to %s, %v", len(wrong), tag[1], err)
		}
		for _, file := range wrong {
			name := strings.TrimSuffix(filepath.Base(file), ".patch")
			add("wrong-"+name, tag[1], read(t, file), "--- FAIL: ")
		}
	}
	if given, _ := filepath.Glob("exercises/*_test.go"); len(given) != len(tags)+1 {
		t.Errorf("%d exercises in README.md, and %d files of tests", len(tags), len(given))
	}

	all.build(t, tags...)
	var said strings.Builder
	for name, result := range want {
		out := all.run(t, name, "")
		if !strings.Contains(out, result) {
			t.Errorf("%s: want %q in\n%s", name, result, out)
		}
		said.WriteString(out)
	}

	// The words that exercises/README.md quotes of the tests.
	for _, line := range blocks(read(t, "exercises/README.md"), "text") {
		if !strings.Contains(said.String(), strings.TrimSpace(line)) {
			t.Errorf("no test says\n%s", line)
		}
	}
}
