package actor

import (
	"math"
	"strconv"
	"testing"
	"testing/synctest"
)

// Guarantee 4: the owner does not wait for a caller that does not receive its reply,
// and the work of a request does not grow with the number of keys. It waits for no
// lock either: see TestOneOwner.
func TestOwnerNeverWaits(t *testing.T) {
	t.Run("for a caller that never receives its reply", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := newStore()
			var requests []request
			for _, method := range methods { // the test plays the owner
				go method.call(t.Context(), store)
				req := <-store.requests
				req.replyTo <- reply{}
				requests = append(requests, req)
			}
			synctest.Wait() // The callers have returned. They will never receive again.

			go store.run(math.MaxInt64)
			served := 0
			go func() {
				for _, req := range requests {
					store.requests <- req
					served++
				}
				store.Stop()
			}()
			synctest.Wait()
			select {
			case <-store.stopped:
			default: // This is a deadlock. After the test, synctest shows where the owner waits.
				t.Fatalf("the owner received %d of %d requests, and now waits for something else", served, len(requests))
			}
		})
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
