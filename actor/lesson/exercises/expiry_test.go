//go:build expiry

package exercises

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"
)

func TestExpiry(t *testing.T) {
	mustPutFor := func(t *testing.T, store *Store, key, value string, lifetime time.Duration) {
		t.Helper()
		if err := store.PutFor(t.Context(), key, value, lifetime); err != nil {
			t.Fatalf("PutFor(%q, %q) returned %v", key, value, err)
		}
	}

	t.Run("a key goes when its time is over", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			mustPut(t, store, "b", "stays")
			mustPutFor(t, store, "a", "goes", 2*time.Second)
			time.Sleep(time.Second)
			wantValue(t, store, "a", "goes")
			time.Sleep(2 * time.Second)
			wantValue(t, store, "a", "")
			wantValue(t, store, "b", "stays")
		})
	})

	t.Run("each key has a time of its own", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			mustPutFor(t, store, "a", "goes", time.Second)
			mustPutFor(t, store, "b", "goes later", time.Hour)
			mustPutFor(t, store, "c", "goes", time.Minute)
			time.Sleep(2 * time.Second)
			wantValue(t, store, "a", "")
			wantValue(t, store, "b", "goes later")
			wantValue(t, store, "c", "goes")
			time.Sleep(time.Minute)
			wantValue(t, store, "c", "")
			time.Sleep(time.Hour)
			wantValue(t, store, "b", "")
		})
	})

	t.Run("the key was set again in between", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			mustPutFor(t, store, "a", "old", 2*time.Second)
			mustPutFor(t, store, "b", "same", 2*time.Second)
			time.Sleep(time.Second)
			mustPut(t, store, "a", "new")                    // forever
			mustPutFor(t, store, "b", "same", 2*time.Second) // from now
			time.Sleep(1500 * time.Millisecond)
			wantValue(t, store, "a", "new")
			wantValue(t, store, "b", "same")
			time.Sleep(time.Second)
			wantValue(t, store, "a", "new")
			wantValue(t, store, "b", "")
		})
	})

	// The timer of the old value and the Put are due at the same moment, and either may be
	// first. If the timer has fired, its message may wait until after the Put.
	t.Run("the key is set again at the moment at which its time is over", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			for range 100 {
				mustPutFor(t, store, "a", "old", 2*time.Second)
				time.Sleep(2 * time.Second)
				mustPut(t, store, "a", "new")
				time.Sleep(time.Second)
				wantValue(t, store, "a", "new")
			}
		})
	})

	t.Run("the owner serves others while a key lives", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			start := time.Now()
			mustPutFor(t, store, "a", "goes", time.Hour)
			mustPut(t, store, "b", "stays")
			if d := time.Since(start); d > 0 {
				t.Errorf("Put waited for %v", d)
			}
		})
	})

	t.Run("a lifetime of 0 is over at once", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			mustPutFor(t, store, "a", "goes", 0)
			time.Sleep(time.Second)
			wantValue(t, store, "a", "")
		})
	})

	// busy makes the owner wait for the test, until done is called. Meanwhile timers fire.
	busy := func(store *Store) (done func()) {
		replyTo := make(chan reply) // without the capacity that callers give it
		store.requests <- request{op: "get", replyTo: replyTo}
		return func() { <-replyTo }
	}
	const keys = 2000 // more than a buffer would hold
	putMany := func(t *testing.T, store *Store) {
		t.Helper()
		for i := range keys {
			mustPutFor(t, store, fmt.Sprint(i), "goes", 2*time.Second)
		}
	}

	t.Run("many keys go at one moment, and the owner is busy", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			putMany(t, store)
			done := busy(store)
			time.Sleep(3 * time.Second)
			done()
			time.Sleep(time.Second)
			stay := 0
			for i := range keys {
				if value, _ := store.Get(t.Context(), fmt.Sprint(i)); value != "" {
					stay++
				}
			}
			if stay > 0 {
				t.Errorf("%d of %d keys are still there: what became of their messages to the owner?", stay, keys)
			}
		})
	})

	t.Run("Stop, at the moment at which many keys go", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			putMany(t, store)
			done := busy(store)
			time.Sleep(2 * time.Second)
			stopped := make(chan struct{})
			go func() { store.Stop(); close(stopped) }()
			synctest.Wait()
			done()
			receive(t, stopped, "the return of Stop")
		})
	})

	t.Run("a store that has stopped leaves no timer", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			stopped := func() weak.Pointer[Store] {
				store := New()
				mustPutFor(t, store, "a", "goes", time.Hour)
				store.Stop()
				return weak.Make(store)
			}()
			time.Sleep(time.Second)
			runtime.GC()
			if stopped.Value() != nil {
				t.Error("the store is still in memory: a timer or a goroutine has it")
			}
		})
	})

	// In these cases the value must not be in memory after done.
	for name, done := range map[string]func(t *testing.T, store *Store){
		"a key that no one asks for takes no memory": func(t *testing.T, store *Store) {
			time.Sleep(2 * time.Hour)
			mustPut(t, store, "b", "stays") // the owner has forgotten the request for a
		},
		"a value that is replaced takes no memory": func(t *testing.T, store *Store) {
			mustPut(t, store, "a", "stays")
			time.Sleep(time.Second)
		},
		"a value that another with a lifetime replaces takes no memory": func(t *testing.T, store *Store) {
			mustPutFor(t, store, "a", "goes later", 2*time.Hour)
			time.Sleep(time.Second)
		},
		"a store that has stopped takes no memory": func(t *testing.T, store *Store) {
			store.Stop()
			time.Sleep(time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, func(t *testing.T, store *Store) {
				value := strings.Repeat("v", 1000)
				memory := weak.Make(unsafe.StringData(value))
				mustPutFor(t, store, "a", value, time.Hour)
				value = ""
				done(t, store)
				runtime.GC()
				if memory.Value() != nil {
					t.Error("the value is still in memory: a timer, a goroutine or the map has it")
				}
			})
		})
	}

	t.Run("it ends", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			mustPutFor(t, store, "a", "goes", time.Hour)
			call := func(ctx context.Context, s *Store) error {
				return s.PutFor(ctx, "a", "goes", time.Hour)
			}
			wantWaits(t, store, call)
			wantErrors(t, store, call)
		})
	})
}
