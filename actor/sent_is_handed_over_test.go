package actor

import (
	"math"
	"runtime"
	"sync"
	"testing"
	"weak"
)

// Guarantee 6. If a caller modified a value after Put, every reader would see the change,
// and the race detector would report it. To see the report, add the line
//
//	given[0]++
//
// before wg.Wait, and run
//
//	go test -race -run TestSentIsHandedOver ./actor
func TestSentIsHandedOver(t *testing.T) {
	t.Run("readers share the bytes that were passed to Put", func(t *testing.T) {
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
	})

	for name, step := range map[string]step{
		"Put":    put("key", "VALUE"),
		"Delete": remove("key", true),
		"Clear":  clearAll(),
	} {
		t.Run("a value that was read does not change after "+name, func(t *testing.T) {
			store := newRunning(t, math.MaxInt64)
			do(t, store, put("key", "value"))
			value, _, _ := store.Get(t.Context(), "key")
			do(t, store, step, put("key", "other"))
			if string(value) != "value" {
				t.Errorf("the value that was read has changed to %q", value)
			}
		})
	}

	const budget = 1 << 20
	half := string(make([]byte, budget/2))
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
		t.Run("the owner does not keep a value that was "+name, func(t *testing.T) {
			store := newRunning(t, budget)
			do(t, store, test.before...)
			value := []byte(half)
			if err := store.Put(t.Context(), "key", value); err != test.want {
				t.Fatalf("Put returned %v, want %v", err, test.want)
			}
			do(t, store, test.after...)
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
