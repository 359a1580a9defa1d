package httpapi

import (
	"context"
	"slices"
)

// A limiter limits how many units are held at once. The number of free units, and the line
// of those who wait for some, belong to one goroutine, the owner. Any goroutine may call the
// methods.
//
// The owner of a map replies to each request at once. This owner may keep a claim and reply
// later, so a caller may leave while it waits.
type limiter struct {
	size   int64         // units in all, which never changes
	claims chan *claim   // from callers that want units
	back   chan *claim   // from callers that give their units back, or leave the line
	ended  chan struct{} // closed when the owner has ended
}

// A claim asks for units, all of them or none. Nobody changes it once it is sent.
type claim struct {
	limiter *limiter
	units   int64
	waits   bool      // stands in line if there are too few units now
	reply   chan bool // whether the claim is granted; the caller may be gone, so there is room for it
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

// acquire claims n units and waits in line for them. It returns nil if ctx is done first, if
// the owner ends, or at once if there are not as many units in all. Otherwise the caller must
// release the claim.
//
// The caller must hold no units: those who are ahead in the line may be waiting for them.
func (l *limiter) acquire(ctx context.Context, n int64) *claim {
	if n > l.size {
		return nil // it could never be granted, and would hold up all behind it
	}
	c := &claim{limiter: l, units: n, waits: true, reply: make(chan bool, 1)}
	select {
	case l.claims <- c:
	case <-ctx.Done():
		return nil
	case <-l.ended:
		return nil
	}
	select { // the owner has the claim, and replies to it even when it ends
	case granted := <-c.reply:
		if granted {
			return c
		}
	case <-ctx.Done():
		// The owner may be granting the claim right now. It knows, and takes the units back.
		c.release()
	}
	return nil
}

// tryAcquire claims n units ahead of the line, and returns nil if there are too few now.
// Otherwise the caller must release the claim. A caller that holds units may call it, because
// it does not wait.
func (l *limiter) tryAcquire(n int64) *claim {
	c := &claim{limiter: l, units: n, reply: make(chan bool, 1)}
	select {
	case l.claims <- c:
		if <-c.reply {
			return c
		}
	case <-l.ended:
	}
	return nil
}

// release sends c back to the owner: its units are free again, or it leaves the line. Call it
// once.
func (c *claim) release() {
	select {
	case c.limiter.back <- c:
	case <-c.limiter.ended: // nobody counts units any more
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
				c.reply <- true
			default:
				c.reply <- false
			}
		case c := <-l.back:
			if i := slices.Index(line, c); i >= 0 {
				line = slices.Delete(line, i, i+1) // its caller has left
			} else {
				free += c.units
			}
		case <-ctx.Done():
			for _, c := range line {
				c.reply <- false
			}
			return
		}

		// Only the first in line is granted its units, even if another needs fewer.
		for len(line) > 0 && line[0].units <= free {
			first := line[0]
			line = slices.Delete(line, 0, 1)
			free -= first.units
			first.reply <- true
		}
	}
}
