package actor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
)

// newRunning returns a store whose owner runs until the test ends.
func newRunning(t testing.TB, budget int64) *Store {
	t.Helper()
	store := New(budget)
	t.Cleanup(store.Stop)
	return store
}

// A step is a call of a method and the error that it should return.
type step struct {
	call func(context.Context, *Store) error
	want error
}

// get checks that key has value, or no value if value is empty.
func get(key, value string) step {
	return step{call: func(ctx context.Context, s *Store) error {
		got, found, err := s.Get(ctx, key)
		if err == nil && (string(got) != value || found != (value != "")) {
			err = fmt.Errorf("Get(%q) = %.20q, %t; want %.20q", key, got, found, value)
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

// methods has a call of each method that sends a request, for tests of what all of
// them have in common.
var methods = map[string]step{
	"Get":    get("key", "value"),
	"Put":    put("key", "value"),
	"Create": create("key", "value"),
	"Delete": remove("key", true),
	"Clear":  clearAll(),
}

func TestMethods(t *testing.T) {
	for name, steps := range map[string][]step{
		"a new store is empty":                {get("a", ""), remove("a", false), clearAll()},
		"Get returns what Put stored":         {put("a", "1"), get("a", "1")},
		"Put replaces a value":                {put("a", "1"), put("a", "2"), get("a", "2")},
		"keys do not touch each other":        {put("a", "1"), put("b", "2"), get("a", "1"), get("b", "2")},
		"Create stores a key that is missing": {create("a", "1"), get("a", "1")},
		"Create after a delete":               {put("a", "1"), remove("a", true), create("a", "2"), get("a", "2")},
		"Delete removes one key":              {put("a", "1"), put("b", "2"), remove("a", true), get("a", ""), get("b", "2")},
		"the second Delete finds nothing":     {put("a", "1"), put("b", "2"), remove("a", true), remove("a", false)},
		"Clear removes every key":             {put("a", "1"), put("b", "2"), clearAll(), get("a", ""), get("b", "")},
		"the store goes on after a Clear":     {put("a", "1"), clearAll(), put("a", "2"), get("a", "2")},
		"a key may be empty":                  {put("", "1"), get("", "1"), remove("", true), get("", "")},
	} {
		t.Run(name, func(t *testing.T) { do(t, newRunning(t, math.MaxInt64), steps...) })
	}

	t.Run("a key with an empty value exists", func(t *testing.T) {
		store := newRunning(t, math.MaxInt64)
		do(t, store, put("a", ""), create("a", "1").fails(ErrExists))
		if value, found, err := store.Get(t.Context(), "a"); len(value) != 0 || !found || err != nil {
			t.Errorf("Get = %q, %t, %v; want an empty value that is found", value, found, err)
		}
	})
}
