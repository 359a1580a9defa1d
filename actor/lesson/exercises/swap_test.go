//go:build swap

package exercises

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestSwap(t *testing.T) {
	check(t, func(t *testing.T, store *Store) {
		for _, step := range []struct{ value, old string }{{"Ann", ""}, {"Bob", "Ann"}, {"Bob", "Bob"}} {
			if old, err := store.Swap(t.Context(), "1A", step.value); old != step.old || err != nil {
				t.Errorf("Swap(%q) = %q, %v, want %q", step.value, old, err, step.old)
			}
			wantValue(t, store, "1A", step.value)
		}

		// Ann is in seat 1B. Bob swaps, and Eve puts in the middle of it. One of the
		// two comes first, and the other replaces it.
		mustPut(t, store, "1B", "Ann")
		view := interrupted(store, func() { mustPut(t, store, "1B", "Eve") })
		old, err := view.Swap(t.Context(), "1B", "Bob")
		synctest.Wait() // until Eve is done
		last, _ := store.Get(t.Context(), "1B")
		bobThenEve := old == "Ann" && last == "Eve"
		eveThenBob := old == "Eve" && last == "Bob"
		if err != nil || !bobThenEve && !eveThenBob {
			t.Errorf("Swap returned %q, %v, and now the value is %q: what became of Eve?", old, err, last)
		}

		call := func(ctx context.Context, s *Store) error {
			_, err := s.Swap(ctx, "1A", "Eve")
			return err
		}
		wantWaits(t, store, call)
		wantErrors(t, store, call)
	})
}
