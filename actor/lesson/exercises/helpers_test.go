//go:build len || swap || cas || expiry || watch

package exercises

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// check runs f with a new store in a bubble: time is fake there and passes only
// while all goroutines wait, and a goroutine that waits forever fails the test.
func check(t *testing.T, f func(t *testing.T, store *Store)) {
	synctest.Test(t, func(t *testing.T) {
		store := New()
		defer store.Stop()
		f(t, store)
	})
}

func mustPut(t *testing.T, store *Store, key, value string) {
	t.Helper()
	if err := store.Put(t.Context(), key, value); err != nil {
		t.Fatalf("Put(%q, %q) returned %v", key, value, err)
	}
}

func wantValue(t *testing.T, store *Store, key, want string) {
	t.Helper()
	if value, err := store.Get(t.Context(), key); value != want || err != nil {
		t.Errorf("Get(%q) = %q, %v, want %q", key, value, err, want)
	}
}

// wantErrors checks that call asks the owner: a call that no owner receives returns
// the error of its context, and a call after Stop returns ErrStopped.
func wantErrors(t *testing.T, store *Store, call func(context.Context, *Store) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	ownerless := *store
	ownerless.requests = make(chan request)
	if err := call(ctx, &ownerless); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without an owner the call returned %v, want %v", err, context.DeadlineExceeded)
	}
	store.Stop()
	if err := call(t.Context(), store); !errors.Is(err, ErrStopped) {
		t.Errorf("after Stop the call returned %v, want %v", err, ErrStopped)
	}
}

// interrupted returns a view of store for one caller. Another caller comes after
// the first request of that view, and before the second if there is one.
func interrupted(store *Store, other func()) *Store {
	view := *store
	view.requests = make(chan request)
	go func() {
		for first := true; ; first = false {
			select {
			case req := <-view.requests:
				store.requests <- req
				if first {
					other()
				}
			case <-store.stopped:
				return
			}
		}
	}()
	return &view
}
