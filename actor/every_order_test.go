package actor

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
)

// TestEveryOrder checks guarantees 2, 3, 5 and 7 in every order of the events of
// three callers, the owner and Stop. The callers create the same key. The context of
// each is never done, or is canceled before its call or after it. The owner starts
// at any moment, and receives a request as soon as there is one. It holds the first
// until the event "reply", and from then on replies at once. After each event, the
// test waits until every goroutine waits or has ended, and compares what the callers
// and Stop have returned with what the guarantees say.
//
// The code is that of store.go, with a goroutine between the callers and run that
// makes the owner slow. The test does not cover what happens between two events,
// before all goroutines wait: the order of their steps, and what select chooses
// when several cases are ready. protocol.pml does, in a model. Nor does it cover
// a caller that never receives its reply: see TestOwnerNeverWaits.
func TestEveryOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := 0
		for canceled := range 1 << callers { // a bit for each caller
			events := []event{{"start", 0}, {"reply", 0}, {"stop", 0}}
			for i := range callers {
				events = append(events, event{"call", i + 1})
				if canceled>>i&1 == 1 {
					events = append(events, event{"cancel", i + 1})
				}
			}
			everyOrder(nil, events, func(order []event) {
				checkOrder(t, order)
				count++
			})
		}
		t.Logf("%d orders", count)
	})
}

const callers = 3

// An event is something that happens to the store. Callers have the numbers from 1.
type event struct {
	name   string
	caller int // for call and cancel
}

// everyOrder calls visit with begun followed by rest, in each order that is possible.
func everyOrder(begun, rest []event, visit func(order []event)) {
	if len(rest) == 0 {
		visit(begun)
	}
	for i, next := range rest {
		if isPossible(begun, next) {
			everyOrder(append(begun, next), slices.Concat(rest[:i], rest[i+1:]), visit)
		}
	}
}

// isPossible reports whether next may follow begun. The owner starts before it
// replies. The callers have their numbers in the order of their first events. Other
// orders differ from these only in the callers' numbers.
func isPossible(begun []event, next event) bool {
	return slices.ContainsFunc(begun, func(e event) bool {
		return next.name == "reply" && e.name == "start" || e.caller == next.caller-1
	}) || next.name != "reply" && next.caller <= 1
}

// A caller calls Create with its number as the value.
type caller struct {
	ctx    context.Context
	cancel context.CancelFunc
	called bool
	got    error // what Create returned
	want   error // what it should have returned
}

var errWaiting = errors.New("no result yet")

// checkOrder makes events happen in order, and checks the guarantees after each.
func checkOrder(t *testing.T, order []event) {
	store := newStore()
	owner := slowOwner{hold: make(chan struct{})}
	stopReturned := false
	var all [1 + callers]caller
	for i := range all {
		all[i] = caller{ctx: context.Background(), got: errWaiting, want: errWaiting}
		if slices.Contains(order, event{"cancel", i}) {
			all[i].ctx, all[i].cancel = context.WithCancel(context.Background())
		}
	}

	for n, event := range order {
		switch c := &all[event.caller]; event.name {
		case "call":
			c.called = true
			go func() { c.got = store.Create(c.ctx, "key", []byte{byte(event.caller)}) }()
		case "cancel":
			c.cancel()
		case "start":
			go owner.run(store)
		case "reply":
			owner.replied = true
			close(owner.hold)
		case "stop":
			go func() { store.Stop(); stopReturned = true }()
		}
		synctest.Wait()

		for i := 1; i <= callers; i++ {
			c := &all[i]
			if c.want == errWaiting {
				c.want = owner.result(c, byte(i))
			}
			if c.got != c.want {
				t.Fatalf("after the events %v, caller %d has: %v; want: %v", order[:n+1], i, c.got, c.want)
			}
		}
		if stopReturned != owner.ended {
			t.Fatalf("after the events %v, Stop has returned: %t; the owner has ended: %t", order[:n+1], stopReturned, owner.ended)
		}
	}

	if !owner.ended {
		t.Fatalf("after the events %v, the owner has not ended", order)
	}
	if len(owner.received) > 0 && string(owner.value) != string(owner.received[:1]) {
		t.Fatalf("after the events %v, the value is that of caller %v; want %v", order, owner.value, owner.received[0])
	}
	store.Stop() // a second Stop returns, too
}

// A slowOwner is the owner of the store, and a goroutine in front of it that passes on
// each request after a pause.
type slowOwner struct {
	hold     chan struct{} // closed by the event reply
	replied  bool          // hold is closed
	received []byte        // callers, in the order in which their requests were received
	value    []byte        // of the key, before Stop
	ended    bool          // run has returned
}

func (o *slowOwner) run(store *Store) {
	owner := &Store{requests: make(chan request), stopped: store.stopped}
	go func() { owner.run(math.MaxInt64); o.ended = true }()
	for {
		req := <-store.requests
		if req.op == opCreate {
			o.received = append(o.received, req.value...)
		}
		<-o.hold
		if req.op == opStop {
			o.value, _, _ = owner.Get(context.Background(), "key")
		}
		owner.requests <- req
		if req.op == opStop {
			return
		}
	}
}

// result returns what the call of c, which has number i, must have returned by now.
func (o *slowOwner) result(c *caller, i byte) error {
	turn := slices.Index(o.received, i)
	switch {
	case !c.called:
		return errWaiting
	case turn >= 0 && !o.replied:
		return errWaiting // received means done, even if the context is canceled
	case turn == 0:
		return nil
	case turn > 0:
		return ErrExists // linearizable: the first created the key
	case c.ctx.Err() != nil:
		return context.Canceled // the request was not sent, and never takes effect
	case o.ended:
		return ErrStopped // it ends
	}
	return errWaiting
}
