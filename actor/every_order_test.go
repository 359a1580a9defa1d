package actor

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
)

// TestEveryOrder shows what the model does not: the code of store.go itself keeps guarantees
// 2, 3, 5 and 7, in every order of the events of its callers, the owner and Stop. Callers
// 1 and 2 create the same key. The context of each is never done, or is canceled before
// its call or after it. Caller 3 gets the key, and then gets it again, as caller 4. The
// owner starts at any moment, and receives a request as soon as there is one. It holds the
// first until the event "reply", and from then on replies at once. After each event, the
// test waits until every goroutine waits or has ended, and compares what the callers and
// Stop have returned with what the guarantees say.
//
// In front of the owner is a goroutine that makes it slow. The test does not cover what
// happens between two events, before all goroutines wait: see TestProtocolModel. Nor does
// it cover a caller that never receives its reply: see TestOwnerNeverWaits.
func TestEveryOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := []event{{"start", 0}, {"reply", 0}, {"stop", 0}, {"call", 1}, {"call", 2}, {"call", 3}, {"call", 4}}
		count := 0
		for _, cancels := range [][]event{{}, {{"cancel", 1}}, {{"cancel", 2}}, {{"cancel", 1}, {"cancel", 2}}} {
			everyOrder(nil, slices.Concat(events, cancels), func(order []event) {
				checkOrder(t, order)
				count++
			})
		}
		t.Logf("%d orders", count)
	})
}

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

// isPossible reports whether next may follow begun. The owner starts before it replies,
// and caller 3 calls before caller 4. So does caller 1 before caller 2, because other
// orders differ only in the numbers of these two.
func isPossible(begun []event, next event) bool {
	before := func(e event) bool { return e.caller == next.caller-1 }
	switch {
	case next.name == "reply":
		before = func(e event) bool { return e.name == "start" }
	case next.caller != 2 && next.caller != 4:
		return true
	}
	return slices.ContainsFunc(begun, before)
}

// A caller calls Create, with its number as the value, or Get.
type caller struct {
	ctx    context.Context
	cancel context.CancelFunc
	called bool
	got    any // an error, or the value of a Get
	want   any
}

var errWaiting = errors.New("no result yet")

// checkOrder makes events happen in order, and checks the guarantees after each.
func checkOrder(t *testing.T, order []event) {
	store := newStore()
	owner := slowOwner{hold: make(chan struct{})}
	stopReturned := false
	var all [5]caller
	for i := range all {
		all[i] = caller{ctx: context.Background(), got: errWaiting, want: errWaiting}
		if slices.Contains(order, event{"cancel", i}) {
			all[i].ctx, all[i].cancel = context.WithCancel(context.Background())
		}
	}
	thirdReturned := make(chan struct{})

	for n, event := range order {
		switch c := &all[event.caller]; event.name {
		case "call":
			c.called = true
			switch event.caller {
			case 1, 2:
				go func() { c.got = store.Create(c.ctx, "key", []byte{byte(event.caller)}) }()
			case 3:
				go func() { c.got = getKey(store); close(thirdReturned) }()
			case 4:
				go func() { <-thirdReturned; c.got = getKey(store) }()
			}
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

		for i := 1; i < len(all); i++ {
			c := &all[i]
			if c.want == errWaiting && (i < 4 || all[3].want != errWaiting) {
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
}

// getKey returns the value of the key as a number, 0 if there is none, or an error.
func getKey(store *Store) any {
	value, found, err := store.Get(context.Background(), "key")
	switch {
	case err != nil:
		return err
	case !found:
		return byte(0)
	}
	return value[0]
}

// A slowOwner is the owner of the store, and a goroutine in front of it that passes on
// each request after a pause.
type slowOwner struct {
	hold     chan struct{} // closed by the event reply
	replied  bool          // hold is closed
	received []byte        // callers, in the order in which their requests were received
	ended    bool          // run has returned
}

func (o *slowOwner) run(store *Store) {
	owner := &Store{requests: make(chan request), stopped: store.stopped}
	go func() { owner.run(math.MaxInt64); o.ended = true }()
	for {
		req := <-store.requests
		switch {
		case req.op == opCreate:
			o.received = append(o.received, req.value[0])
		case req.op == opGet && !slices.Contains(o.received, 3):
			o.received = append(o.received, 3)
		case req.op == opGet:
			o.received = append(o.received, 4)
		}
		<-o.hold
		owner.requests <- req
		if req.op == opStop {
			return
		}
	}
}

// result returns what the call of c, which has number i, must have returned by now.
func (o *slowOwner) result(c *caller, i byte) any {
	turn := slices.Index(o.received, i)
	switch {
	case !c.called:
		return errWaiting
	case turn >= 0 && !o.replied:
		return errWaiting // received means done, even if the context is canceled
	case turn >= 0: // linearizable: the first that creates the key succeeds, and then all get its value
		created := slices.IndexFunc(o.received[:turn], func(i byte) bool { return i <= 2 })
		switch {
		case i <= 2 && created < 0:
			return nil
		case i <= 2:
			return ErrExists
		case created < 0:
			return byte(0)
		}
		return o.received[created]
	case c.ctx.Err() != nil:
		return context.Canceled // the request was not sent, and never takes effect
	case o.ended:
		return ErrStopped // it ends
	}
	return errWaiting
}
