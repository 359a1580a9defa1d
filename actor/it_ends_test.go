package actor

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
)

// Guarantee 7. Callers ask before Stop, while it waits for the owner, and after it. Their
// contexts are never done. synctest panics if every goroutine that is left waits forever.
func TestItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		var waiting sync.WaitGroup
		callAll := func() {
			for _, method := range methods {
				waiting.Go(func() { method.call(context.Background(), store) })
			}
			synctest.Wait() // until each has returned, or waits
		}
		callAll()
		waiting.Go(store.Stop)
		synctest.Wait()
		callAll() // these are in line behind Stop, so the owner does not receive their requests
		store.run(math.MaxInt64)
		callAll()
		store.Stop() // a second Stop returns, too
		waiting.Wait()
		New(math.MaxInt64).Stop() // the goroutine of New ends
	})
}
