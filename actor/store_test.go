package actor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"weak"
)

// newRunning returns a store whose owner runs until the test ends.
func newRunning(t testing.TB, budget int64) *Store {
	t.Helper()
	store := New(budget)
	go store.Run()
	t.Cleanup(store.Stop)
	return store
}

func mustPut(t testing.TB, store *Store, key, value string) {
	t.Helper()
	if err := store.Put(t.Context(), key, []byte(value), 0); err != nil {
		t.Fatalf("Put(%q): %v", key, err)
	}
}

// wantValue checks that key has the value want, or no value if want is empty.
func wantValue(t testing.TB, store *Store, key, want string) {
	t.Helper()
	value, found, err := store.Get(t.Context(), key)
	defer store.Release(value)
	if err != nil || string(value) != want || found != (want != "") {
		t.Errorf("Get(%q) = %q, %t, %v; want %q", key, value, found, err, want)
	}
}

func TestStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := newRunning(t, math.MaxInt64)

		wantValue(t, store, "a", "")
		mustPut(t, store, "a", "1")
		mustPut(t, store, "b", "2")
		wantValue(t, store, "a", "1")
		mustPut(t, store, "a", "3")
		wantValue(t, store, "a", "3")
		wantValue(t, store, "A", "")

		for range 2 { // the second time there is nothing to delete
			if err := store.Delete(ctx, "a"); err != nil {
				t.Errorf("Delete: %v", err)
			}
			wantValue(t, store, "a", "")
			wantValue(t, store, "b", "2")
		}
		for range 2 {
			if err := store.Clear(ctx); err != nil {
				t.Errorf("Clear: %v", err)
			}
			wantValue(t, store, "b", "")
		}
		if err := store.Ping(ctx); err != nil {
			t.Errorf("Ping: %v", err)
		}
	})
}

// calls are all methods that may return an error.
var calls = map[string]func(context.Context, *Store) error{
	"Get": func(ctx context.Context, s *Store) error {
		_, _, err := s.Get(ctx, "key")
		return err
	},
	"Put":     func(ctx context.Context, s *Store) error { return s.Put(ctx, "key", []byte("value"), 0) },
	"Reserve": func(ctx context.Context, s *Store) error { return s.Reserve(ctx, 1) },
	"Fits":    func(ctx context.Context, s *Store) error { return s.Fits(ctx, "key", 1) },
	"Delete":  func(ctx context.Context, s *Store) error { return s.Delete(ctx, "key") },
	"Clear":   func(ctx context.Context, s *Store) error { return s.Clear(ctx) },
	"Ping":    func(ctx context.Context, s *Store) error { return s.Ping(ctx) },
}

// Guarantee 2, for a caller whose context is canceled between the moment at which
// the owner receives the request and the reply. The test plays the owner.
func TestReceivedMeansDone(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := New(math.MaxInt64)
				ctx, cancel := context.WithCancel(t.Context())
				returned := make(chan error, 1)
				go func() { returned <- call(ctx, store) }()

				req := <-store.requests
				cancel()
				synctest.Wait()
				select {
				case err := <-returned:
					t.Fatalf("it returned %v before the reply", err)
				default:
				}

				want := errors.New("the reply")
				req.reply <- reply{err: want}
				if err := <-returned; err != want {
					t.Errorf("it returned %v, want the reply", err)
				}
			})
		})
	}
}

// Guarantees 2 and 3, for many callers that are canceled at any moment: what a
// caller is told is what happened.
func TestReceivedMeansDoneOtherwiseError(t *testing.T) {
	const callers = 200
	outcomes := make(map[bool]int)
	for round := 0; round < 10 || outcomes[true] == 0 || outcomes[false] == 0; round++ {
		if round == 1000 {
			t.Fatalf("%d calls succeeded and %d failed, want some of both", outcomes[true], outcomes[false])
		}
		store := newRunning(t, math.MaxInt64)
		var errs [callers]error
		var wg sync.WaitGroup
		for i := range callers {
			ctx, cancel := context.WithCancel(t.Context())
			wg.Go(func() { errs[i] = store.Put(ctx, strconv.Itoa(i), []byte("value"), 0) })
			wg.Go(cancel)
		}
		wg.Wait()

		for i, err := range errs {
			_, found, _ := store.Get(t.Context(), strconv.Itoa(i))
			if found != (err == nil) {
				t.Fatalf("Put returned %v, but the key is found: %t", err, found)
			}
			outcomes[found]++
		}
	}
}

// Guarantee 3.
func TestErrorMeansNoEffect(t *testing.T) {
	t.Run("canceled while it waits for the owner", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := New(math.MaxInt64)
			ctx, cancel := context.WithCancel(t.Context())
			returned := make(chan error, 1)
			go func() { returned <- store.Put(ctx, "key", []byte("value"), 0) }()
			synctest.Wait() // there is no owner that could receive
			cancel()
			synctest.Wait()
			select {
			case err := <-returned:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Put returned %v, want %v", err, context.Canceled)
				}
			default:
				t.Error("Put sent its request although no owner was there to receive it")
			}

			go store.Run()
			defer store.Stop()
			wantValue(t, store, "key", "")
		})
	})

	t.Run("stopped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := New(math.MaxInt64)
			go store.Run()
			store.Stop()
			for name, call := range calls {
				if err := call(t.Context(), store); !errors.Is(err, ErrStopped) {
					t.Errorf("%s returned %v, want %v", name, err, ErrStopped)
				}
			}
			store.Release(make([]byte, 2*SmallValue)) // these two only must return
			store.Unreserve(1)
		})
	})

	t.Run("full", func(t *testing.T) {
		const budget = 2 * slotSize
		store := newRunning(t, budget)
		mustPut(t, store, "a", "1")
		if err := store.Put(t.Context(), "b", make([]byte, budget), 0); !errors.Is(err, ErrFull) {
			t.Errorf("Put of a key returned %v, want %v", err, ErrFull)
		}
		if err := store.Put(t.Context(), "a", make([]byte, budget), 0); !errors.Is(err, ErrFull) {
			t.Errorf("Put of another value returned %v, want %v", err, ErrFull)
		}
		wantValue(t, store, "a", "1")
		wantValue(t, store, "b", "")
	})
}

// Guarantee 4: callers that never receive their replies block no one. If they did,
// all goroutines of the bubble would wait forever, and synctest would say so.
func TestOwnerNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := New(math.MaxInt64)
		go func() { store.Ping(t.Context()) }()
		req := <-store.requests // here, the test plays the owner
		req.reply <- reply{}
		if cap(req.reply) == 0 {
			t.Fatal("the owner must wait until the caller receives the reply")
		}

		go store.Run()
		defer store.Stop()
		for range 100 {
			store.requests <- request{op: opPing, reply: make(chan reply, cap(req.reply))}
		}
		mustPut(t, store, "key", "value")
		wantValue(t, store, "key", "value")
	})
}

// The owner holds on to no value that is not in the table, not even to the last one
// that it refused.
func TestOwnerKeepsNothing(t *testing.T) {
	const budget = 1 << 20
	ctx := t.Context()
	for name, use := range map[string]func(store *Store, value []byte){
		"refused": func(store *Store, value []byte) {
			store.Put(ctx, "other", make([]byte, budget/2), 0)
			if err := store.Put(ctx, "key", value, 0); !errors.Is(err, ErrFull) {
				t.Errorf("Put returned %v, want %v", err, ErrFull)
			}
		},
		"replaced": func(store *Store, value []byte) {
			store.Put(ctx, "key", value, 0)
			store.Put(ctx, "key", []byte("other"), 0)
		},
		"deleted": func(store *Store, value []byte) {
			store.Put(ctx, "key", value, 0)
			store.Delete(ctx, "key")
		},
		"cleared": func(store *Store, value []byte) {
			store.Put(ctx, "key", value, 0)
			store.Clear(ctx)
		},
		"released": func(store *Store, value []byte) {
			store.Put(ctx, "key", value, 0)
			read, _, _ := store.Get(ctx, "key")
			store.Clear(ctx)
			store.Release(read)
		},
	} {
		store := newRunning(t, budget)
		value := make([]byte, budget/2)
		pointer := weak.Make(&value[0])
		use(store, value)
		value = nil
		runtime.GC()
		if pointer.Value() != nil {
			t.Errorf("%s: the value is still in memory", name)
		}
		runtime.KeepAlive(store)
	}
}

// Guarantee 6: readers share the bytes that were passed to Put, and nothing that
// happens to the key afterwards changes them.
func TestValuesNeverChange(t *testing.T) {
	ctx := t.Context()
	for _, length := range []int{5, 2 * SmallValue} {
		store := newRunning(t, math.MaxInt64)
		given := bytes.Repeat([]byte("v"), length)
		if err := store.Put(ctx, "key", given, 0); err != nil {
			t.Fatal(err)
		}

		var readers [2][]byte
		for i := range readers {
			readers[i], _, _ = store.Get(ctx, "key")
			if &readers[i][0] != &given[0] {
				t.Error("Get returned a copy")
			}
		}

		store.Put(ctx, "key", bytes.Repeat([]byte("w"), length), 0)
		store.Delete(ctx, "key")
		store.Put(ctx, "key", bytes.Repeat([]byte("x"), length), 0)
		store.Clear(ctx)
		for _, value := range readers {
			if !bytes.Equal(value, bytes.Repeat([]byte("v"), length)) {
				t.Errorf("the value that was read changed to %.9q...", value)
			}
			store.Release(value)
		}
	}
}

// Guarantee 7: synctest waits until every goroutine of the bubble has ended, and
// fails the test if some can't.
func TestItEnds(t *testing.T) {
	for _, callers := range []int{0, 1, 100} {
		t.Run(fmt.Sprintf("under load, %d callers", callers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := New(math.MaxInt64)
				errs := make(chan error, 10*callers)
				for i := range callers {
					go func() {
						for j := range 10 {
							errs <- store.Put(t.Context(), fmt.Sprint(i, j), []byte("value"), 0)
						}
					}()
				}
				go store.Run()
				store.Stop()
				for range cap(errs) {
					if err := <-errs; err != nil && !errors.Is(err, ErrStopped) {
						t.Errorf("Put returned %v, want nil or %v", err, ErrStopped)
					}
				}
			})
		})
	}

	t.Run("callers that wait when the owner ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := New(math.MaxInt64)
			go store.Stop()
			synctest.Wait() // the request of Stop is the first that the owner receives
			errs := make(chan error, len(calls))
			for _, call := range calls {
				go func() { errs <- call(t.Context(), store) }()
			}
			synctest.Wait()
			store.Run()
			for range cap(errs) {
				if err := <-errs; err != nil && !errors.Is(err, ErrStopped) {
					t.Errorf("a call returned %v, want nil or %v", err, ErrStopped)
				}
			}
		})
	})

	t.Run("stopped by several goroutines, before Run and after", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := New(math.MaxInt64)
			for range 3 {
				go store.Stop()
			}
			synctest.Wait()
			store.Run()
			store.Stop()
		})
	})
}
