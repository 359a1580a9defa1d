//go:build watch

package exercises

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
)

func TestWatch(t *testing.T) {
	mustWatch := func(t *testing.T, store *Store, key string) <-chan string {
		t.Helper()
		values, err := store.Watch(t.Context(), key)
		if err != nil {
			t.Fatalf("Watch(%q) returned %v", key, err)
		}
		return values
	}
	// next returns what a watcher can receive now.
	next := func(values <-chan string) string {
		synctest.Wait()
		select {
		case value, open := <-values:
			if !open {
				return "closed"
			}
			return value
		default:
			return "nothing"
		}
	}
	wantNext := func(t *testing.T, values <-chan string, want string) {
		t.Helper()
		if got := next(values); got != want {
			t.Errorf("the watcher receives %s, want %s", got, want)
		}
	}

	t.Run("each watcher sees each value", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			first, second := mustWatch(t, store, "a"), mustWatch(t, store, "a")
			for _, value := range []string{"1", "2", "3"} {
				mustPut(t, store, "a", value)
				mustPut(t, store, "b", "another key")
				wantNext(t, first, value)
				wantNext(t, second, value)
			}
			wantNext(t, first, "nothing")
		})
	})

	t.Run("a slow watcher misses values but not the last", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			slow := mustWatch(t, store, "a")
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := range 1000 {
					store.Put(context.Background(), "a", fmt.Sprint(i))
				}
			}()
			synctest.Wait()
			select {
			case <-done:
			default:
				t.Fatal("Put waits for a watcher that does not receive")
			}
			last := ""
			for value := next(slow); value != "nothing"; value = next(slow) {
				last = value
			}
			if last != "999" {
				t.Errorf("the last value that the watcher receives is %s, want 999", last)
			}
		})
	})

	t.Run("watchers end with the store", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			values := mustWatch(t, store, "a")
			mustPut(t, store, "a", "1")
			store.Stop()
			wantNext(t, values, "1")
			wantNext(t, values, "closed")
		})
	})

	t.Run("the owner must receive the request", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			call := func(ctx context.Context, s *Store) error {
				_, err := s.Watch(ctx, "a")
				return err
			}
			wantWaits(t, store, call)
			wantErrors(t, store, call)
		})
	})
}
