package actor_test

import (
	"context"
	"math"
	"runtime"
	"strconv"
	"testing"

	"kvactor/actor"
	"kvactor/actor/actortest"
)

// Each wrong store is rejected within rejectWithin histories. The right one is
// checked with ten times as many.
const rejectWithin = 100

// newStore returns a function that returns new running stores.
func newStore(t *testing.T) func() actortest.Store {
	return func() actortest.Store {
		store := actor.New(math.MaxInt64)
		go store.Run()
		t.Cleanup(store.Stop)
		return store
	}
}

// Guarantee 5: whatever many callers do concurrently, and see of it, could have been
// done one operation at a time, each at a moment between its call and its return.
func TestLinearizable(t *testing.T) {
	actortest.CheckLinearizable(t, 10*rejectWithin, true, newStore(t))
}

// The control for TestLinearizable: the same check rejects stores that are wrong in
// a small way.
func TestLinearizableRejectsWrongStores(t *testing.T) {
	for name, wrong := range map[string]func(right actortest.Store) actortest.Store{
		"a stale read":                 func(right actortest.Store) actortest.Store { return newStaleReads(right) },
		"a lost update":                func(right actortest.Store) actortest.Store { return &lostUpdates{right, newCounter()} },
		"an update after its return":   func(right actortest.Store) actortest.Store { return lateUpdates{right} },
		"a clear in pieces":            func(right actortest.Store) actortest.Store { return clearInPieces{right} },
		"an error that has its effect": func(right actortest.Store) actortest.Store { return falseErrors{right} },
	} {
		t.Run(name, func(t *testing.T) {
			newRight := newStore(t)
			newWrong := func() actortest.Store { return wrong(newRight()) }
			n := actortest.Rejects(t, rejectWithin, true, newWrong)
			if n > rejectWithin {
				t.Errorf("all of %d histories are linearizable", rejectWithin)
			}
			t.Logf("history %d is not linearizable", n)
		})
	}
}

// A counter counts for many goroutines.
type counter chan int

func newCounter() counter {
	c := make(counter, 1)
	c <- 0
	return c
}

// every reports whether this is the nth call, the 2nth, and so on.
func (c counter) every(n int) bool {
	count := <-c + 1
	c <- count
	return count%n == 0
}

// staleReads returns the value of an earlier Get in every tenth Get.
type staleReads struct {
	actortest.Store
	gets    counter
	earlier map[string]chan []byte
}

func newStaleReads(right actortest.Store) staleReads {
	s := staleReads{right, newCounter(), make(map[string]chan []byte)}
	for key := range actortest.Keys {
		s.earlier[strconv.Itoa(key)] = make(chan []byte, 1)
		s.earlier[strconv.Itoa(key)] <- nil
	}
	return s
}

func (s staleReads) Get(ctx context.Context, key string) ([]byte, bool, error) {
	value, found, err := s.Store.Get(ctx, key)
	if err != nil {
		return nil, false, err
	}
	earlier := <-s.earlier[key]
	s.earlier[key] <- value
	if s.gets.every(10) {
		return earlier, earlier != nil, nil
	}
	return value, found, nil
}

// lostUpdates forgets every tenth Put.
type lostUpdates struct {
	actortest.Store
	puts counter
}

func (s *lostUpdates) Put(ctx context.Context, key string, value []byte, reserved int64) error {
	if s.puts.every(10) {
		return nil
	}
	return s.Store.Put(ctx, key, value, reserved)
}

// lateUpdates returns from Put before the value is stored.
type lateUpdates struct{ actortest.Store }

func (s lateUpdates) Put(_ context.Context, key string, value []byte, reserved int64) error {
	go s.Store.Put(context.Background(), key, value, reserved)
	return nil
}

// clearInPieces clears one key after another.
type clearInPieces struct{ actortest.Store }

func (s clearInPieces) Clear(context.Context) error {
	for key := range actortest.Keys {
		if err := s.Delete(context.Background(), strconv.Itoa(key)); err != nil {
			return err
		}
		runtime.Gosched()
	}
	return nil
}

// falseErrors returns an error if the context is canceled after the value is stored.
type falseErrors struct{ actortest.Store }

func (s falseErrors) Put(ctx context.Context, key string, value []byte, reserved int64) error {
	if err := s.Store.Put(context.Background(), key, value, reserved); err != nil {
		return err
	}
	return ctx.Err()
}
