package lesson

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// addExercises applies the solutions that exercises/README.md shows, and the wrong answers
// of exercises/testdata, to copies of the store. It returns a test that checks that the test
// of each exercise accepts the solution and rejects the wrong answers.
func addExercises(t *testing.T, all *variants) func(t *testing.T) {
	store := read(t, "exercises/store.go")
	want := make(map[string]string) // from the name of a variant to what its tests write

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
		all.tags = append(all.tags, tag[1])
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
	if given, _ := filepath.Glob("exercises/*_test.go"); len(given) != len(all.tags)+1 {
		t.Errorf("%d exercises in README.md, and %d files of tests", len(all.tags), len(given))
	}

	return func(t *testing.T) {
		t.Parallel()
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
}
