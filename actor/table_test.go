package actor

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// FuzzTable calls the methods of a table in any order. After each call it counts anew what the
// table should have. A call that returns an error must change nothing. TestMethods and
// TestStoreIsBounded show what each call should return.
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
		for ; len(script) >= 3; script = script[3:] {
			key, value := strconv.Itoa(int(script[1]%16)), make([]byte, script[2])
			want, slots, err := maps.Clone(table.values), table.slots, error(nil)
			switch call := script[0] % 16; { // of 16 calls, 3 create, 6 put, 6 delete and 1 clears
			case call < 9:
				put := table.put
				if call < 3 {
					put = table.create
				}
				if err = put(key, value); err == nil {
					want[key] = value
				}
			case call < 15:
				table.delete(key)
				delete(want, key)
			default:
				table.clear()
				clear(want)
			}

			bytes := 0
			for key, value := range want {
				bytes += len(key) + len(value)
			}
			if slots = max(slots, len(want)); len(want) == 0 {
				slots = 0
			}
			if !maps.EqualFunc(table.values, want, slices.Equal) || table.bytes != int64(bytes) || table.slots != slots || bytes+slots*slotSize > budget {
				t.Fatalf("%v, key %q, error %v: %d keys, %d bytes and %d slots; want %d, %d and %d", script[:3], key, err,
					len(table.values), table.bytes, table.slots, len(want), bytes, slots)
			}
		}
	})
}
