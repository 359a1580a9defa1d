package actor

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"weak"
)

// This file has a test for each of the eight guarantees, in their order. A rule is shown
// on one or two methods, because the methods differ only in what they ask: see
// TestMethodsAsk. Many tests play one side of the protocol, callers or an owner, and so
// decide what happens when.

// Guarantee 1. No run of the store can show that other goroutines have no way to the
// map, so this test reads the source. The race detector finds what this test misses.
func TestOneOwner(t *testing.T) {
	for _, dir := range []string{".", "..", "../httpapi"} {
		files, refuse := parse(t, dir)
		for name, file := range files {
			var shared token.Pos // the end of the structs, channel types and go statements so far
			for node := range ast.Preorder(file) {
				switch node := node.(type) {
				case *ast.ImportSpec:
					if slices.Contains([]string{`"sync"`, `"sync/atomic"`, `"unsafe"`}, node.Path.Value) {
						refuse(node, "let one goroutine own what is shared, and send it requests, instead of this import")
					}
				case *ast.MapType:
					if dir == "." && name != "table.go" {
						refuse(node, "make this map a field of table, in table.go: only the owner has a table")
					}
				case *ast.StructType, *ast.ChanType, *ast.GoStmt:
					shared = max(shared, node.End())
				case *ast.Ident:
					if dir == "." && node.Name == "table" && node.Pos() < shared {
						refuse(node, "leave the table in run, and send the owner a request: this gives it to other goroutines")
					}
				}
			}
			for _, decl := range file.Decls {
				if v, ok := decl.(*ast.GenDecl); ok && v.Tok == token.VAR && dir == "." {
					for _, spec := range v.Specs {
						if id := spec.(*ast.ValueSpec).Names[0]; !strings.HasPrefix(id.Name, "Err") {
							refuse(id, "make this variable local to run, or a field of table: here every goroutine can use it")
						}
					}
				}
			}
		}
	}
}

// parse returns the files in dir that are no tests, by their names, and a function that
// reports an error at a node.
func parse(t *testing.T, dir string) (files map[string]*ast.File, refuse func(node ast.Node, advice string)) {
	t.Helper()
	fset, files := token.NewFileSet(), make(map[string]*ast.File)
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, path := range paths {
		if name := filepath.Base(path); err == nil && !strings.HasSuffix(name, "_test.go") {
			files[name], err = parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return files, func(node ast.Node, advice string) { t.Errorf("%s: %s", fset.Position(node.Pos()), advice) }
}

// Guarantee 2, first for the caller, whose owner the test plays, and then for the owner.
func TestReceivedMeansDone(t *testing.T) {
	t.Run("the caller waits for the reply, whatever else happens", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := newStore()
			ctx, cancel := context.WithCancel(t.Context())
			put := begin(func() error { return store.Put(ctx, "key", nil) })
			req := <-store.requests
			cancel()
			close(store.stopped)
			synctest.Wait()
			if len(put) > 0 {
				t.Fatalf("it returned %v before the reply, so its caller can't know what the owner did", <-put)
			}
			want := errors.New("the reply")
			req.replyTo <- reply{err: want}
			if err := <-put; err != want {
				t.Errorf("it returned %v, want the error of the reply", err)
			}
		})
	})

	t.Run("the owner processes a request once, and replies once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := New(math.MaxInt64)
			created, deleted := make(chan reply, 2), make(chan reply, 2)
			store.requests <- request{op: opCreate, key: "key", replyTo: created}
			store.requests <- request{op: opDelete, key: "key", replyTo: deleted}
			store.Stop()
			for _, replies := range []chan reply{created, deleted} {
				if len(replies) != 1 {
					t.Fatalf("the owner replied %d times, want once", len(replies))
				}
			}
			if err, found := (<-created).err, (<-deleted).found; err != nil || !found {
				t.Errorf("Create returned %v, and Delete %t, as if the owner had processed a request twice", err, found)
			}
		})
	})
}

// Guarantee 3, for each error that a method returns, but for ErrStopped: see TestEveryOrder.
func TestErrorMeansNoEffect(t *testing.T) {
	t.Run("a context that is done before the call", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := newRunning(t, math.MaxInt64)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for range 100 {
				synctest.Wait() // until the owner is ready to receive
				if err := store.Put(ctx, "key", nil); err == nil {
					t.Fatal("it sent a request; look at the context first, because select chooses at random")
				} else if !errors.Is(err, context.Canceled) {
					t.Fatalf("it returned %v, want %v", err, context.Canceled)
				}
			}
			do(t, store, missing("key"))
		})
	})

	t.Run("a context that is canceled while the call waits for the owner", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := newStore() // without an owner that could receive
			ctx, cancel := context.WithCancel(t.Context())
			put := begin(func() error { return store.Put(ctx, "key", nil) })
			cancel()
			synctest.Wait()
			if len(put) == 0 {
				t.Fatal("it waits for a reply, although there is no owner that could have received its request")
			}
			if err := <-put; !errors.Is(err, context.Canceled) {
				t.Errorf("it returned %v, want %v", err, context.Canceled)
			}
			select {
			case <-store.requests:
				t.Error("it left its request behind, where the owner receives it later")
			default:
			}
		})
	})

	long := strings.Repeat("v", 4*slotSize)
	for name, steps := range map[string][]step{
		"ErrFull for a new key":    {put("b", long).fails(ErrFull), missing("b")},
		"ErrFull for a new value":  {put("a", long).fails(ErrFull)},
		"ErrFull for Create":       {create("b", long).fails(ErrFull), missing("b")},
		"ErrExists":                {create("a", "2").fails(ErrExists)},
		"ErrExists before ErrFull": {create("a", long).fails(ErrExists)},
	} {
		t.Run(name, func(t *testing.T) {
			store := newRunning(t, 3*slotSize)
			do(t, store, put("a", "1"))
			do(t, store, steps...)
			do(t, store, get("a", "1"), remove("a", true))
		})
	}
}

// Guarantee 4.
func TestOwnerNeverWaits(t *testing.T) {
	t.Run("for a caller that never receives its reply", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := newStore()
			var requests []request
			for op := range opStop { // the test plays the owner, and keeps the requests
				go store.ask(t.Context(), request{op: op})
				req := <-store.requests
				req.replyTo <- reply{}
				requests = append(requests, req)
			}
			synctest.Wait() // The callers have returned. No reply will be received any more.

			go store.run(math.MaxInt64)
			served := 0
			go func() {
				for _, req := range append(requests, request{op: opStop}) {
					store.requests <- req
					served++
				}
			}()
			synctest.Wait()
			select {
			case <-store.stopped:
			default: // This is a deadlock. After the test, synctest shows where the owner waits.
				t.Fatalf("the owner received %d of %d requests, and now waits for something else", served, len(requests)+1)
			}
		})
	})

	t.Run("for I/O, a lock or a loop over the keys", func(t *testing.T) {
		files, refuse := parse(t, ".")
		for name, file := range files {
			for node := range ast.Preorder(file) {
				switch node := node.(type) {
				case *ast.ImportSpec:
					if !slices.Contains([]string{`"context"`, `"errors"`}, node.Path.Value) {
						refuse(node, "the owner works in memory: leave what waits for I/O, locks or time to other packages")
					}
				case *ast.ForStmt, *ast.RangeStmt:
					if name == "table.go" {
						refuse(node, "all callers wait while the owner is in this loop")
					}
				}
			}
		}
	})

	t.Run("for a clear, which replaces the map", func(t *testing.T) {
		const keys = 1000
		table := newTable(math.MaxInt64)
		for i := range keys {
			table.put(strconv.Itoa(i), []byte("value"))
		}
		old := table.values
		table.clear()
		if len(old) != keys || len(table.values) != 0 {
			t.Errorf("after clear, the old map has %d keys and the new one %d, want %d and 0: replace the map",
				len(old), len(table.values), keys)
		}
	})
}

// Guarantee 5, for one call. The test stands between a Create and the owner, so it knows when
// the owner receives the request. TestEveryOrder shows the guarantee for calls at the same time.
func TestLinearizable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, front := newRunning(t, math.MaxInt64), newStore()
		call := begin(func() error { return front.Create(t.Context(), "key", []byte("value")) })
		req := <-front.requests

		do(t, store, missing("key")) // before the owner receives
		if synctest.Wait(); len(call) > 0 {
			t.Error("Create has returned before the owner received its request")
		}
		store.requests <- req
		<-call
		do(t, store, get("key", "value")) // after the return
	})
}

// Guarantee 6. If a caller modified a value after Put, every reader would see the change,
// and the race detector would report it. To see the report, add the line
//
//	given[0]++
//
// before wg.Wait, and run
//
//	go test -race -run TestSentIsHandedOver ./actor
func TestSentIsHandedOver(t *testing.T) {
	t.Run("readers share the bytes that were passed to Put, and these do not change", func(t *testing.T) {
		store := newRunning(t, math.MaxInt64)
		given := []byte("value")
		if err := store.Put(t.Context(), "key", given); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				value, _, _ := store.Get(t.Context(), "key")
				if string(value) != "value" || &value[0] != &given[0] {
					t.Errorf("Get returned %q, which is not the value that was passed, but a copy", value)
				}
			})
		}
		wg.Wait()
		do(t, store, put("key", "other"))
		if string(given) != "value" {
			t.Errorf("the value that was read has changed to %q", given)
		}
	})

	const budget = 1 << 20
	half := strings.Repeat("v", budget/2)
	for name, test := range map[string]struct {
		before []step
		want   error // of the Put of the value
		after  []step
	}{
		"refused":  {before: []step{put("other", half)}, want: ErrFull},
		"replaced": {after: []step{put("key", "other")}},
		"deleted":  {after: []step{remove("key", true)}},
		"cleared":  {after: []step{clearAll()}},
	} {
		t.Run("the owner neither changes nor keeps a value that was "+name, func(t *testing.T) {
			store := newRunning(t, budget)
			do(t, store, test.before...)
			value := []byte(half)
			if err := store.Put(t.Context(), "key", value); err != test.want {
				t.Fatalf("Put returned %v, want %v", err, test.want)
			}
			do(t, store, test.after...)
			if string(value) != half {
				t.Errorf("the value has changed to %.20q...", value)
			}
			pointer := weak.Make(&value[0])
			value = nil
			runtime.GC()
			if pointer.Value() != nil {
				t.Error("the value is still in memory")
			}
			runtime.KeepAlive(store)
		})
	}
}

// Guarantee 7. Callers whose contexts are never done ask before Stop, while it waits for
// the owner, and after it. If one of them waits forever, or the owner does not end, then
// no goroutine can go on, and synctest panics.
func TestItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		ask := func() error { return store.Put(t.Context(), "key", nil) }
		stop := func() error { store.Stop(); return nil }
		calls := []<-chan error{begin(ask), begin(stop), begin(ask), begin(stop)}
		store.run(math.MaxInt64)
		for _, call := range append(calls, begin(stop)) {
			<-call
		}
		if err := <-begin(ask); err != ErrStopped {
			t.Errorf("a call after Stop returned %v, want %v", err, ErrStopped)
		}
		New(math.MaxInt64).Stop() // if it left a goroutine, synctest would panic
	})
}

// Guarantee 8, rule by rule, and then in bytes of memory.
func TestStoreIsBounded(t *testing.T) {
	const budget = 1000
	const slot = slotSize + 1 // of a key of one byte
	long := func(n int) string { return string(make([]byte, n)) }

	for _, test := range []struct {
		rule   string
		before []step
		key    string
		fits   int // the largest value that the store then takes for key
	}{
		{"an entry counts its key, its value and a slot", nil, "four", budget - len("four") - 128},
		{"every entry counts", []step{put("k", long(400))}, "l", budget - 400 - 2*slot},
		{"a new value counts in place of the old one", []step{put("k", long(600))}, "k", budget - slot},
		{"a new value counts in place of an empty one", []step{put("k", "")}, "k", budget - slot},
		{"a deleted key leaves a slot, which counts", []step{put("k", "1"), put("l", ""), put("m", ""), remove("k", true), remove("l", true)}, "n", budget - slotSize - 2*slot},
		{"a new key takes the slot of a deleted one", []step{put("k", "1"), put("l", ""), remove("k", true)}, "m", budget - 2*slot},
		{"the delete of the last key frees the slots", []step{put("k", "1"), put("l", "1"), remove("l", true), remove("k", true)}, "m", budget - slot},
		{"a clear frees the slots", []step{put("k", "1"), put("l", "1"), clearAll()}, "m", budget - slot},
	} {
		t.Run(test.rule, func(t *testing.T) {
			store := newRunning(t, budget)
			do(t, store, test.before...)
			do(t, store, put(test.key, long(test.fits+1)).fails(ErrFull), put(test.key, long(test.fits)))
			// The store is full, and refuses neither reads nor deletes.
			do(t, store, put("new", "").fails(ErrFull), get(test.key, long(test.fits)), remove(test.key, true))
		})
	}

	for budget, steps := range map[int64][]step{
		math.MinInt64: {put("", "").fails(ErrFull), missing(""), clearAll()},
		0:             {put("", "").fails(ErrFull), missing(""), clearAll()},
		slotSize:      {put("", "1").fails(ErrFull), put("k", "").fails(ErrFull), put("", "")},
		math.MaxInt64: {put("k", long(1<<20)), put("l", long(1<<20)), put("k", "1")},
	} {
		t.Run(fmt.Sprintf("a budget of %d bytes", budget), func(t *testing.T) { do(t, newRunning(t, budget), steps...) })
	}

	t.Run("the count covers the memory that the table takes, up to an eighth", func(t *testing.T) {
		const keys = 100_000
		before := heap()
		table := newTable(math.MaxInt64)
		check := func() {
			t.Helper()
			counted := table.bytes + int64(table.slots)*slotSize
			if taken := heap() - before; taken > counted+counted/8 {
				t.Errorf("%d keys take %d bytes, and count %d", len(table.values), taken, counted)
			}
		}
		for i := range keys {
			table.put(strconv.Itoa(i), []byte("v"))
			if i >= 10_000 && i%3989 == 0 { // with few keys, other memory matters more
				check()
			}
		}
		for i := range keys - 1 {
			table.delete(strconv.Itoa(i))
		}
		check()
		table.delete(strconv.Itoa(keys - 1))        // the last key
		table.put("other", make([]byte, 1_000_000)) // beside it, other memory does not matter
		check()
	})
}

// heap returns the size in bytes of all objects in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // collects what sync.Pools have kept in the first round
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
