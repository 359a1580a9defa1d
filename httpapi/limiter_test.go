package httpapi

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A limiterTest is a limiter of 8 units, and callers that wait for units.
type limiterTest struct {
	*limiter
	t       *testing.T
	end     context.CancelFunc // ends the owner
	waiting []*waiter          // in the order in which they came
}

// A waiter is a goroutine that calls acquire.
type waiter struct {
	leave context.CancelFunc
	claim *claim // that acquire returned
	state string // waits, granted or refused
}

// testLimiter runs test in a bubble. At its end, all units must be free again, and no more.
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
				l.try(8, true)
				l.try(1, false)
			}
		})
	})
}

// try tries to take n units, and checks whether it gets them.
func (l *limiterTest) try(n int64, want bool) *claim {
	l.t.Helper()
	c := l.tryAcquire(n)
	if (c != nil) != want {
		l.t.Fatalf("a try to take %d units: granted %t, want %t", n, c != nil, want)
	}
	return c
}

// wait makes a goroutine acquire n units, and returns the function that makes it leave.
func (l *limiterTest) wait(n int64) (leave func()) {
	ctx, leave := context.WithCancel(l.t.Context())
	w := &waiter{leave, nil, "waits"}
	l.waiting = append(l.waiting, w)
	go func() {
		w.claim = l.acquire(ctx, n)
		if w.state = "refused"; w.claim != nil {
			w.state = "granted"
		}
	}()
	synctest.Wait()
	return leave
}

// want checks the states of the waiters.
func (l *limiterTest) want(states ...string) {
	l.t.Helper()
	synctest.Wait()
	var got []string
	for _, w := range l.waiting {
		got = append(got, w.state)
	}
	if !slices.Equal(got, states) {
		l.t.Errorf("the waiters are %q, want %q", got, states)
	}
}

// A claim is granted all its units or none, strictly in the order of arrival. Only a try
// passes the line, as TestChunkedUploadsOnlyTry shows.
func TestLimiter(t *testing.T) {
	testLimiter(t, "all units or none", func(l *limiterTest) {
		five := l.try(5, true)
		l.try(4, false)
		l.try(1<<62, false)
		three := l.try(3, true)
		five.release()
		three.release()
	})

	testLimiter(t, "in the order of arrival", func(l *limiterTest) {
		var held []*claim
		for range 8 {
			held = append(held, l.try(1, true))
		}
		for _, n := range []int64{2, 3, 1, 1} {
			l.wait(n)
		}
		for i, granted := range []int{0, 1, 1, 1, 2, 3, 4, 4} { // one unit would do for the last, but the second needs 3
			held[i].release()
			l.want(slices.Concat(slices.Repeat([]string{"granted"}, granted), slices.Repeat([]string{"waits"}, 4-granted))...)
		}
	})

	testLimiter(t, "one that leaves makes way for those behind", func(l *limiterTest) {
		held := l.try(7, true)
		leaveFirst, _, leaveLast := l.wait(6), l.wait(1), l.wait(1)
		leaveLast()
		leaveFirst()
		l.want("refused", "granted", "refused")
		held.release()
	})

	testLimiter(t, "more than there is: refused at once, and nobody waits behind it", func(l *limiterTest) {
		l.wait(9)
		l.wait(1)
		l.want("refused", "granted")
	})

	testLimiter(t, "the end answers all", func(l *limiterTest) {
		held := l.try(8, true)
		l.wait(1)
		l.wait(8)
		l.end()
		synctest.Wait()
		l.wait(1) // comes after the end
		l.want("refused", "refused", "refused")
		l.try(1, false)
		held.release() // does not wait
	})
}

// A caller may leave before the owner receives its claim, which then is not sent. If the caller
// leaves at the moment at which the owner grants the claim, the owner gets it back, so no unit
// is lost. The test plays the owner, and in the last part the caller.
func TestLeaveTheLimiter(t *testing.T) {
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
	})
}
