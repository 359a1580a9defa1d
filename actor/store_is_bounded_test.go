package actor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
)

// Guarantee 8, rule by rule, and then in bytes of memory.
func TestStoreIsBounded(t *testing.T) {
	const budget = 1000
	const slot = slotSize + 1 // of a key of one byte
	long := func(n int) string { return string(make([]byte, n)) }

	for name, steps := range map[string][]step{
		"an entry counts its key, its value and a slot": {
			put("k", long(budget-slot+1)).fails(ErrFull), put("k", long(budget-slot)),
		},
		"every byte of a key counts": {
			put(long(500), long(501-slotSize)).fails(ErrFull), put(long(500), long(500-slotSize)),
		},
		"every entry counts": {
			put("k", long(400)), put("l", long(601-2*slot)).fails(ErrFull), put("l", long(600-2*slot)),
		},
		"a new value counts in place of the old one": {
			put("k", long(600)), put("k", long(budget-slot)), put("k", "1"),
			put("l", long(budget-2*slot)).fails(ErrFull), put("l", long(budget-2*slot-1)),
		},
		"a refused value changes nothing": {
			put("k", "1"), put("k", long(budget)).fails(ErrFull), put("l", long(budget)).fails(ErrFull),
			get("k", "1"), get("l", ""),
			put("k", long(budget-slot+1)).fails(ErrFull), put("k", long(budget-slot)),
		},
		"a deleted key leaves a slot, which counts": {
			put("k", "1"), put("l", "1"), put("m", "1"), remove("k", true), remove("l", true), put("l", "1"),
			put("m", long(budget-slotSize-2*slot)).fails(ErrFull), put("m", long(budget-slotSize-2*slot-1)),
		},
		"a new key takes the slot of a deleted one": {
			put("k", "1"), put("l", "1"), remove("k", true), put("m", "1"),
			put("l", long(budget-2*slot)).fails(ErrFull), put("l", long(budget-2*slot-1)),
		},
		"the delete of the last key frees the slots": {
			put("k", "1"), put("l", "1"), remove("l", true), remove("k", true),
			put("m", long(budget-slot+1)).fails(ErrFull), put("m", long(budget-slot)),
		},
		"a clear frees the slots": {
			put("k", "1"), put("l", "1"), clearAll(),
			put("m", long(budget-slot+1)).fails(ErrFull), put("m", long(budget-slot)),
		},
		"the delete of a missing key frees nothing": {
			put("k", long(budget-slot)), remove("l", false), put("l", "").fails(ErrFull),
		},
		"Create counts like Put": {
			create("k", long(budget-slot+1)).fails(ErrFull), create("k", long(budget-slot)),
		},
		"a full store can be read, and its keys deleted": {
			put("k", long(budget-slot)), put("l", "").fails(ErrFull), get("k", long(budget-slot)), remove("k", true), put("l", "1"),
		},
	} {
		t.Run(name, func(t *testing.T) { do(t, newRunning(t, budget), steps...) })
	}

	for budget, steps := range map[int64][]step{
		math.MinInt64: {put("", "").fails(ErrFull), get("", ""), remove("", false), clearAll()},
		-1:            {put("", "").fails(ErrFull), get("", ""), remove("", false), clearAll()},
		0:             {put("", "").fails(ErrFull), get("", ""), remove("", false), clearAll()},
		slotSize - 1:  {put("", "").fails(ErrFull)},
		slotSize:      {put("", "1").fails(ErrFull), put("k", "").fails(ErrFull), put("", "")},
		math.MaxInt64: {put("k", long(1<<20)), put("l", long(1<<20)), put("k", "1"), get("k", "1")},
	} {
		t.Run(fmt.Sprintf("with a budget of %d bytes", budget), func(t *testing.T) { do(t, newRunning(t, budget), steps...) })
	}

	key := strconv.Itoa
	fill := func(keys, length int) func(*table, func()) {
		return func(table *table, check func()) {
			for i := range keys {
				table.put(key(i), make([]byte, length))
				if i >= 10_000 && i%3989 == 0 { // with few keys, other memory matters more
					check()
				}
			}
		}
	}
	for name, use := range map[string]func(table *table, check func()){
		"with values of one byte":    fill(100_000, 1),
		"with values of 100 bytes":   fill(20_000, 100),
		"with values of 5,000 bytes": fill(2_000, 5_000),
		"after keys came and went": func(table *table, check func()) {
			for i := range 200_000 {
				table.put(key(i), []byte("v"))
				table.delete(key(i - 5_000))
			}
		},
		"after deletes": func(table *table, check func()) {
			fill(50_000, 1)(table, check)
			for i := range 49_999 {
				table.delete(key(i))
			}
			check()
			table.delete(key(49_999)) // the last key
			table.put("other", make([]byte, 100_000))
		},
	} {
		t.Run("the count covers the memory that the table takes, up to an eighth, "+name, func(t *testing.T) {
			before := heap()
			table := newTable(math.MaxInt64)
			check := func() {
				t.Helper()
				counted := table.bytes + int64(table.slots)*slotSize
				if taken := heap() - before; taken > counted+counted/8 {
					t.Errorf("%d keys take %d bytes, and count %d", len(table.values), taken, counted)
				}
			}
			use(table, check)
			check()
			runtime.KeepAlive(table)
		})
	}
}

// heap returns the size in bytes of all objects in use.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// FuzzTable calls the methods of a table in any order. After each call, it adds up
// what a model of the table has stored, and compares the sum with the count.
func FuzzTable(f *testing.F) {
	random := rand.NewChaCha8([32]byte{})
	for range 20 {
		script := make([]byte, 600)
		random.Read(script)
		f.Add(script)
	}

	f.Fuzz(func(t *testing.T, script []byte) {
		const budget = 2000
		table := newTable(budget)
		stored := make(map[string]string)
		slots := 0
		for ; len(script) >= 3; script = script[3:] {
			key, value := strconv.Itoa(int(script[1]%16)), string(make([]byte, script[2]))
			switch call := script[0] % 16; {
			case call < 8:
				if table.put(key, []byte(value)) == nil {
					stored[key] = value
				} else if len(stored) == 0 {
					t.Fatalf("an empty table refused a value of %d bytes", len(value))
				}
			case call < 12:
				_, want := stored[key]
				delete(stored, key)
				if found := table.delete(key); found != want {
					t.Fatalf("delete(%q) = %t, want %t", key, found, want)
				}
			case call < 15:
				want, wantFound := stored[key]
				if got, found := table.get(key); found != wantFound || string(got) != want {
					t.Fatalf("get(%q) = %q, %t; want %q, %t", key, got, found, want, wantFound)
				}
			default:
				table.clear()
				clear(stored)
			}

			if slots = max(slots, len(stored)); len(stored) == 0 {
				slots = 0
			}
			sum := 0
			for key, value := range stored {
				sum += len(key) + len(value)
			}
			if table.bytes != int64(sum) || table.slots != slots {
				t.Fatalf("the table counts %d bytes and %d slots, want %d and %d", table.bytes, table.slots, sum, slots)
			}
			if sum+slots*slotSize > budget {
				t.Fatalf("%d bytes and %d slots exceed the budget", sum, slots)
			}
		}
	})
}
