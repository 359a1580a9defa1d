package actor

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
)

// Guarantee 2, first for callers, then for the owner. For callers, the test plays the owner:
// it receives a request, the caller's context is canceled, the store stops, and only then
// does the reply come.
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

		t.Run("the owner processes a request once: "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := New(math.MaxInt64)
				if name != "Create" {
					store.requests <- request{op: opPut, key: "key", value: []byte("value"), replyTo: make(chan reply, 1)}
				}
				front := newStore() // The method sends its request here. The test passes it on to store.
				returned := make(chan error, 1)
				go func() { returned <- method.call(t.Context(), front) }()
				req := <-front.requests
				toCaller, replies := req.replyTo, make(chan reply, 2)
				req.replyTo = replies
				store.requests <- req
				store.Stop()
				if len(replies) != 1 {
					toCaller <- reply{} // ends the call
					t.Fatalf("the owner replied %d times, want once", len(replies))
				}
				toCaller <- <-replies
				if err := <-returned; err != nil {
					t.Errorf("it returned %v, as if the owner had processed the request twice", err)
				}
			})
		})
	}
}
