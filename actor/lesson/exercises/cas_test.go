//go:build cas

package exercises

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestCompareAndSet(t *testing.T) {
	check(t, func(t *testing.T, store *Store) {
		for _, step := range []struct {
			old, value string
			set        bool
			last       string
		}{
			{"Ann", "Bob", false, ""}, // the seat is free, not Ann's
			{"", "Ann", true, "Ann"},
			{"", "Bob", false, "Ann"},
			{"Bob", "Eve", false, "Ann"},
			{"Ann", "Bob", true, "Bob"},
		} {
			set, err := store.CompareAndSet(t.Context(), "1A", step.old, step.value)
			if set != step.set || err != nil {
				t.Errorf("CompareAndSet(%q, %q) = %t, %v, want %t", step.old, step.value, set, err, step.set)
			}
			wantValue(t, store, "1A", step.last)
		}

		// Bob wants Ann's seat. In the middle of it Eve takes that seat.
		mustPut(t, store, "1B", "Ann")
		view := interrupted(store, func() { mustPut(t, store, "1B", "Eve") })
		set, err := view.CompareAndSet(t.Context(), "1B", "Ann", "Bob")
		synctest.Wait() // until Eve is done
		if last, _ := store.Get(t.Context(), "1B"); last != "Eve" || err != nil {
			t.Errorf("CompareAndSet returned %t, %v, and now the value is %q: Bob has replaced Eve, not Ann", set, err, last)
		}

		call := func(ctx context.Context, s *Store) error {
			_, err := s.CompareAndSet(ctx, "1A", "Bob", "Eve")
			return err
		}
		wantWaits(t, store, call)
		wantErrors(t, store, call)
	})
}
