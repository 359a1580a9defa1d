package actor

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
)

// Guarantee 3, for each error that a method returns.
func TestErrorMeansNoEffect(t *testing.T) {
	for name, method := range methods {
		t.Run(name+" sends nothing if its context is done before the call", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				for range 100 { // a select would choose to send about every second time
					store := newStore()
					go func() {
						select {
						case req := <-store.requests:
							t.Error("it sent a request; look at the context first, because select chooses at random")
							req.replyTo <- reply{}
						case <-store.stopped:
						}
					}()
					synctest.Wait() // until the goroutine is ready to receive
					if err := method.call(ctx, store); !errors.Is(err, context.Canceled) {
						t.Fatalf("it returned %v, want %v", err, context.Canceled)
					}
					close(store.stopped)
				}
			})
		})

		t.Run(name+" sends nothing if its context is canceled while it waits for the owner", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore() // without an owner that could receive
				ctx, cancel := context.WithCancel(t.Context())
				returned := make(chan error, 1)
				go func() { returned <- method.call(ctx, store) }()
				synctest.Wait()
				cancel()
				synctest.Wait()
				select {
				case err := <-returned:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("it returned %v, want %v", err, context.Canceled)
					}
				default:
					t.Fatal("it waits for a reply, although there is no owner that could have received its request")
				}
				select {
				case <-store.requests:
					t.Error("it left its request behind, where the owner receives it later")
				default:
				}
			})
		})

		t.Run(name+" returns ErrStopped after Stop", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := New(math.MaxInt64)
				store.Stop()
				do(t, store, method.fails(ErrStopped))
			})
		})
	}

	long := strings.Repeat("v", 4*slotSize)
	for name, steps := range map[string][]step{
		"ErrFull for a new key":    {put("b", long).fails(ErrFull), get("b", "")},
		"ErrFull for a new value":  {put("a", long).fails(ErrFull), get("a", "1")},
		"ErrFull for Create":       {create("b", long).fails(ErrFull), get("b", "")},
		"ErrExists":                {create("a", "2").fails(ErrExists), get("a", "1")},
		"ErrExists before ErrFull": {create("a", long).fails(ErrExists), get("a", "1")},
	} {
		t.Run(name, func(t *testing.T) {
			store := newRunning(t, 3*slotSize)
			do(t, store, put("a", "1"))
			do(t, store, steps...)
			do(t, store, get("a", "1"), remove("a", true))
		})
	}
}
