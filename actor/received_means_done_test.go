package actor

import (
	"context"
	"errors"
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
}
