package httpapi

import "context"

// unit is the number of bytes in which values in flight are counted.
const unit = 64 << 10

// units returns how many units a value of n bytes takes while it is in flight. A
// value of up to one unit takes none.
func units(n int64) int64 {
	if n <= unit {
		return 0
	}
	return (n-1)/unit + 1
}

// A semaphore limits how many units are in flight at once. Any goroutine may call
// its methods.
//
// The number of free units travels through a channel. A goroutine that has
// received it is the only one that has it, so it can look, decide, and send back
// what is left: taking several units is one step. With a token for each unit, two
// goroutines could each take half of what they need and wait for the rest forever.
type semaphore struct {
	size  int64
	free  chan int64 // holds the number of free units
	turn  chan token // holds the token of the caller that is first in line
	freed chan token // holds a token if units came back since that caller last looked
}

func newSemaphore(size int64) *semaphore {
	s := &semaphore{
		size:  size,
		free:  make(chan int64, 1),
		turn:  make(chan token, 1),
		freed: make(chan token, 1),
	}
	s.free <- size
	return s
}

// tryAcquire takes n units, or returns false and takes none.
func (s *semaphore) tryAcquire(n int64) bool {
	free := <-s.free
	enough := n <= free
	if enough {
		free -= n
	}
	s.free <- free
	return enough
}

// acquire takes n units. Callers wait in line, and the first in line waits for units,
// until ctx is done. Then acquire returns the error of ctx and has taken none. The
// caller must hold no units: two callers that hold some and wait for more could wait
// for each other.
func (s *semaphore) acquire(ctx context.Context, n int64) error {
	select {
	case s.turn <- token{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for !s.tryAcquire(n) {
		select {
		case <-s.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// release gives n units back.
func (s *semaphore) release(n int64) {
	free := <-s.free
	s.free <- free + n
	select {
	case s.freed <- token{}:
	default: // there is a token already
	}
}
