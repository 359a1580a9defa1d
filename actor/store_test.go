package actor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"testing/synctest"
)

// newRunning returns a store whose owner runs until the test ends.
func newRunning(t testing.TB, budget int64) *Store {
	t.Helper()
	store := New(budget)
	t.Cleanup(store.Stop)
	return store
}

// begin calls f in a goroutine of its own, and waits until f has returned or waits for
// something. The channel that it returns has the result of f as soon as there is one.
func begin[T any](f func() T) <-chan T {
	result := make(chan T, 1)
	go func() { result <- f() }()
	synctest.Wait()
	return result
}

// A step is a call of a method and the error that it should return.
type step struct {
	call func(context.Context, *Store) error
	want error
}

func (s step) fails(want error) step { return step{s.call, want} }

// do runs steps one after another.
func do(t *testing.T, store *Store, steps ...step) {
	t.Helper()
	for i, step := range steps {
		if err := step.call(t.Context(), store); !errors.Is(err, step.want) {
			t.Fatalf("step %d returned %v, want %v", i+1, err, step.want)
		}
	}
}

// get checks that the store has key, with value.
func get(key, value string) step { return lookUp(key, value, true) }

// missing checks that the store does not have key.
func missing(key string) step { return lookUp(key, "", false) }

func lookUp(key, value string, found bool) step {
	return step{call: func(ctx context.Context, s *Store) error {
		gotValue, gotFound, err := s.Get(ctx, key)
		if err == nil && (string(gotValue) != value || gotFound != found) {
			err = fmt.Errorf("Get(%q) = %.20q, %t; want %.20q", key, gotValue, gotFound, value)
		}
		return err
	}}
}

func put(key, value string) step {
	return step{call: func(ctx context.Context, s *Store) error { return s.Put(ctx, key, []byte(value)) }}
}

func create(key, value string) step {
	return step{call: func(ctx context.Context, s *Store) error { return s.Create(ctx, key, []byte(value)) }}
}

// remove deletes key, and checks whether the store had it.
func remove(key string, want bool) step {
	return step{call: func(ctx context.Context, s *Store) error {
		found, err := s.Delete(ctx, key)
		if err == nil && found != want {
			err = fmt.Errorf("Delete(%q) = %t, want %t", key, found, want)
		}
		return err
	}}
}

func clearAll() step {
	return step{call: func(ctx context.Context, s *Store) error { return s.Clear(ctx) }}
}

// TestMethods shows what the methods do, one call after another.
func TestMethods(t *testing.T) {
	putNil := step{call: func(ctx context.Context, s *Store) error { return s.Put(ctx, "a", nil) }}
	for name, steps := range map[string][]step{
		"a new store is empty":         {missing("a"), remove("a", false), clearAll()},
		"Put stores and replaces":      {put("a", "1"), put("b", "2"), put("a", "3"), get("a", "3"), get("b", "2")},
		"Create stores a missing key":  {create("a", "1"), get("a", "1"), remove("a", true), create("a", "2"), get("a", "2")},
		"Delete removes one key, once": {put("a", "1"), put("b", "2"), get("a", "1"), remove("a", true), missing("a"), get("b", "2"), remove("a", false)},
		"Clear removes every key":      {put("a", "1"), put("b", "2"), get("a", "1"), clearAll(), missing("a"), missing("b"), put("a", "3"), get("a", "3")},
		"a key may be empty":           {put("", "1"), get("", "1"), missing("a"), remove("", true), missing("")},
		"a value may be empty":         {put("a", ""), get("a", ""), putNil, get("a", ""), create("a", "1").fails(ErrExists), remove("a", true)},
	} {
		t.Run(name, func(t *testing.T) { do(t, newRunning(t, math.MaxInt64), steps...) })
	}
}

// TestMethodsAsk shows that each method is one request, and returns what the owner
// replied. So a rule of the protocol that holds for one of them holds for all, and the
// other tests show it on one or two.
func TestMethodsAsk(t *testing.T) {
	value, replied := []byte("sent"), reply{value: []byte("replied"), found: true, err: errors.New("replied")}
	for name, test := range map[string]struct {
		call func(context.Context, *Store) (results reply)
		sent request
		want reply // the results of the call
	}{
		"Get":    {func(ctx context.Context, s *Store) (r reply) { r.value, r.found, r.err = s.Get(ctx, "key"); return }, request{op: opGet, key: "key"}, replied},
		"Put":    {func(ctx context.Context, s *Store) (r reply) { r.err = s.Put(ctx, "key", value); return }, request{op: opPut, key: "key", value: value}, reply{err: replied.err}},
		"Create": {func(ctx context.Context, s *Store) (r reply) { r.err = s.Create(ctx, "key", value); return }, request{op: opCreate, key: "key", value: value}, reply{err: replied.err}},
		"Delete": {func(ctx context.Context, s *Store) (r reply) { r.found, r.err = s.Delete(ctx, "key"); return }, request{op: opDelete, key: "key"}, reply{found: true, err: replied.err}},
		"Clear":  {func(ctx context.Context, s *Store) (r reply) { r.err = s.Clear(ctx); return }, request{op: opClear}, reply{err: replied.err}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the test plays the owner
				store := newStore()
				ctx, cancel := context.WithCancel(t.Context())
				call := begin(func() reply { return test.call(ctx, store) })
				sent := <-store.requests
				sent.replyTo <- replied
				synctest.Wait()
				if sent.replyTo = nil; !reflect.DeepEqual(sent, test.sent) || len(call) != 1 {
					t.Fatalf("it sent %+v, and returned: %t; want %+v, and nothing else", sent, len(call) == 1, test.sent)
				}
				if got := <-call; !reflect.DeepEqual(got, test.want) {
					t.Errorf("it returned %+v, want %+v", got, test.want)
				}

				cancel()
				call = begin(func() reply { return test.call(ctx, store) })
				if len(call) == 0 || (<-call).err != context.Canceled {
					t.Error("it does not use the context of its caller")
				}
			})
		})
	}
}
