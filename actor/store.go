// Package actor is a key–value store in memory whose map belongs to one
// goroutine, the owner. Other goroutines never touch the map. They send the owner
// requests over a channel and receive its replies:
//
//	store := actor.New(1 << 20) // starts the owner
//	defer store.Stop()
//
//	err := store.Put(ctx, "user:1", []byte("Ada"))
//	value, found, err := store.Get(ctx, "user:1")
//
// Only the owner can reach the map, and it serves requests one after another. This
// is what makes the store safe: no other goroutine could use the map at the same
// time, so there is no lock around it.
//
// # Guarantees
//
// The code names a guarantee where it keeps it. A test with the name of the
// guarantee, in guarantees_test.go, fails when it is broken.
//
//  1. One owner. The map is a local variable of the owner's loop: no other
//     goroutine can reach it.
//  2. Received means done. The owner processes each request that it receives
//     exactly once, and the caller gets the result: success, or an error and
//     nothing changed. The caller waits for that result even if its context is
//     canceled while it waits.
//  3. An error means no effect. A method that returns an error has changed
//     nothing, and nothing will change later.
//  4. The owner never waits for anything but the next request: not for a caller,
//     not for I/O, not for a lock. The work of a request does not grow with the
//     number of keys.
//  5. Linearizable. Each operation takes effect at one moment between its call
//     and its return, the moment at which the owner receives its request. A Get
//     that starts after a Put has returned sees the value of that Put.
//  6. What is sent is handed over. No goroutine modifies a value after it was
//     passed to Put, so readers share it without copying.
//  7. It ends. After Stop no caller blocks forever, and no goroutine is left.
//  8. The store is bounded. The owner counts all that is stored and keeps it
//     within the budget.
//
// A panic in the owner is a bug in this package. The owner does not recover,
// because its map may be half changed. The process ends.
package actor

import (
	"context"
	"errors"
)

// The errors that methods of a Store return, in addition to the error of their
// context. Compare with errors.Is.
var (
	ErrStopped = errors.New("actor: store has stopped")
	ErrFull    = errors.New("actor: store is full")
	ErrExists  = errors.New("actor: key exists")
)

// A Store maps keys to values. Any goroutine may call its methods at any time.
//
// A method returns the error of its context if the context is done before the call. If
// the context is done later, while the method waits to send its request, the method
// returns that error, or it sends the request after all, because the owner was ready to
// receive. It returns ErrStopped if the owner has ended. After either error, the request
// was not sent.
type Store struct {
	requests chan request  // from callers to the owner
	stopped  chan struct{} // closed when the owner has ended
}

// New returns a store that holds at most budget bytes, and starts its owner. Put
// says what counts towards the budget. Call Stop to end the owner.
func New(budget int64) *Store {
	s := newStore()
	go s.run(budget)
	return s
}

// newStore returns a store without an owner. Tests play the owner themselves.
func newStore() *Store {
	return &Store{
		// There is no buffer, so a send succeeds at the moment at which the owner
		// receives. In a buffer a request could be left behind when the owner ends,
		// and its caller would wait forever for a reply.
		requests: make(chan request),
		stopped:  make(chan struct{}),
	}
}

// A request is a message from a caller to the owner.
type request struct {
	op      op
	key     string
	value   []byte       // for put and create
	replyTo chan<- reply // on which the caller waits
}

type op int

const (
	opGet op = iota
	opPut
	opCreate
	opDelete
	opClear
	opStop
)

// A reply is the owner's message to the caller.
type reply struct {
	value []byte // for get
	found bool   // for get and delete
	err   error
}

// ask is the caller's half of the protocol. It sends req to the owner and returns
// the owner's reply, or an error if req was not sent.
func (s *Store) ask(ctx context.Context, req request) reply {
	if err := ctx.Err(); err != nil {
		return reply{err: err}
	}

	replyTo := make(chan reply, 1) // the owner leaves its reply here and moves on
	req.replyTo = replyTo

	select { // chooses at random when more than one case is ready
	case s.requests <- req:
		// Guarantee 2, received means done: the reply always comes, so this
		// waits for it whatever ctx says. A caller that gave up here could not
		// know whether its request took effect.
		return <-replyTo

	// Guarantee 3, an error means no effect: the request was not sent.
	case <-ctx.Done():
		return reply{err: ctx.Err()}
	case <-s.stopped:
		return reply{err: ErrStopped}
	}
}

// run is the owner's half of the protocol. It serves requests until it receives
// the one from Stop.
func (s *Store) run(budget int64) {
	defer close(s.stopped) // guarantee 7, it ends: this wakes all callers

	table := newTable(budget) // guarantee 1, one owner: table never leaves run

	for {
		req := <-s.requests // guarantee 4: the owner waits here and nowhere else

		// Guarantee 5, linearizable: the request takes effect now, after the caller
		// has sent it and before the caller has its reply.
		var rep reply
		switch req.op {
		case opGet:
			rep.value, rep.found = table.get(req.key)
		case opPut:
			rep.err = table.put(req.key, req.value)
		case opCreate:
			rep.err = table.create(req.key, req.value)
		case opDelete:
			rep.found = table.delete(req.key)
		case opClear:
			table.clear()
		case opStop:
			return // without a reply: stopped tells everyone
		}
		req.replyTo <- rep // never blocks: the channel has capacity for the one reply
	}
}

// Stop ends the owner and waits until it has ended. Calls that the owner has not
// received by then return ErrStopped. Stop may be called more than once.
func (s *Store) Stop() {
	select {
	case s.requests <- request{op: opStop}:
	case <-s.stopped: // another call was first
	}
	<-s.stopped // the owner may still be returning from run
}

// Get returns the value of key, and whether the store has the key. The caller
// must not change the bytes of value, which it shares with the store and with
// other readers.
func (s *Store) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	rep := s.ask(ctx, request{op: opGet, key: key})
	return rep.value, rep.found, rep.err
}

// Put sets the value of key. It hands value over to the store: the caller must not
// change its bytes after the call, whether or not Put returns an error.
//
// An entry counts the bytes of its key, those of its value, and 128 for its slot in
// the map. The slot of a deleted key is free for the next key, and counts until the
// store is empty. Put returns ErrFull if the sum would exceed the budget.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	return s.ask(ctx, request{op: opPut, key: key, value: value}).err
}

// Create is like Put, but returns ErrExists if the store has the key. The owner
// checks and acts in one request: of many callers that create the same key at the
// same time, one succeeds.
func (s *Store) Create(ctx context.Context, key string, value []byte) error {
	return s.ask(ctx, request{op: opCreate, key: key, value: value}).err
}

// Delete removes key, and returns whether the store had it.
func (s *Store) Delete(ctx context.Context, key string) (found bool, err error) {
	rep := s.ask(ctx, request{op: opDelete, key: key})
	return rep.found, rep.err
}

// Clear removes every key.
func (s *Store) Clear(ctx context.Context) error {
	return s.ask(ctx, request{op: opClear}).err
}
