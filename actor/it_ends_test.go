package actor

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
)

// Guarantee 7. synctest waits until every goroutine of the bubble has ended, and
// fails the test if some of them wait forever.
func TestItEnds(t *testing.T) {
	for _, callers := range []int{0, 1, 100} {
		t.Run(fmt.Sprintf("with %d callers that call while Stop runs", callers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := New(math.MaxInt64)
				errs := make(chan error, 10*callers)
				for i := range callers {
					go func() {
						for j := range 10 {
							errs <- store.Put(t.Context(), fmt.Sprint(i, j), []byte("value"))
						}
					}()
				}
				store.Stop()
				for range cap(errs) {
					if err := <-errs; err != nil && !errors.Is(err, ErrStopped) {
						t.Errorf("Put returned %v, want nil or %v", err, ErrStopped)
					}
				}
			})
		})
	}

	t.Run("with callers that wait when the owner ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := newStore()
			errs := make(chan error, len(methods))
			for _, method := range methods {
				go func() { errs <- method.call(t.Context(), store) }()
			}
			synctest.Wait()
			close(store.stopped) // the test plays an owner that received a request from Stop
			for range cap(errs) {
				if err := <-errs; !errors.Is(err, ErrStopped) {
					t.Errorf("a call returned %v, want %v", err, ErrStopped)
				}
			}
		})
	})
}
