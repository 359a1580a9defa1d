package actor

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
)

// kb is a number of bytes that makes a value large.
const kb = 1 << 10

// A step is a call of a method of a table and what it should return.
type step struct {
	call func(*table) error
	want error
}

func put(key string, n int) step       { return putReserved(key, n, 0) }
func putFull(key string, n int) step   { return step{put(key, n).call, ErrFull} }
func reserve(n int64) step             { return step{func(t *table) error { return t.reserve(n) }, nil} }
func reserveFull(n int64) step         { return step{reserve(n).call, ErrFull} }
func fits(key string, n int64) step    { return step{func(t *table) error { return t.fits(key, n) }, nil} }
func fitsNot(key string, n int64) step { return step{fits(key, n).call, ErrFull} }

func putReserved(key string, n int, reserved int64) step {
	return step{func(t *table) error { return t.put(key, make([]byte, n), reserved) }, nil}
}

func unreserve(n int64) step {
	return step{func(t *table) error { t.unreserve(n); return nil }, nil}
}

func remove(key string) step {
	return step{func(t *table) error { t.delete(key); return nil }, nil}
}

func clearAll() step {
	return step{func(t *table) error { t.clear(); return nil }, nil}
}

// read starts a reading of key, and release ends it.
func read(key string, into *[]byte) step {
	return step{func(t *table) error { *into, _ = t.get(key); return nil }, nil}
}

func release(value *[]byte) step {
	return step{func(t *table) error { t.release(*value); return nil }, nil}
}

// Guarantee 8, rule by rule. The budget is 100 KiB, so 125 KiB may be stored and in
// transit.
func TestMemoryIsBounded(t *testing.T) {
	const slot = slotSize + 1 // of a key of one byte
	var v, w []byte
	for name, steps := range map[string][]step{
		"an entry counts its key, its value and a slot": {
			put("k", 100*kb-slot), putFull("l", 0), remove("k"), putFull("k", 100*kb-slot+1),
		},
		"a value counts what its slice keeps alive": {
			{func(t *table) error { return t.put("k", make([]byte, 1, 100*kb-slot+1), 0) }, ErrFull},
		},
		"a value replaces the one before it": {
			put("k", 60*kb), put("k", 100*kb-slot), put("k", 1), put("l", 99*kb),
		},
		"a refused value leaves the one before it": {
			put("k", 60*kb), putFull("k", 100*kb), putFull("l", 40*kb), put("l", 40*kb-2*slot),
		},
		"a deleted key leaves a slot for the next one": {
			put("k", 1), put("l", 1), remove("k"),
			putFull("l", 100*kb-2*slotSize), put("l", 100*kb-2*slotSize-1), remove("l"),
			put("l", 100*kb-slotSize-1),
		},
		"a new key takes the free slot": {
			put("k", 1), put("l", 1), remove("k"), put("m", 1), put("l", 100*kb-2*slotSize-3),
		},
		"clear frees the slots": {
			put("k", 1), put("l", 1), clearAll(), put("k", 100*kb-slot),
		},
		"what arrives may take a quarter more": {
			put("k", 100*kb-slot), reserve(25 * kb), reserveFull(1), unreserve(1), reserve(1),
		},
		"all of it may be arriving": {
			reserve(125 * kb), reserveFull(1), putFull("k", 1), unreserve(125 * kb), put("k", 1),
		},
		"no reservation is too large to be refused": {
			reserve(kb), reserveFull(math.MaxInt64), fitsNot("k", math.MaxInt64),
		},
		"put takes back what was reserved": {
			put("l", 50*kb), reserve(40 * kb), putReserved("k", 40*kb, 40*kb), reserve(35*kb - 2*slot), reserveFull(1),
		},
		"a refused put keeps what was reserved": {
			put("l", 100*kb-slot), reserve(25 * kb),
			{putReserved("k", 25*kb, 25*kb).call, ErrFull}, reserveFull(1),
		},
		"a full table takes a value of the same size": {
			put("k", 20*kb), put("l", 80*kb-2*slot), reserve(20 * kb), putReserved("k", 20*kb, 20*kb), reserve(25 * kb),
		},
		"a small value of the same size fits although nothing may arrive": {
			put("k", 1), put("l", 100*kb-1-2*slot), reserve(25 * kb), put("k", 1), putFull("k", 2),
		},
		"what is read counts once": {
			put("k", 50*kb), read("k", &v), read("k", &w), reserve(75*kb - slot), reserveFull(1), release(&v), release(&w),
		},
		"what was replaced counts until its last reader is done": {
			put("k", 50*kb), read("k", &v), read("k", &w), put("k", 50*kb),
			reserve(25*kb - slot), reserveFull(1), release(&v), reserveFull(1), release(&w), reserve(50 * kb), reserveFull(1),
		},
		"what was deleted counts until its last reader is done": {
			put("k", 50*kb), read("k", &v), remove("k"), reserve(75 * kb), reserveFull(1), release(&v), reserve(50 * kb),
		},
		"what was cleared counts until its last reader is done": {
			put("k", 50*kb), put("l", 40*kb), read("k", &v), read("l", &w), clearAll(),
			reserve(35 * kb), reserveFull(1), release(&v), reserve(50 * kb), reserveFull(1), release(&w), reserve(40 * kb),
		},
		"a value that is read leaves only once": {
			put("k", 50*kb), read("k", &v), clearAll(), clearAll(), remove("k"), reserve(75 * kb), reserveFull(1), release(&v),
			reserve(50 * kb),
		},
		"what is read and stored cannot be stored again beside itself": {
			put("k", 60*kb), read("k", &v), clearAll(), put("k", 60*kb), read("k", &w), putFull("k", 60*kb), release(&v),
			putFull("k", 70*kb), release(&w), put("k", 70*kb),
		},
		"small values that are read do not count": {
			put("k", SmallValue), read("k", &v), clearAll(), reserve(125 * kb), release(&v),
		},
		"a value fits if it may arrive and then be stored": {
			put("k", 20*kb), put("l", 80*kb-2*slot),
			fits("k", 20*kb), fitsNot("k", 20*kb+1), fitsNot("m", 1), reserve(10 * kb), fits("k", 15*kb), fitsNot("k", 15*kb+1),
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := newTable(100 * kb)
			for i, step := range steps {
				if err := step.call(table); !errors.Is(err, step.want) {
					t.Fatalf("step %d returns %v, want %v", i+1, err, step.want)
				}
			}
		})
	}
}

func TestMisuseOfTheTablePanics(t *testing.T) {
	for name, misuse := range map[string]func(*table){
		"released twice": func(t *table) {
			t.put("k", make([]byte, 2*SmallValue), 0)
			value, _ := t.get("k")
			t.release(value)
			t.release(value)
		},
		"more unreserved than reserved": func(t *table) {
			t.reserve(1)
			t.unreserve(2)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse(newTable(100 * kb))
		}()
	}
}

// Guarantee 4: clear leaves the old map as it is, with all its keys. So does the
// delete of the last key, which would otherwise leave its slots behind.
func TestClearReplacesTheMap(t *testing.T) {
	table := newTable(math.MaxInt64)
	for i := range 1000 {
		table.put(strconv.Itoa(i), []byte("value"), 0)
	}
	old := table.values
	table.clear()
	if len(old) != 1000 || len(table.values) != 0 {
		t.Errorf("after clear, the old map has %d keys and the new one %d, want 1000 and none", len(old), len(table.values))
	}

	table.put("last", []byte("value"), 0)
	old = table.values
	table.delete("last")
	table.put("next", []byte("value"), 0)
	if len(old) != 0 {
		t.Error("the map is in use after its last key was deleted")
	}
}

// FuzzTable runs any sequence of operations on a table and on a model of it. After
// each, the sums of the table are what the model adds up from its contents.
func FuzzTable(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		script := make([]byte, 600)
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		f.Add(script)
	}

	f.Fuzz(func(t *testing.T, script []byte) {
		const budget = 64 * kb
		table := newTable(budget)
		var (
			stored   = make(map[string][]byte)
			slots    int
			reserved []int64
			readers  [][]byte
		)
		check := func() {
			used, arriving := int64(slots)*slotSize, int64(0)
			held := make(map[*byte]int64) // large values that are read, and not stored
			for _, n := range reserved {
				arriving += n
			}
			for _, value := range readers {
				held[&value[0]] = int64(cap(value))
			}
			for key, value := range stored {
				used += int64(len(key) + cap(value))
				if cap(value) > 0 {
					delete(held, &value[:1][0])
				}
			}
			leaving := int64(0)
			for _, n := range held {
				leaving += n
			}
			if table.used() != used || table.arriving != arriving || table.leaving != leaving {
				t.Fatalf("used %d, arriving %d, leaving %d; want %d, %d, %d",
					table.used(), table.arriving, table.leaving, used, arriving, leaving)
			}
			if used > budget || used+arriving+leaving > budget+budget/4 {
				t.Fatalf("used %d, arriving %d, leaving %d exceed %d", used, arriving, leaving, budget)
			}
		}

		for ; len(script) >= 3; script = script[3:] {
			key, n := fmt.Sprint(script[1]%8), int64(script[2])*100
			switch script[0] % 8 {
			case 0, 1:
				value := make([]byte, n/2, n)
				var from int64
				if i := int(script[1]) - 128; i >= 0 && i < len(reserved) {
					from = reserved[i]
				}
				if table.put(key, value, from) == nil {
					stored[key] = value
					slots = max(slots, len(stored))
					for i := range reserved {
						if reserved[i] == from {
							reserved[i] = 0
							break
						}
					}
				}
			case 2:
				table.delete(key)
				if _, found := stored[key]; found {
					delete(stored, key)
					if len(stored) == 0 {
						slots = 0
					}
				}
			case 3:
				if script[1] < 32 { // seldom, or the table would never fill
					table.clear()
					clear(stored)
					slots = 0
				}
			case 4:
				value, found := table.get(key)
				if want, ok := stored[key]; found != ok || len(value) != len(want) || cap(value) != cap(want) {
					t.Fatalf("get(%q) returns %d bytes, %t; want %d, %t", key, len(value), found, len(want), ok)
				}
				if isLarge(value) {
					readers = append(readers, value[:1])
				}
			case 5:
				if len(readers) > 0 {
					i := int(script[1]) % len(readers)
					table.release(readers[i])
					readers = append(readers[:i], readers[i+1:]...)
				}
			case 6:
				fits := table.fits(key, n)
				if table.reserve(n) == nil {
					reserved = append(reserved, n)
				} else if fits == nil {
					t.Fatalf("%d bytes fit and can't be reserved", n)
				}
			case 7:
				if len(reserved) > 0 {
					i := int(script[1]) % len(reserved)
					table.unreserve(reserved[i])
					reserved = append(reserved[:i], reserved[i+1:]...)
				}
			}
			check()
		}

		for _, value := range readers {
			table.release(value)
		}
		for _, n := range reserved {
			table.unreserve(n)
		}
		readers, reserved = nil, nil
		check()
	})
}

// heap returns the size in bytes of all objects in use.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// Guarantee 8: what the table counts covers the memory that it takes, up to an
// eighth, for short values and long ones, at any number of keys, and after keys
// came and went.
func TestCountCoversMemory(t *testing.T) {
	check := func(table *table, before int64, what string) {
		t.Helper()
		if taken := heap() - before; taken > table.used()+table.used()/8 {
			t.Errorf("%s: %d bytes are taken and %d are counted", what, taken, table.used())
		}
		runtime.KeepAlive(table)
	}
	for _, length := range []int{1, 100, 5000} {
		before := heap()
		table := newTable(math.MaxInt64)
		for i := range 400_000 / length {
			table.put(strconv.Itoa(i), make([]byte, length), 0)
			if i == 10_000 || i > 10_000 && i%1997 == 0 {
				check(table, before, fmt.Sprintf("%d values of %d bytes", i, length))
			}
		}
		check(table, before, fmt.Sprintf("values of %d bytes", length))
	}

	before := heap()
	table := newTable(math.MaxInt64)
	for i := range 50_000 {
		table.put(strconv.Itoa(i), []byte("v"), 0)
	}
	for i := range 49_999 {
		table.delete(strconv.Itoa(i))
	}
	check(table, before, "all keys but one deleted")

	before = heap()
	table = newTable(math.MaxInt64)
	for i := range 500_000 {
		table.put(strconv.Itoa(i), []byte("v"), 0)
		table.delete(strconv.Itoa(i - 5_000))
	}
	check(table, before, "keys that come and go")
}
