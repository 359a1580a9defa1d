package httpapi

import (
	"context"
	"slices"
)

// A limiter limits how many units are held at once. The count of the free units and the
// line of those who wait for some belong to one goroutine, the owner. Any goroutine may
// call the methods.
//
// The owner of a store replies to each request at once. This owner may keep a request and
// reply later, so its callers may leave while they wait.
type limiter struct {
	size   int64         // units, in all
	claims chan *claim   // from callers that want units
	back   chan *claim   // from callers that give units back, or leave the line
	ended  chan struct{} // closed when the owner has ended
}

// A claim asks for units, all of them or none. It belongs to the caller again when the
// owner has granted it.
type claim struct {
	limiter *limiter
	units   int64
	waits   bool      // in line, if there are too few units now
	granted chan bool // receives the owner's reply; with room for it, so the owner never waits
}

// newLimiter returns a limiter of size units, and starts its owner. The owner ends when ctx
// is done.
func newLimiter(ctx context.Context, size int64) *limiter {
	l := &limiter{
		size:   size,
		claims: make(chan *claim),
		back:   make(chan *claim),
		ended:  make(chan struct{}),
	}
	go l.run(ctx)
	return l
}

// acquire claims n units, and waits in line for them until ctx is done. It returns nil if
// ctx was first, if there are not as many units in all, or if the owner has ended.
// Otherwise the caller must release the claim.
//
// The caller must hold no units: two callers that hold some and wait for more could wait
// for each other.
func (l *limiter) acquire(ctx context.Context, n int64) *claim {
	if n > l.size {
		return nil
	}
	c := &claim{l, n, true, make(chan bool, 1)}
	select {
	case l.claims <- c:
	case <-ctx.Done():
		return nil
	case <-l.ended:
		return nil
	}
	select {
	case granted := <-c.granted:
		if granted {
			return c
		}
	case <-ctx.Done():
		c.release() // the owner may have granted the claim by now, or not: it knows
	}
	return nil
}

// tryAcquire claims n units, without regard to the line, and returns nil if there are too
// few now. Otherwise the caller must release the claim.
func (l *limiter) tryAcquire(n int64) *claim {
	c := &claim{l, n, false, make(chan bool, 1)}
	select {
	case l.claims <- c:
		if <-c.granted {
			return c
		}
	case <-l.ended:
	}
	return nil
}

// release sends c back to the owner: its units are free again, or it leaves the line.
func (c *claim) release() {
	select {
	case c.limiter.back <- c:
	case <-c.limiter.ended: // nobody waits for units any more
	}
}

// run is the owner's loop.
func (l *limiter) run(ctx context.Context) {
	defer close(l.ended)
	free := l.size
	var line []*claim // those that wait, in the order in which the owner received them
	for {
		select {
		case c := <-l.claims:
			switch {
			case c.waits:
				line = append(line, c)
			case c.units <= free:
				free -= c.units
				c.granted <- true
			default:
				c.granted <- false
			}
		case c := <-l.back:
			if i := slices.Index(line, c); i >= 0 {
				line = slices.Delete(line, i, i+1) // its caller has left
			} else {
				free += c.units
			}
		case <-ctx.Done():
			for _, c := range line {
				c.granted <- false
			}
			return
		}
		for len(line) > 0 && line[0].units <= free {
			free -= line[0].units
			line[0].granted <- true
			line = slices.Delete(line, 0, 1)
		}
	}
}
