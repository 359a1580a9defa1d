package actor

import "math"

const (
	// SmallValue is the size in bytes up to which a value is counted only while
	// it is stored. A larger one also counts while it arrives and while it is
	// read.
	SmallValue = 4 << 10

	// slotSize is what a key counts in addition to its bytes and those of its
	// value: a slot in a map that has just grown, and what the allocator adds to
	// a short key and a short value when it rounds them up.
	slotSize = 128
)

// A table is what the owner owns: the values, and a count of the memory that
// they occupy. Only one goroutine ever has the table, so this file is ordinary
// sequential code and knows nothing of channels.
//
// Sizes are in bytes. The table keeps to two limits: what is stored is at most
// budget, and what is stored, arriving and leaving together is at most a quarter
// more, so that the values of a full table can still be replaced.
type table struct {
	values map[string][]byte
	slots  int // in values, which never shrinks: the most keys that it has held

	budget   int64
	stored   int64 // keys and values, without their slots
	arriving int64 // reserved for values that are not stored yet
	leaving  int64 // values that are no longer stored and still being read

	// The large values that are being read, by the address of their first byte.
	reading map[*byte]*reading
}

// A reading is a value that is being read.
type reading struct {
	readers int
	size    int64
	removed bool // from the table; the value counts as leaving
}

func newTable(budget int64) *table {
	return &table{
		values:  make(map[string][]byte),
		budget:  min(budget, math.MaxInt64/2), // no sum below can overflow
		reading: make(map[*byte]*reading),
	}
}

// used returns how much of the budget is taken.
func (t *table) used() int64 { return t.stored + int64(t.slots)*slotSize }

// usedAfter returns what used would return if key had a value of n bytes.
func (t *table) usedAfter(key string, n int64) int64 {
	if old, found := t.values[key]; found {
		return t.used() - size(old) + n
	}
	after := t.used() + int64(len(key)) + n
	if len(t.values) == t.slots {
		after += slotSize
	}
	return after
}

// limit returns how much may be stored, arriving and leaving in all.
func (t *table) limit() int64 { return t.budget + t.budget/4 }

// free returns how much more may be reserved.
func (t *table) free() int64 { return t.limit() - t.used() - t.arriving - t.leaving }

// get returns the value of key. A large value counts as being read until release
// is called for it.
func (t *table) get(key string) (value []byte, found bool) {
	value, found = t.values[key]
	if isLarge(value) {
		r := t.reading[address(value)]
		if r == nil {
			r = &reading{size: size(value)}
			t.reading[address(value)] = r
		}
		r.readers++
	}
	return value, found
}

// release ends one reading of value, which get has returned.
func (t *table) release(value []byte) {
	if !isLarge(value) {
		return
	}
	r := t.reading[address(value)]
	if r == nil {
		panic("actor: Release of a value that is not being read")
	}
	r.readers--
	if r.readers > 0 {
		return
	}
	delete(t.reading, address(value))
	if r.removed {
		t.leaving -= r.size
	}
}

// fits returns nil if a value of n bytes for key could arrive and be stored now,
// and ErrFull if not.
func (t *table) fits(key string, n int64) error {
	if n > t.free() || t.usedAfter(key, n) > t.budget {
		return ErrFull
	}
	return nil
}

// reserve counts n bytes as arriving, or returns ErrFull.
func (t *table) reserve(n int64) error {
	if n > t.free() {
		return ErrFull
	}
	t.arriving += n
	return nil
}

// unreserve takes back what reserve has counted.
func (t *table) unreserve(n int64) {
	if n > t.arriving {
		panic("actor: Unreserve of more than is reserved")
	}
	t.arriving -= n
}

// put stores value under key and takes back the reserved bytes, or returns
// ErrFull and changes nothing.
func (t *table) put(key string, value []byte, reserved int64) error {
	old, found := t.values[key]
	used := t.usedAfter(key, size(value))
	transit := t.arriving - reserved + t.leaving
	if t.isRead(old) {
		transit += size(old)
	}
	if used > t.budget || used+transit > t.limit() {
		return ErrFull
	}

	t.unreserve(reserved)
	if found {
		t.remove(key, old)
	}
	t.values[key] = value
	t.stored += int64(len(key)) + size(value)
	t.slots = max(t.slots, len(t.values))
	return nil
}

// delete removes key, if it is there. When the last key goes, so does the map,
// because it would keep its slots.
func (t *table) delete(key string) {
	old, found := t.values[key]
	if !found {
		return
	}
	t.remove(key, old)
	if len(t.values) == 0 {
		t.clear()
	}
}

// clear removes every key. It replaces the map and leaves the old one to the
// garbage collector: the work grows with the number of values that are being
// read, and not with the number of keys.
func (t *table) clear() {
	for _, r := range t.reading {
		t.leave(r)
	}
	t.values, t.slots, t.stored = make(map[string][]byte), 0, 0
}

// remove removes key and its value.
func (t *table) remove(key string, value []byte) {
	delete(t.values, key)
	t.stored -= int64(len(key)) + size(value)
	if t.isRead(value) {
		t.leave(t.reading[address(value)])
	}
}

// leave counts a value that is being read as leaving, once.
func (t *table) leave(r *reading) {
	if !r.removed {
		r.removed = true
		t.leaving += r.size
	}
}

// isRead reports whether value, which is stored, is being read.
func (t *table) isRead(value []byte) bool {
	if !isLarge(value) {
		return false
	}
	r := t.reading[address(value)]
	return r != nil && !r.removed
}

// size returns what value counts: all the memory that the slice keeps alive.
func size(value []byte) int64 { return int64(cap(value)) }

// isLarge reports whether value counts while it is read.
func isLarge(value []byte) bool { return size(value) > SmallValue }

// address returns what tells a large value from all others.
func address(value []byte) *byte { return &value[:1][0] }
