package actor

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// FuzzTable calls the methods of a table in any order. After each call it counts anew what the
// table should have. A call that returns an error, which it does only if it must, changes
// nothing. TestMethods and TestStoreIsBounded show the calls one by one.
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
			want, slots := maps.Clone(table.values), table.slots
			var err, wantErr error
			_, exists := want[key]
			switch call := script[0] % 16; { // of 16 calls, 3 create, 6 put, 6 delete and 1 clears
			case call < 3 && exists:
				err, wantErr = table.create(key, value), ErrExists
			case call < 9:
				if want[key] = value; count(want)+max(slots, len(want))*slotSize > budget {
					want, wantErr = maps.Clone(table.values), ErrFull
				}
				put := table.put
				if call < 3 {
					put = table.create
				}
				err = put(key, value)
			case call < 15:
				table.delete(key)
				delete(want, key)
			default:
				table.clear()
				clear(want)
			}

			if slots = max(slots, len(want)); len(want) == 0 {
				slots = 0
			}
			if err != wantErr || !maps.EqualFunc(table.values, want, slices.Equal) || table.bytes != int64(count(want)) || table.slots != slots {
				t.Fatalf("%v, key %q: error %v, %d keys, %d bytes and %d slots; want %v, %d, %d and %d", script[:3], key,
					err, len(table.values), table.bytes, table.slots, wantErr, len(want), count(want), slots)
			}
		}
	})
}

// count returns how many bytes the keys and values have.
func count(values map[string][]byte) (bytes int) {
	for key, value := range values {
		bytes += len(key) + len(value)
	}
	return bytes
}
