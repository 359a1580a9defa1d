package actor

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
)

// Guarantee 2. The test plays the owner: it receives a request, the caller's context
// is canceled, the store stops, and only then does the reply come.
func TestReceivedMeansDone(t *testing.T) {
	for name, method := range methods {
		t.Run(name+" waits for the reply, whatever else happens", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore()
				ctx, cancel := context.WithCancel(t.Context())
				returned := make(chan error, 1)
				go func() { returned <- method.call(ctx, store) }()

				req := <-store.requests
				cancel()
				close(store.stopped)
				synctest.Wait()
				select {
				case err := <-returned:
					t.Fatalf("it returned %v before the reply, so its caller can't know what the owner did", err)
				default:
				}

				want := errors.New("the reply")
				req.replyTo <- reply{err: want}
				if err := <-returned; err != want {
					t.Errorf("it returned %v, want the error of the reply", err)
				}
			})
		})
	}

	t.Run("what many callers are told is what happened", func(t *testing.T) {
		const callers = 200
		outcomes := make(map[bool]int) // how many calls succeeded, and how many failed
		for round := 0; round < 10 || outcomes[true] == 0 || outcomes[false] == 0; round++ {
			if round == 1000 {
				t.Fatalf("%d calls succeeded and %d failed, want some of both", outcomes[true], outcomes[false])
			}
			store := newRunning(t, math.MaxInt64)
			var errs [callers]error
			var wg sync.WaitGroup
			for i := range callers {
				ctx, cancel := context.WithCancel(t.Context())
				wg.Go(func() { errs[i] = store.Put(ctx, strconv.Itoa(i), []byte("value")) })
				wg.Go(cancel)
			}
			wg.Wait()

			for i, err := range errs {
				_, found, _ := store.Get(t.Context(), strconv.Itoa(i))
				if found != (err == nil) {
					t.Fatalf("Put returned %v, but the store has the key: %t", err, found)
				}
				outcomes[found]++
			}
		}
	})
}
