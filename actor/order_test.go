package actor

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
)

// TestEveryOrder shows what the model does not: the code of store.go itself keeps guarantees
// 2, 3, 5 and 7, in every order of the events of its callers, the owner and Stop. Callers
// 1 and 2 create the same key, and caller 3 gets it. The context of none, one or both of the
// first two is canceled, before the call or after it. The owner starts at any moment, and
// holds the first request that it receives until the event "reply". After each event, the
// test waits until every goroutine waits or has ended, and compares what the callers and Stop
// have returned with what the guarantees say.
//
// The test does not cover what happens between two events, before all goroutines wait: see
// TestProtocolModel. Nor does it cover a caller that never receives its reply: see
// TestOwnerNeverWaits.
func TestEveryOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := []event{{"start", 0}, {"reply", 0}, {"stop", 0}, {"call", 1}, {"call", 2}, {"call", 3}}
		for _, cancels := range [][]event{{}, {{"cancel", 1}}, {{"cancel", 1}, {"cancel", 2}}} {
			everyOrder(nil, slices.Concat(events, cancels), func(order []event) { checkOrder(t, order) })
		}
	})
}

// An event is something that happens to the store. Callers have the numbers from 1.
type event struct {
	name   string
	caller int // for call and cancel
}

// everyOrder calls visit with begun followed by rest, in each order.
func everyOrder(begun, rest []event, visit func(order []event)) {
	if len(rest) == 0 {
		visit(begun)
	}
	for i, next := range rest {
		everyOrder(append(begun, next), slices.Concat(rest[:i], rest[i+1:]), visit)
	}
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
	owner := slowOwner{hold: make(chan struct{}), results: make(map[string]any)}
	stopReturned := false
	var all [4]caller // 1 to 3; 0 does nothing
	for i := range all {
		ctx, cancel := context.WithCancel(context.Background())
		all[i] = caller{ctx: ctx, cancel: cancel, got: errWaiting, want: errWaiting}
	}

	for n, event := range order {
		switch c := &all[event.caller]; event.name {
		case "call":
			c.called = true
			go func() {
				if event.caller < 3 {
					c.got = store.Create(c.ctx, "key", []byte(strconv.Itoa(event.caller)))
					return
				}
				value, _, err := store.Get(c.ctx, "key")
				if c.got = string(value); err != nil {
					c.got = err
				}
			}()
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

		for i := range all {
			c := &all[i]
			result, received := owner.results[strconv.Itoa(i)]
			switch {
			case received && owner.replied:
				c.want = result // received means done, even if the context is canceled
			case received:
				c.want = errWaiting
			case !c.called, c.want != errWaiting:
				// It has not begun, or has returned an error. An error means no effect: if the
				// owner received the request later, the cases above would want something else.
			case c.ctx.Err() != nil:
				c.want = context.Canceled
			case owner.ended:
				c.want = ErrStopped // it ends
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

// A slowOwner is the owner of the store, and a goroutine in front of it that holds requests.
type slowOwner struct {
	hold    chan struct{}  // closed by the event reply
	replied bool           // hold is closed
	value   string         // of the key, when all requests that were received have taken effect
	results map[string]any // of the callers whose requests were received, by their numbers
	ended   bool           // run has returned
}

func (o *slowOwner) run(store *Store) {
	owner := &Store{requests: make(chan request), stopped: store.stopped}
	go func() { owner.run(math.MaxInt64); o.ended = true }()
	for {
		req := <-store.requests
		switch caller := string(req.value); { // linearizable: a request takes effect when it is received
		case req.op == opGet:
			o.results["3"] = o.value
		case req.op == opCreate && o.value == "":
			o.value, o.results[caller] = caller, nil
		case req.op == opCreate:
			o.results[caller] = ErrExists
		}
		<-o.hold
		owner.requests <- req
		if req.op == opStop {
			return
		}
	}
}
