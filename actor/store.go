// Package actor is a key–value store in memory whose map belongs to one
// goroutine, the owner. Callers never touch the map: each method sends the
// owner a request and waits for its reply. Requests are served one after
// another, and that, not a lock, is what makes the store safe.
//
//	store := actor.New(1 << 20)
//	go store.Run(ctx) // the owner; it stops when ctx ends
//
//	err := store.Put(ctx, "user:1", []byte("Ada"))
//	value, found, err := store.Get(ctx, "user:1")
//
// # Guarantees
//
// Each is kept where the code names its number, and proven by the test that
// bears its name.
//
//  1. One owner. The map is a local variable of the owner's loop: no other
//     goroutine can even name it.
//  2. Accepted means done. A request that the owner received takes effect
//     exactly once and is answered. The caller then waits for the answer,
//     whatever its context says, because the answer is always on its way.
//  3. Refused means nothing happened. A caller whose context ends, or whose
//     store has stopped, before the owner received its request gets an error,
//     and the request never takes effect.
//  4. The owner never waits for anything but the next request: not for a
//     caller, not for I/O, not for a lock. No message costs time that grows
//     with the data; clearing a million keys is as quick as clearing one.
//  5. Linearizable. The order in which the owner receives requests is the
//     order of the store.
//  6. Sent means given. A value handed to the store belongs to it, and no one
//     changes its bytes again; readers share them without copying.
//  7. It ends. After a stop nobody hangs, and no goroutine is left.
//
// # When the owner fails
//
// A panic in the owner would be a bug in this package, and the map could be
// half changed: nothing that Get returned afterwards could be trusted. So the
// panic is not recovered. It ends the store as a stop does, and goes on to
// whoever called Run; left alone there, it ends the process.
package actor

import (
	"context"
	"errors"
	"sync"
)

// The errors of a Store, besides the caller's own context.Canceled and
// context.DeadlineExceeded. Compare with errors.Is.
var (
	// ErrFull refuses a Put that would exceed the store's budget. Nothing
	// has changed.
	ErrFull = errors.New("actor: store is full")

	// ErrStopped refuses a request because the owner has stopped. The
	// request did not take effect.
	ErrStopped = errors.New("actor: store has stopped")

	// ErrInDoubt answers the one request during which the owner panicked.
	// It may have taken effect.
	ErrInDoubt = errors.New("actor: store failed while it served this request")
)

// A Store maps keys to values. Its methods may be called by any goroutine, at
// any time: before Run they wait for it, after it they return ErrStopped.
//
// All methods have the errors of their context and ErrStopped in common. Both
// mean that the request did not take effect.
type Store struct {
	maxBytes int64

	mailbox chan request  // to the owner
	started chan struct{} // holds a token once Run has been called
	stopped chan struct{} // closed by the owner when it ends
	replies sync.Pool     // of chan reply, each empty and known to nobody
}

// New returns a store that holds at most maxBytes, by the count that Put
// explains. It serves nobody until Run is called.
func New(maxBytes int64) *Store {
	return &Store{
		maxBytes: maxBytes,

		// Unbuffered: a send succeeds at the moment the owner receives, so a
		// caller knows of its request that it was accepted or that it was not.
		mailbox: make(chan request),
		started: make(chan struct{}, 1),
		stopped: make(chan struct{}),

		// Room for one reply: the owner leaves it there and never waits for
		// the caller to fetch it (guarantee 4).
		replies: sync.Pool{New: func() any { return make(chan reply, 1) }},
	}
}

// Get returns the value of key, and whether there is one. The bytes are shared
// with the store and its other readers: the caller must not change them.
func (s *Store) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	rep, err := s.ask(ctx, request{op: opGet, key: key})
	return rep.value, rep.found, err
}

// Put sets the value of key. It takes over both: the caller must not change
// the bytes of value again (guarantee 6).
//
// An entry counts the bytes of its key, those of its value, and 128 for its
// share of the map. A Put that would bring the sum of all entries past the
// store's budget returns ErrFull and changes nothing.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	_, err := s.ask(ctx, request{op: opPut, key: key, value: value})
	return err
}

// Delete removes key, if it is there.
func (s *Store) Delete(ctx context.Context, key string) error {
	_, err := s.ask(ctx, request{op: opDelete, key: key})
	return err
}

// Clear removes every key.
func (s *Store) Clear(ctx context.Context) error {
	_, err := s.ask(ctx, request{op: opClear})
	return err
}

// Ping returns nil if the owner is answering.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.ask(ctx, request{op: opPing})
	return err
}

// A request is the message from a caller to the owner.
type request struct {
	op    op
	key   string
	value []byte       // of a put
	reply chan<- reply // where the caller waits
}

type op int

const (
	opGet op = iota
	opPut
	opDelete
	opClear
	opPing
	opStop
)

// A reply is the message from the owner back to the caller.
type reply struct {
	value []byte // of a get
	found bool   // of a get
	err   error
}

// ask sends req to the owner and returns the owner's reply.
func (s *Store) ask(ctx context.Context, req request) (reply, error) {
	// The select below picks at random among the cases that are ready: one
	// who has given up already must not get that far.
	if err := ctx.Err(); err != nil {
		return reply{}, err
	}

	// Whichever way this ends, the channel is empty and the owner has
	// forgotten it: the next caller can have it.
	replies := s.replies.Get().(chan reply)
	defer s.replies.Put(replies)
	req.reply = replies

	select {
	case s.mailbox <- req:
	default:
		// The owner is busy. Only now is it worth the price of a select over
		// three channels.
		select {
		case s.mailbox <- req:

		// Guarantee 3, refused means nothing happened: the send did not take
		// place, and now never will.
		case <-ctx.Done():
			return reply{}, ctx.Err()
		case <-s.stopped:
			return reply{}, ErrStopped
		}
	}

	// Guarantee 2, accepted means done: the answer is on its way. To give up
	// now would leave the caller in doubt about its request.
	rep := <-replies
	return rep, rep.err
}

const (
	// entryOverhead is what an entry counts besides its key and its value: a
	// slot for both in a map that is as empty as it gets while it grows, and
	// what the allocator rounds up where they are short.
	entryOverhead = 128

	// A map never gives back the room that it once grew to. One that held
	// more keys than this is therefore replaced when its last key goes.
	smallMap = 1024
)

// cost returns what an entry counts towards the budget, in bytes.
func cost(key string, value []byte) int64 {
	return int64(len(key)) + int64(len(value)) + entryOverhead
}

// Run is the owner: it serves requests, one after another, until ctx ends.
// Call it once, usually in a goroutine of its own. A second call panics.
func (s *Store) Run(ctx context.Context) {
	select {
	case s.started <- struct{}{}:
	default:
		panic("actor: Run called twice: a store has one owner")
	}

	// Stopping is one more message. So the owner has a single channel to
	// wait for, and whoever asked before the stop is still served.
	defer context.AfterFunc(ctx, func() {
		select {
		case s.mailbox <- request{op: opStop}:
		case <-s.stopped:
		}
	})()

	// Guarantee 1, one owner: nothing but this function can name these.
	var (
		data = make(map[string][]byte)
		used int64 // the sum of cost over data, at most s.maxBytes
		most int   // the most keys that data has held
		req  request
	)

	// Guarantee 7, it ends: everyone who waits, or comes later, sees stopped.
	defer func() {
		close(s.stopped)
		if req.op != opStop { // a panic: see the package's documentation
			req.reply <- reply{err: ErrInDoubt}
		}
	}()

	// Guarantee 5, linearizable: each request takes effect here, between the
	// caller's send and its reply, and before the next one is received.
	for {
		req = <-s.mailbox // guarantee 4: nothing else in this loop can wait
		var rep reply

		switch req.op {
		case opGet:
			rep.value, rep.found = data[req.key]

		case opPut:
			after := used + cost(req.key, req.value)
			if old, found := data[req.key]; found {
				after -= cost(req.key, old)
			}
			if after > s.maxBytes {
				rep.err = ErrFull
				break
			}
			data[req.key], used = req.value, after
			most = max(most, len(data))

		case opDelete:
			if old, found := data[req.key]; found {
				delete(data, req.key)
				used -= cost(req.key, old)
			}
			if len(data) == 0 && most > smallMap {
				data, most = make(map[string][]byte), 0
			}

		case opClear:
			// A new map, and not clear(data), which takes longer the more
			// there is: the old one is left to the garbage collector.
			data, used, most = make(map[string][]byte), 0, 0

		case opPing:

		case opStop:
			return

		default:
			panic("actor: unknown op")
		}

		req.reply <- rep
	}
}
