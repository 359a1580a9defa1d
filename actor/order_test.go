package actor

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// TestEveryOrder shows what the model does not: the code of store.go itself keeps guarantees
// 2, 3, 5 and 7, in every order of the events of its callers, the owner and Stop. Callers
// 1 and 2 create the same key, and caller 3 gets it. The context of none, one or both of the
// first two is canceled, before the call or after it. The owner starts at any moment, and
// receives a request as soon as there is one. It replies only after the event "reply". After
// each event, the test waits until every goroutine waits or has ended, and compares what the
// callers and Stop have returned with what the guarantees say.
//
// In front of the owner is a goroutine that makes it slow. The test does not cover what
// happens between two events, before all goroutines wait: see TestProtocolModel. Nor does
// it cover a caller that never receives its reply: see TestOwnerNeverWaits.
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
	owner := slowOwner{hold: make(chan struct{})}
	stopReturned := false
	var all [4]caller // 1 to 3
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
			go func() {
				if event.caller <= 2 {
					c.got = store.Create(c.ctx, "key", strconv.AppendInt(nil, int64(event.caller), 10))
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

		for i := 1; i < len(all); i++ {
			c := &all[i]
			if c.want == errWaiting {
				c.want = owner.result(c, strconv.Itoa(i))
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

// A slowOwner is the owner of the store, and a goroutine in front of it that passes on
// each request after a pause.
type slowOwner struct {
	hold     chan struct{} // closed by the event reply
	replied  bool          // hold is closed
	received string        // the numbers of callers, in the order in which it received their requests
	ended    bool          // run has returned
}

func (o *slowOwner) run(store *Store) {
	owner := &Store{requests: make(chan request), stopped: store.stopped}
	go func() { owner.run(math.MaxInt64); o.ended = true }()
	for {
		req := <-store.requests
		switch req.op {
		case opCreate:
			o.received += string(req.value)
		case opGet:
			o.received += "3"
		}
		<-o.hold
		owner.requests <- req
		if req.op == opStop {
			return
		}
	}
}

// result returns what the call of c, which has number i, must have returned by now.
func (o *slowOwner) result(c *caller, i string) any {
	before, _, received := strings.Cut(o.received, i)
	created := strings.IndexAny(before, "12") // linearizable: the first Create that is received succeeds
	switch {
	case !c.called, received && !o.replied:
		return errWaiting // received means done, even if the context is canceled
	case received && i <= "2" && created < 0:
		return nil
	case received && i <= "2":
		return ErrExists
	case received && created < 0:
		return ""
	case received:
		return before[created : created+1]
	case c.ctx.Err() != nil:
		return context.Canceled // an error means no effect: no caller ever gets this value
	case o.ended:
		return ErrStopped // it ends
	}
	return errWaiting
}
