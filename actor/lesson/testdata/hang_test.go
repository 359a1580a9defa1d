package actor

import (
	"context"
	"testing"
	"testing/synctest"
)

// TestHang leaves goroutines behind in each state of the table "When it hangs". The
// bubble notices that they wait forever, and prints their stacks. TestBreaksAndExercises puts
// this file beside a store whose owner calls its own store in Create.
func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		New(0) // an owner that waits for a request

		store := New(0) // an owner that waits for a caller
		store.requests <- request{op: opGet, replyTo: make(chan reply)}

		store = New(0) // an owner that called its own store
		go store.Create(context.Background(), "key", nil)

		store = newStore() // a caller that waits for the owner to receive
		go store.Get(context.Background(), "key")

		store = newStore() // a caller that waits for its reply
		go store.Get(context.Background(), "key")
		<-store.requests

		synctest.Wait()
	})
}
