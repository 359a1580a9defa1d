//go:build len || swap || cas || expiry || watch || wait

package exercises

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// check runs f with a new store in a bubble: time is fake there and passes only while all
// goroutines wait, and a goroutine that waits forever fails the test.
func check(t *testing.T, f func(t *testing.T, store *Store)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		store := New()
		defer store.Stop()
		f(t, store)
	})
}

// bubble runs f in a bubble, and makes a hang a failure with a sentence.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	hangs := time.AfterFunc(10*time.Second, func() { // outside of the bubble, in real time
		debug.SetTraceback("all")
		panic("the test hangs: a goroutine runs on and on, or waits for a mutex, which a bubble does not notice")
	})
	defer hangs.Stop()
	defer func() {
		if deadlock := recover(); deadlock != nil {
			t.Errorf("%v: a goroutine waits forever\n%s", deadlock, stackInStore())
		}
	}()
	synctest.Test(t, f)
}

// stackInStore returns the stack of a goroutine that waits in a method of the store.
func stackInStore() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "synctest bubble") && strings.Contains(stack, "(*Store)") {
			return stack
		}
	}
	return ""
}

// receive receives from c. It does not wait longer than a minute, of fake time.
func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("%s has not come after a minute", what)
		panic("not reached")
	}
}

// receiveRequest plays the owner.
func receiveRequest(t *testing.T, view *Store) request {
	t.Helper()
	req := receive(t, view.requests, "the request")
	if cap(req.replyTo) == 0 {
		t.Fatal("replyTo has no capacity: the owner would wait until this caller receives")
	}
	return req
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

// withoutOwner returns a view of store whose requests the test receives.
func withoutOwner(store *Store) *Store {
	view := *store
	view.requests = make(chan request)
	return &view
}

// wantErrors checks that call asks the owner: a call that no owner receives returns
// the error of its context, and a call after Stop returns ErrStopped.
func wantErrors(t *testing.T, store *Store, call func(context.Context, *Store) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := call(ctx, withoutOwner(store)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without an owner the call returned %v, want %v", err, context.DeadlineExceeded)
	}
	store.Stop()
	if err := call(t.Context(), store); !errors.Is(err, ErrStopped) {
		t.Errorf("after Stop the call returned %v, want %v", err, ErrStopped)
	}
}

// wantWaits checks that call waits for its reply once the owner has received its request,
// although its context is canceled. The test plays the owner.
func wantWaits(t *testing.T, store *Store, call func(context.Context, *Store) error) {
	t.Helper()
	view := withoutOwner(store)
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan error, 1)
	go func() { returned <- call(ctx, view) }()
	req := receiveRequest(t, view)
	cancel()
	synctest.Wait()
	select {
	case err := <-returned:
		t.Fatalf("the call returned %v before the reply, so its caller can't know what the owner did", err)
	default:
	}
	req.replyTo <- reply{}
	if err := receive(t, returned, "the return of the call, after the reply"); err != nil {
		t.Errorf("the owner has replied, and the call returned %v", err)
	}
}

// interrupted returns a view of store for one caller. Another caller comes after
// the first request of that view, and before the second if there is one.
func interrupted(store *Store, other func()) *Store {
	view := withoutOwner(store)
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
	return view
}
