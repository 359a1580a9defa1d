package actor

import (
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"
)

// FuzzTable calls the methods of a table in any order. After each call it compares the
// table with a model, which adds up what it has stored anew each time.
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
			switch call := script[0] % 16; {
			case call < 8: // put, or create
				after := maps.Clone(stored)
				after[key] = value
				var want error
				if exists && call < 3 {
					want = ErrExists
				} else if sum(after)+max(slots, len(after))*slotSize > budget {
					want = ErrFull
				} else {
					stored = after
				}
				update := table.put
				if call < 3 {
					update = table.create
				}
				if err := update(key, []byte(value)); err != want {
					t.Fatalf("put or create of %q returned %v, want %v", key, err, want)
				}
			case call < 12:
				delete(stored, key)
				if found := table.delete(key); found != exists {
					t.Fatalf("delete(%q) = %t, want %t", key, found, exists)
				}
			case call < 15:
				if got, found := table.get(key); found != exists || string(got) != old {
					t.Fatalf("get(%q) = %q, %t; want %q, %t", key, got, found, old, exists)
				}
			default:
				table.clear()
				clear(stored)
			}

			if slots = max(slots, len(stored)); len(stored) == 0 {
				slots = 0
			}
			if table.bytes != int64(sum(stored)) || table.slots != slots || len(table.values) != len(stored) {
				t.Fatalf("the table counts %d bytes, %d slots and %d keys, want %d, %d and %d",
					table.bytes, table.slots, len(table.values), sum(stored), slots, len(stored))
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
