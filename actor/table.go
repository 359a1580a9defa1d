package actor

// slotSize is what a key counts, in bytes, in addition to its own bytes and those
// of its value: a slot in a map that has just grown, and what the allocator adds
// to a short key and a short value when it rounds them up.
const slotSize = 128

// A table is what the owner owns: the map, and a count of what is in it. Only one
// goroutine ever has the table, so this file is ordinary sequential code and knows
// nothing of channels. It has no loop, because the owner serves no other request
// while it works (guarantee 4).
type table struct {
	values map[string][]byte
	slots  int   // the most keys that values has held, because a map never shrinks
	bytes  int64 // the sum of the sizes of all keys and values
	budget int64 // the most that bytes and slots*slotSize may add up to
}

func newTable(budget int64) *table {
	return &table{values: make(map[string][]byte), budget: budget}
}

func (t *table) get(key string) (value []byte, found bool) {
	value, found = t.values[key]
	return value, found
}

// put stores value, not a copy (guarantee 6, what is sent is handed over), under key, or
// returns ErrFull and changes nothing.
func (t *table) put(key string, value []byte) error {
	old, found := t.values[key]
	bytes, slots := t.bytes+int64(len(value)-len(old)), t.slots
	if !found {
		bytes += int64(len(key))
		slots = max(slots, len(t.values)+1)
	}
	if bytes+int64(slots)*slotSize > t.budget { // guarantee 8, the store is bounded
		return ErrFull
	}
	t.values[key], t.bytes, t.slots = value, bytes, slots
	return nil
}

// create is put for a key that must not be there. Otherwise it returns ErrExists.
func (t *table) create(key string, value []byte) error {
	if _, found := t.values[key]; found {
		return ErrExists
	}
	return t.put(key, value)
}

// delete removes key and reports whether it was there.
func (t *table) delete(key string) bool {
	old, found := t.values[key]
	if !found {
		return false
	}
	delete(t.values, key)
	t.bytes -= int64(len(key)) + int64(len(old))
	if len(t.values) == 0 {
		t.clear() // frees the slots
	}
	return true
}

// clear removes every key. It leaves the old map to the garbage collector, so its
// work does not grow with the number of keys.
func (t *table) clear() {
	t.values, t.slots, t.bytes = make(map[string][]byte), 0, 0
}
