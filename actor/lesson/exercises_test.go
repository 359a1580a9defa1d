package lesson

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// addExercises applies the solutions and the wrong answers of exercises to copies of the
// store. It returns a test that checks that the test of each exercise accepts the solution
// and rejects the wrong answers, each with the words in the first line of its patch.
func addExercises(t *testing.T, all *variants) func(t *testing.T) {
	store, readme := read(t, "exercises/store.go"), read(t, "exercises/README.md")
	want := make(map[string]string) // from the name of a variant to what its tests write

	add := func(tag, name, patch, words string) {
		changed, err := apply(store, patch)
		if err != nil {
			t.Fatalf("%s: %v\nHave you changed exercises/store.go to solve an exercise? Then all is well: "+
				"this test needs the store as it was given.", name, err)
		}
		want[name] = words
		all.add(t, name, "store.go", changed)
		for _, file := range []string{"helpers_test.go", tag + "_test.go"} {
			all.add(t, name, file, read(t, filepath.Join("exercises", file)))
		}
	}
	for _, match := range regexp.MustCompile(`-tags (\w+)`).FindAllStringSubmatch(readme, -1) {
		tag := match[1]
		all.tags = append(all.tags, tag)
		add(tag, "solution-"+tag, read(t, "exercises/solutions/"+tag+".patch"), "\nPASS\n")

		wrong, err := filepath.Glob("exercises/testdata/wrong/" + tag + "-*.patch")
		if err != nil || len(wrong) == 0 {
			t.Fatalf("%d wrong answers to %s, %v", len(wrong), tag, err)
		}
		for _, file := range wrong {
			words, patch, _ := strings.Cut(read(t, file), "\n")
			add(tag, "wrong-"+strings.TrimSuffix(filepath.Base(file), ".patch"), patch, words)
		}
	}
	if given, _ := filepath.Glob("exercises/*_test.go"); len(given) != len(all.tags)+1 {
		t.Errorf("%d exercises in README.md, and %d files of tests", len(all.tags), len(given))
	}

	return func(t *testing.T) {
		t.Parallel()
		for name, words := range want {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if out := all.run(t, name, ""); !strings.Contains(out, words) {
					t.Errorf("want %q in\n%s", words, out)
				}
			})
		}
		// The words that exercises/README.md quotes of the tests are those of a wrong answer.
		for _, line := range blocks(readme, "text") {
			said := false
			for _, words := range want {
				said = said || strings.Contains(words, strings.TrimSpace(line))
			}
			if !said {
				t.Errorf("no test says\n%s", line)
			}
		}
	}
}
