package actor

import (
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"
)

// FuzzTable calls the methods of a table in any order. After each call it compares the
// table with a model, which adds up what it has stored anew each time. TestStoreIsBounded
// shows the same rules one by one.
func FuzzTable(f *testing.F) {
	random := rand.NewChaCha8([32]byte{})
	for range 20 {
		script := make([]byte, 600)
		random.Read(script)
		f.Add(script)
	}

	f.Fuzz(func(t *testing.T, script []byte) {
		const budget = 2000
		table, stored, slots := newTable(budget), make(map[string]string), 0
		for ; len(script) >= 3; script = script[3:] {
			key, value := strconv.Itoa(int(script[1]%16)), string(make([]byte, script[2]))
			old, exists := stored[key]
			after := maps.Clone(stored)
			after[key] = value
			var wantPut, wantCreate error
			if sum(after)+max(slots, len(after))*slotSize > budget {
				wantPut = ErrFull
			}
			if wantCreate = wantPut; exists {
				wantCreate = ErrExists
			}

			var got, want any
			switch call := script[0] % 16; {
			case call < 6:
				if got, want = any(table.put(key, []byte(value))), any(wantPut); want == nil {
					stored = after
				}
			case call < 9:
				if got, want = any(table.create(key, []byte(value))), any(wantCreate); want == nil {
					stored = after
				}
			case call < 12:
				got, want = table.delete(key), exists
				delete(stored, key)
			case call < 15:
				value, found := table.get(key)
				got, want = [2]any{string(value), found}, [2]any{old, exists}
			default:
				table.clear()
				clear(stored)
			}

			if slots = max(slots, len(stored)); len(stored) == 0 {
				slots = 0
			}
			gotSize, wantSize := [3]int{len(table.values), int(table.bytes), table.slots}, [3]int{len(stored), sum(stored), slots}
			if got != want || gotSize != wantSize {
				t.Fatalf("%v, key %q: got %v, want %v; keys, bytes and slots %v, want %v", script[:3], key, got, want, gotSize, wantSize)
			}
		}
	})
}

// sum returns how many bytes the keys and values of stored have.
func sum(stored map[string]string) (bytes int) {
	for key, value := range stored {
		bytes += len(key) + len(value)
	}
	return bytes
}
