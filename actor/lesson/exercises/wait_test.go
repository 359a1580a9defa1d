//go:build wait

package exercises

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"
)

func TestWait(t *testing.T) {
	// A result is what Wait returns.
	type result struct {
		value string
		err   error
	}
	wait := func(ctx context.Context, store *Store, key string) <-chan result {
		returned := make(chan result, 1)
		go func() {
			value, err := store.Wait(ctx, key)
			returned <- result{value, err}
		}()
		synctest.Wait() // until it waits, or has returned
		return returned
	}
	wantStillWaits := func(t *testing.T, returned <-chan result) {
		t.Helper()
		synctest.Wait()
		select {
		case got := <-returned:
			t.Errorf("Wait returned %q, %v, and its key is not set", got.value, got.err)
		default:
		}
	}
	wantReturns := func(t *testing.T, returned <-chan result, value string, err error) {
		t.Helper()
		synctest.Wait() // no time passes
		select {
		case got := <-returned:
			if got.value != value || !errors.Is(got.err, err) {
				t.Errorf("Wait returned %q, %v, want %q, %v", got.value, got.err, value, err)
			}
		default:
			t.Fatalf("Wait has not returned: nobody told it")
		}
	}

	t.Run("the key is set", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			mustPut(t, store, "a", "1")
			wantReturns(t, wait(t.Context(), store, "a"), "1", nil)
			mustPut(t, store, "a", "") // an empty value is a value
			wantReturns(t, wait(t.Context(), store, "a"), "", nil)
		})
	})

	t.Run("the context is done before the call", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			mustPut(t, store, "a", "1")
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for range 100 { // because select chooses at random
				if value, err := store.Wait(ctx, "a"); !errors.Is(err, context.Canceled) {
					t.Fatalf("Wait returned %q, %v, although its context was canceled before the call", value, err)
				}
			}
		})
	})

	t.Run("all who wait for the key return when it is set", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			first, second, other := wait(t.Context(), store, "a"), wait(t.Context(), store, "a"), wait(t.Context(), store, "b")
			start := time.Now()
			mustPut(t, store, "c", "1") // the owner serves others while they wait
			if d := time.Since(start); d > 0 {
				t.Errorf("Put waited for %v", d)
			}
			time.Sleep(time.Minute)
			wantStillWaits(t, first)
			mustPut(t, store, "a", "2")
			wantReturns(t, first, "2", nil)
			wantReturns(t, second, "2", nil)
			wantStillWaits(t, other)
			mustPut(t, store, "a", "3")
			mustPut(t, store, "b", "4")
			wantReturns(t, other, "4", nil)
		})
	})

	t.Run("a waiter leaves", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			ctx, cancel := context.WithCancel(t.Context())
			leaves, stays := wait(ctx, store, "a"), wait(t.Context(), store, "a")
			cancel()
			wantReturns(t, leaves, "", context.Canceled)
			wantStillWaits(t, stays)
			mustPut(t, store, "a", "1")
			wantReturns(t, stays, "1", nil)
		})
	})

	t.Run("one of many waiters leaves", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			ctx, cancel := context.WithCancel(t.Context())
			first, leaves, last := wait(t.Context(), store, "a"), wait(ctx, store, "a"), wait(t.Context(), store, "a")
			cancel()
			wantReturns(t, leaves, "", context.Canceled)
			mustPut(t, store, "a", "1")
			wantReturns(t, first, "1", nil)
			wantReturns(t, last, "1", nil)
		})
	})

	t.Run("the key is set between two requests of one call", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			view := interrupted(store, func() { mustPut(t, store, "a", "1") })
			wantReturns(t, wait(t.Context(), view, "a"), "1", nil)
		})
	})

	t.Run("a waiter that has left takes no memory", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			key := strings.Repeat("k", 1000)
			memory := weak.Make(unsafe.StringData(key))
			ctx, cancel := context.WithCancel(t.Context())
			returned := wait(ctx, store, key)
			key = ""
			cancel()
			wantReturns(t, returned, "", context.Canceled)
			mustPut(t, store, "b", "1") // the owner has forgotten the last request
			runtime.GC()
			if memory.Value() != nil {
				t.Error("the key is still in memory: the owner has not heard that its only waiter has left")
			}
		})
	})

	t.Run("a waiter leaves at the moment at which the key is set", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			for i := range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				key := fmt.Sprint(i)
				returned := wait(ctx, store, key)
				go cancel()
				mustPut(t, store, key, "1")
				got := receive(t, returned, "the return of Wait")
				if got != (result{"1", nil}) && got != (result{"", context.Canceled}) {
					t.Errorf("Wait returned %q, %v, want the value or %v", got.value, got.err, context.Canceled)
				}
			}
		})
	})

	t.Run("Stop answers all", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			first, second := wait(t.Context(), store, "a"), wait(t.Context(), store, "b")
			store.Stop()
			wantReturns(t, first, "", ErrStopped)
			wantReturns(t, second, "", ErrStopped)
		})
	})

	// The test plays the owner. It replies when the waiter is about to leave, and then goes on
	// or ends. On one processor the waiter runs only then.
	for _, ends := range []bool{false, true} {
		t.Run(fmt.Sprintf("the owner replies while a waiter leaves, and ends: %v", ends), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			check(t, func(t *testing.T, store *Store) {
				for range 100 { // because select chooses at random
					view := withoutOwner(store)
					view.stopped = make(chan struct{})
					ctx, cancel := context.WithCancel(t.Context())
					returned := wait(ctx, view, "a")
					req := receiveRequest(t, view)
					cancel()
					req.replyTo <- reply{value: "1"}
					requests := view.requests
					if ends {
						close(view.stopped)
						requests = nil // switches the case off
					}
					var got result
					select {
					case <-requests: // that the waiter leaves, which the owner need not answer: it has replied
						got = receive(t, returned, "the return of Wait")
					case got = <-returned:
					case <-time.After(time.Minute):
						t.Fatal("Wait has not returned after a minute")
					}
					if got != (result{"1", nil}) {
						t.Fatalf("Wait returned %q, %v: the owner had replied, so the reply must count", got.value, got.err)
					}
				}
			})
		})
	}

	// One processor, so that the owner has replied and ended before the waiter runs again.
	t.Run("the owner replies and ends", func(t *testing.T) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		check(t, func(t *testing.T, store *Store) {
			for range 100 { // because select chooses at random
				view := withoutOwner(store)
				view.stopped = make(chan struct{})
				returned := wait(t.Context(), view, "a")
				req := receiveRequest(t, view)
				req.replyTo <- reply{value: "1"}
				close(view.stopped)
				if got := receive(t, returned, "the return of Wait"); got != (result{"1", nil}) {
					t.Fatalf("Wait returned %q, %v: the owner had replied, so the reply must count", got.value, got.err)
				}
			}
		})
	})

	t.Run("it ends", func(t *testing.T) {
		check(t, func(t *testing.T, store *Store) {
			wantErrors(t, store, func(ctx context.Context, s *Store) error {
				_, err := s.Wait(ctx, "a")
				return err
			})
		})
	})
}
