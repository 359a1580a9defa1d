package actor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
)

// running returns a store of maxBytes whose owner runs until the test ends.
func running(t testing.TB, maxBytes int64) *Store {
	t.Helper()
	store := New(maxBytes)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		<-store.stopped
	})
	go store.Run(ctx)
	return store
}

func mustPut(t testing.TB, store *Store, key, value string) {
	t.Helper()
	if err := store.Put(t.Context(), key, []byte(value)); err != nil {
		t.Fatalf("Put(%q): %v", key, err)
	}
}

// wantValue checks that key has the value want, or none if want is empty.
func wantValue(t testing.TB, store *Store, key, want string) {
	t.Helper()
	value, found, err := store.Get(t.Context(), key)
	if err != nil || string(value) != want || found != (want != "") {
		t.Errorf("Get(%q) = %q, %t, %v; want %q", key, value, found, err, want)
	}
}

func TestStore(t *testing.T) {
	ctx := t.Context()
	store := running(t, math.MaxInt64)

	wantValue(t, store, "a", "")
	mustPut(t, store, "a", "1")
	mustPut(t, store, "b", "2")
	wantValue(t, store, "a", "1")
	mustPut(t, store, "a", "3")
	wantValue(t, store, "a", "3")
	wantValue(t, store, "A", "")

	for range 2 { // a key need not be there
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
}

// Guarantee 1: no field leads to a map, and no second loop makes another.
func TestOneOwner(t *testing.T) {
	var walk func(typ reflect.Type, path string)
	seen := make(map[reflect.Type]bool)
	walk = func(typ reflect.Type, path string) {
		if seen[typ] || typ.PkgPath() == "sync" {
			return
		}
		seen[typ] = true
		switch typ.Kind() {
		case reflect.Map:
			t.Errorf("%s is a map that whoever has the store can reach", path)
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
			walk(typ.Elem(), path)
		case reflect.Struct:
			for field := range typ.Fields() {
				walk(field.Type, path+"."+field.Name)
			}
		}
	}
	walk(reflect.TypeFor[Store](), "Store")

	store := running(t, math.MaxInt64)
	if err := store.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a second Run did not panic")
		}
	}()
	store.Run(t.Context())
}

// Guarantee 2: here the test is the owner, and takes its time.
func TestAcceptedMeansDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := New(math.MaxInt64)
		ctx, giveUp := context.WithCancel(t.Context())

		var value []byte
		var err error
		returned := false
		go func() {
			value, _, err = store.Get(ctx, "key")
			returned = true
		}()

		req := <-store.mailbox
		giveUp()
		synctest.Wait()
		if returned {
			t.Fatalf("Get returned %q, %v after its request was accepted and before it was answered", value, err)
		}

		req.reply <- reply{value: []byte("answer")}
		synctest.Wait()
		if !returned || string(value) != "answer" || err != nil {
			t.Errorf("Get returned %t: %q, %v; want the answer", returned, value, err)
		}
	})
}

// Guarantee 2: a crowd of callers, each of which gives up at some moment, and
// none of which is told that it was refused when it wasn't, or the reverse.
func TestAcceptedMeansDoneOtherwiseRefused(t *testing.T) {
	const callers = 2000
	store := running(t, math.MaxInt64)

	var errs [callers]error
	var wg sync.WaitGroup
	for i := range callers {
		ctx, giveUp := context.WithCancel(t.Context())
		wg.Go(func() { errs[i] = store.Put(ctx, strconv.Itoa(i), []byte("value")) })
		wg.Go(giveUp)
	}
	wg.Wait()

	for i, err := range errs {
		_, found, _ := store.Get(t.Context(), strconv.Itoa(i))
		if found != (err == nil) {
			t.Errorf("Put %d returned %v, but found is %t", i, err, found)
		}
	}
}

// Guarantee 3.
func TestRefusedMeansNothingHappened(t *testing.T) {
	t.Run("while it waits its turn", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := New(math.MaxInt64)
			ctx, giveUp := context.WithCancel(t.Context())

			refused := make(chan error)
			go func() { refused <- store.Put(ctx, "key", []byte("value")) }()
			synctest.Wait() // nobody serves it
			giveUp()
			if err := <-refused; !errors.Is(err, context.Canceled) {
				t.Errorf("Put returned %v, want %v", err, context.Canceled)
			}

			stopped, stop := context.WithCancel(t.Context())
			go store.Run(stopped)
			wantValue(t, store, "key", "")
			stop()
		})
	})

	t.Run("before it asks", func(t *testing.T) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		store := running(t, math.MaxInt64)
		mustPut(t, store, "key", "value")
		for range 1000 { // the owner is ready each time
			if err := store.Clear(ended); !errors.Is(err, context.Canceled) {
				t.Fatalf("Clear returned %v, want %v", err, context.Canceled)
			}
		}
		wantValue(t, store, "key", "value")
	})

	t.Run("when the store has stopped", func(t *testing.T) {
		store := New(math.MaxInt64)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		store.Run(ended)

		ctx := t.Context()
		_, _, getErr := store.Get(ctx, "key")
		for name, err := range map[string]error{
			"Get":    getErr,
			"Put":    store.Put(ctx, "key", []byte("value")),
			"Delete": store.Delete(ctx, "key"),
			"Clear":  store.Clear(ctx),
			"Ping":   store.Ping(ctx),
		} {
			if !errors.Is(err, ErrStopped) {
				t.Errorf("%s returned %v, want %v", name, err, ErrStopped)
			}
		}
	})
}

// Guarantee 4: callers that never fetch their replies hold up nobody. If they
// did, all goroutines of the bubble would wait for ever, and synctest would say
// so.
func TestOwnerNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := running(t, math.MaxInt64)
		for range 100 {
			store.mailbox <- request{op: opPing, reply: store.replies.Get().(chan reply)}
		}
		mustPut(t, store, "key", "value")
		wantValue(t, store, "key", "value")
	})
}

func TestRequestsDoNotAllocate(t *testing.T) {
	if raceEnabled() {
		t.Skip("under the race detector, a sync.Pool throws things away at random")
	}
	ctx := t.Context()
	store := running(t, math.MaxInt64)
	value := []byte("value")
	if n := testing.AllocsPerRun(1000, func() {
		store.Put(ctx, "key", value)
		store.Get(ctx, "key")
		store.Delete(ctx, "other")
		store.Ping(ctx)
	}); n != 0 {
		t.Errorf("four requests allocate %v times, want 0", n)
	}
}

func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// Guarantee 6.
func TestSentMeansGiven(t *testing.T) {
	ctx := t.Context()
	store := running(t, math.MaxInt64)
	given := []byte("value")
	if err := store.Put(ctx, "key", given); err != nil {
		t.Fatal(err)
	}

	var readers [2][]byte
	for i := range readers {
		readers[i], _, _ = store.Get(ctx, "key")
		if &readers[i][0] != &given[0] {
			t.Error("Get returned a copy")
		}
	}

	mustPut(t, store, "key", "other")
	store.Delete(ctx, "key")
	store.Clear(ctx)
	for _, value := range readers {
		if string(value) != "value" {
			t.Errorf("a value that was read has become %q", value)
		}
	}
}

// Guarantee 7: synctest waits for every goroutine of the bubble to end, and
// reports those that can't.
func TestItEnds(t *testing.T) {
	for _, callers := range []int{0, 1, 100} {
		t.Run(fmt.Sprintf("with %d callers", callers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := New(math.MaxInt64)
				ctx, stop := context.WithCancel(t.Context())

				answers := make(chan error, 10*callers)
				for i := range callers {
					go func() {
						for j := range 10 {
							key := fmt.Sprint(i, j)
							err := store.Put(t.Context(), key, []byte("value"))
							if err == nil {
								value, found, err := store.Get(t.Context(), key)
								if err == nil && (!found || string(value) != "value") {
									t.Errorf("an accepted Put is lost")
								}
							}
							answers <- err
						}
					}()
				}
				go stop()
				store.Run(ctx)

				for range 10 * callers {
					if err := <-answers; err != nil && !errors.Is(err, ErrStopped) {
						t.Errorf("a caller got %v, want its answer or %v", err, ErrStopped)
					}
				}
			})
		})
	}
}

// Guarantee 7: whoever asked before the stop is still served.
func TestItEndsAfterThoseWhoAskedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := New(math.MaxInt64)
		answers := make(chan error, 100)
		for i := range cap(answers) {
			go func() { answers <- store.Put(t.Context(), strconv.Itoa(i), []byte("value")) }()
		}
		synctest.Wait() // all of them are at the mailbox

		ctx, stop := context.WithCancel(t.Context())
		stop()
		store.Run(ctx)
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Errorf("a caller got %v", err)
			}
		}
	})
}

// A panic in the owner leaves nobody waiting, and is not swallowed.
func TestPanicInTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := New(math.MaxInt64)
		inDoubt := make(chan error, 1)
		go func() {
			_, err := store.ask(t.Context(), request{op: -1})
			inDoubt <- err
		}()
		synctest.Wait() // it is the first in the queue
		stopped := make(chan error, 1)
		go func() { stopped <- store.Put(t.Context(), "key", []byte("value")) }()

		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not reach the caller of Run")
				}
			}()
			store.Run(t.Context())
		}()

		if err := <-inDoubt; !errors.Is(err, ErrInDoubt) {
			t.Errorf("the request being served got %v, want %v", err, ErrInDoubt)
		}
		if err := <-stopped; !errors.Is(err, ErrStopped) {
			t.Errorf("the next request got %v, want %v", err, ErrStopped)
		}
	})
}

func TestBudget(t *testing.T) {
	const entry = entryOverhead + int64(len("key0")) + 8
	full := func(t *testing.T) *Store {
		store := running(t, 3*entry)
		for i := range 3 {
			mustPut(t, store, fmt.Sprintf("key%d", i), "12345678")
		}
		return store
	}

	for _, test := range []struct {
		name   string
		before func(ctx context.Context, store *Store) error
		key    string
		value  string
		want   error
	}{
		{"a new key", nil, "key3", "1", ErrFull},
		{"a value of the same length", nil, "key0", "abcdefgh", nil},
		{"a shorter value", nil, "key0", "a", nil},
		{"a longer value", nil, "key0", "abcdefghi", ErrFull},
		{"a new key after a delete",
			func(ctx context.Context, store *Store) error { return store.Delete(ctx, "key1") },
			"key3", "12345678", nil},
		{"a longer one after a delete",
			func(ctx context.Context, store *Store) error { return store.Delete(ctx, "key1") },
			"key3", "123456789", ErrFull},
		{"a new key after a delete of none",
			func(ctx context.Context, store *Store) error { return store.Delete(ctx, "none") },
			"key3", "1", ErrFull},
		{"what fills it after a clear",
			func(ctx context.Context, store *Store) error { return store.Clear(ctx) },
			"key3", string(make([]byte, 3*entry-entryOverhead-4)), nil},
		{"more than that",
			func(ctx context.Context, store *Store) error { return store.Clear(ctx) },
			"key3", string(make([]byte, 3*entry-entryOverhead-3)), ErrFull},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := t.Context()
			store := full(t)
			if test.before != nil {
				if err := test.before(ctx, store); err != nil {
					t.Fatal(err)
				}
			}
			before, _, _ := store.Get(ctx, test.key)

			if err := store.Put(ctx, test.key, []byte(test.value)); !errors.Is(err, test.want) {
				t.Fatalf("Put returned %v, want %v", err, test.want)
			}
			want := test.value
			if test.want != nil {
				want = string(before)
			}
			wantValue(t, store, test.key, want)
		})
	}
}

// heap returns the bytes that are in use, garbage left out.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// The budget is one of memory: short entries and long ones take what they count,
// or at most an eighth more, at any number of keys.
func TestBudgetCoversMemory(t *testing.T) {
	ctx := t.Context()
	for _, length := range []int{1, 100, 5000} {
		store := running(t, math.MaxInt64)
		before := heap()
		var counted int64
		for i := range 100_000 / length * 4 {
			key, value := strconv.Itoa(i), make([]byte, length)
			counted += cost(key, value)
			if err := store.Put(ctx, key, value); err != nil {
				t.Fatal(err)
			}
			if i%997 == 0 && i > 10_000 || i == 10_000 {
				if taken := heap() - before; taken > counted+counted/8 {
					t.Errorf("%d entries of %d bytes take %d bytes, and count %d", i, length, taken, counted)
				}
			}
		}
		store.Clear(ctx)
	}
}

// Guarantee 4: Clear leaves the old map behind, however large it is. To empty
// it, as clear(data) does, takes longer the larger it is, and keeps its room:
// that is what this test would see. Likewise when the last key is deleted.
func TestOwnerNeverWaitsForTheData(t *testing.T) {
	const keys = 100_000
	ctx := t.Context()
	for name, empty := range map[string]func(*Store){
		"clear": func(store *Store) { store.Clear(ctx) },
		"delete each": func(store *Store) {
			for i := range keys {
				store.Delete(ctx, strconv.Itoa(i))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := running(t, math.MaxInt64)
			before := heap()
			for i := range keys {
				mustPut(t, store, strconv.Itoa(i), "value")
			}
			full := heap() - before
			empty(store)
			if left := heap() - before; left > full/50 {
				t.Errorf("a store of %d bytes leaves %d when it is empty", full, left)
			}
		})
	}
}

// FuzzStore applies any sequence of operations to a store and to a plain map,
// and finds them equal after each, the count of bytes included: what is left of
// the budget can be filled to the byte and not further.
func FuzzStore(f *testing.F) {
	f.Add([]byte("pa1pb2ga pa3da gb c gb"))
	f.Add(bytes.Repeat([]byte("paxpbxpcx"), 9))
	f.Add([]byte("pa\xffpb\xffpc\xffda pc\xff"))

	const maxBytes = 4*entryOverhead + 200
	f.Fuzz(func(t *testing.T, script []byte) {
		ctx := t.Context()
		store := running(t, maxBytes)
		model := make(map[string]string)
		used := func() (sum int64) {
			for key, value := range model {
				sum += int64(len(key)+len(value)) + entryOverhead
			}
			return sum
		}

		for ; len(script) >= 3; script = script[3:] {
			key := string('a' + script[1]%8)
			switch script[0] {
			case 'p':
				value := string(bytes.Repeat(script[2:3], int(script[2])))
				before := maps.Clone(model)
				model[key] = value
				var want error
				if used() > maxBytes {
					want, model = ErrFull, before
				}
				if err := store.Put(ctx, key, []byte(value)); !errors.Is(err, want) {
					t.Fatalf("Put(%q) returned %v, want %v", key, err, want)
				}
			case 'd':
				delete(model, key)
				if err := store.Delete(ctx, key); err != nil {
					t.Fatal(err)
				}
			case 'c':
				clear(model)
				if err := store.Clear(ctx); err != nil {
					t.Fatal(err)
				}
			}

			for key := range 8 {
				key := string(rune('a' + key))
				want, present := model[key]
				value, found, err := store.Get(ctx, key)
				if err != nil || found != present || string(value) != want {
					t.Fatalf("Get(%q) = %q, %t, %v; want %q, %t", key, value, found, err, want, present)
				}
			}
			rest := maxBytes - used() - entryOverhead - int64(len("rest"))
			if rest < 0 {
				continue
			}
			if err := store.Put(ctx, "rest", make([]byte, rest+1)); !errors.Is(err, ErrFull) {
				t.Fatalf("one byte more than is left: %v", err)
			}
			if err := store.Put(ctx, "rest", make([]byte, rest)); err != nil {
				t.Fatalf("what is left: %v", err)
			}
			store.Delete(ctx, "rest")
		}
	})
}
