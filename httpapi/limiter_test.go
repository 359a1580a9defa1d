package httpapi

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A limiterTest is a limiter of 8 units and the callers that a test makes wait for some.
type limiterTest struct {
	*limiter
	t       *testing.T
	end     context.CancelFunc // ends the owner
	waiting []*waiter          // in the order in which they came
}

// A waiter is a goroutine that calls acquire.
type waiter struct {
	leave    context.CancelFunc
	refused  bool // it should get no units, and wait no longer
	returned bool
	claim    *claim // that acquire returned
}

// testLimiter runs test in a bubble. At its end, all units must be free again.
func testLimiter(t *testing.T, name string, test func(l *limiterTest)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			l := &limiterTest{newLimiter(ctx, 8), t, end, nil}
			test(l)
			for _, w := range l.waiting {
				w.leave()
				if synctest.Wait(); w.claim != nil {
					w.claim.release()
				}
			}
			synctest.Wait()
			if ctx.Err() == nil {
				l.try(8)
			}
		})
	})
}

// try takes n units, which must be free.
func (l *limiterTest) try(n int64) *claim {
	l.t.Helper()
	c := l.tryAcquire(n)
	if c == nil {
		l.t.Fatalf("%d units are not free", n)
	}
	return c
}

// wait makes a goroutine acquire n units.
func (l *limiterTest) wait(n int64) *waiter {
	ctx, leave := context.WithCancel(l.t.Context())
	w := &waiter{leave: leave}
	l.waiting = append(l.waiting, w)
	go func() {
		w.claim = l.acquire(ctx, n)
		w.returned = true
	}()
	synctest.Wait()
	return w
}

// want checks which of those that wait have been granted their units, and that the rest
// still waits, but for those that are refused.
func (l *limiterTest) want(granted ...*waiter) {
	l.t.Helper()
	synctest.Wait()
	for i, w := range l.waiting {
		want := slices.Contains(granted, w)
		if (w.claim != nil) != want || w.returned != (want || w.refused) {
			l.t.Errorf("waiter %d: returned %v, granted %v; want %v", i+1, w.returned, w.claim != nil, want)
		}
	}
}

func TestLimiter(t *testing.T) {
	testLimiter(t, "all units or none", func(l *limiterTest) {
		five := l.try(5)
		if l.tryAcquire(4) != nil || l.tryAcquire(1<<62) != nil {
			l.t.Error("units are granted that are not free")
		}
		three := l.try(3)
		five.release()
		l.try(5).release()
		three.release()
	})

	testLimiter(t, "in the order of arrival", func(l *limiterTest) {
		held := []*claim{l.try(5), l.try(1), l.try(2)}
		six, one, another := l.wait(6), l.wait(1), l.wait(1)
		held[0].release()
		l.want() // one unit would do for the second, but the first needs six
		held[1].release()
		l.want(six)
		held[2].release()
		l.want(six, one, another)
	})

	testLimiter(t, "one that leaves makes way for those behind", func(l *limiterTest) {
		held := l.try(7)
		six, one, last := l.wait(6), l.wait(1), l.wait(1)
		last.leave()
		six.leave()
		last.refused, six.refused = true, true
		l.want(one)
		held.release()
	})

	testLimiter(t, "one that leaves gives nothing back", func(l *limiterTest) {
		held := l.try(8)
		l.wait(8)
		l.wait(6).leave()
		synctest.Wait()
		if l.tryAcquire(1) != nil {
			l.t.Error("a unit is free that nobody has given back")
		}
		held.release()
	})

	testLimiter(t, "more than there is: refused at once, and nobody waits behind it", func(l *limiterTest) {
		l.wait(9).refused = true
		l.want(l.wait(1))
	})

	testLimiter(t, "a try passes the line", func(l *limiterTest) {
		held := l.try(5)
		five := l.wait(5)
		tried := l.try(3)
		if l.tryAcquire(1) != nil {
			l.t.Error("a try succeeds although no unit is free")
		}
		held.release()
		l.want(five)
		tried.release()
	})

	testLimiter(t, "the end answers all", func(l *limiterTest) {
		held := l.try(8)
		l.wait(1)
		l.wait(8)
		l.wait(2)
		l.end()
		synctest.Wait()
		l.wait(1) // comes after the end
		for _, w := range l.waiting {
			w.refused = true
		}
		l.want()
		if l.tryAcquire(1) != nil {
			l.t.Error("a try succeeds after the end")
		}
		held.release() // does not wait
	})
}

// A caller leaves before the owner receives its claim, or at the moment at which the owner
// grants it. Then the owner gets the claim back, so no unit is lost. The test plays the owner,
// and in the last part the caller.
func TestLeaveWhileGranted(t *testing.T) {
	newPlayed := func() *limiter {
		return &limiter{size: 8, claims: make(chan *claim), back: make(chan *claim), ended: make(chan struct{})}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		if newPlayed().acquire(ctx, 8) != nil { // nobody receives the claim
			t.Error("the claim is granted")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l := newPlayed()
		ctx, leave := context.WithCancel(t.Context())
		returned := make(chan *claim, 1)
		go func() { returned <- l.acquire(ctx, 8) }()
		c := <-l.claims
		leave()
		synctest.Wait() // the caller is about to send its claim back
		c.reply <- true
		if back, got := <-l.back, <-returned; back != c || got != nil {
			t.Errorf("the caller returns %v and sends back %v; want nil, and its claim", got, back)
		}
	})

	testLimiter(t, "the owner", func(l *limiterTest) {
		c := &claim{limiter: l.limiter, units: 8, waits: true, reply: make(chan bool, 1)}
		l.claims <- c // granted
		l.back <- c   // its caller has left before it looked
		l.try(8).release()
	})
}
