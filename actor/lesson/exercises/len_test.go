//go:build len

package exercises

import (
	"context"
	"testing"
)

func TestLen(t *testing.T) {
	check(t, func(t *testing.T, store *Store) {
		for i, key := range []string{"", "a", "b"} {
			if key != "" {
				mustPut(t, store, key, "1")
				mustPut(t, store, key, "2") // the same key
			}
			if n, err := store.Len(t.Context()); n != i || err != nil {
				t.Errorf("Len() = %d, %v, want %d", n, err, i)
			}
		}
		call := func(ctx context.Context, s *Store) error {
			_, err := s.Len(ctx)
			return err
		}
		wantWaits(t, store, call)
		wantErrors(t, store, call)
	})
}
