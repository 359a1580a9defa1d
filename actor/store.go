// Package actor is a key–value store in memory whose map belongs to one
// goroutine, the owner. Other goroutines never touch the map. They send the owner
// requests over a channel and receive its replies:
//
//	store := actor.New(1 << 20)
//	go store.Run() // the owner
//	defer store.Stop()
//
//	err := store.Put(ctx, "user:1", []byte("Ada"), 0)
//	value, found, err := store.Get(ctx, "user:1")
//	defer store.Release(value)
//
// The owner serves requests one after another, and this is what makes the store
// safe: there is no lock around the map, because there is never a second goroutine
// that could use it at the same time.
//
// # Guarantees
//
// The code names the number of a guarantee where it keeps it. A test with the
// name of the guarantee fails when it is broken.
//
//  1. One owner. The map is a local variable of the owner's loop: no other
//     goroutine can reach it.
//  2. Received means done. A request that the owner has received takes effect
//     exactly once and gets a reply. The caller waits for that reply even if its
//     context is canceled meanwhile.
//  3. An error means no effect. A method that returns an error has changed
//     nothing, and nothing will change later.
//  4. The owner never waits for anything but the next request: not for a caller,
//     not for I/O, not for a lock. The work of a request does not grow with the
//     number of keys.
//  5. Linearizable. Concurrent operations behave as if they ran one at a time,
//     each at the moment at which the owner receives its request.
//  6. Values never change. No goroutine modifies a value after it was passed to
//     Put, so all readers share it without copying.
//  7. It ends. After Stop no caller blocks forever, and no goroutine is left.
//  8. Memory is bounded. The owner counts all the memory that values occupy,
//     arriving, stored and leaving. What is stored stays within the budget, and
//     all of it together within a quarter more.
//
// A panic in the owner is a bug in this package or in its use. The owner does not
// recover, because its map may be half changed. The process ends.
package actor

import (
	"context"
	"errors"
)

// The errors that methods of a Store return, in addition to the error of their
// context. Compare with errors.Is.
var (
	ErrFull    = errors.New("actor: store is full")
	ErrStopped = errors.New("actor: store has stopped")
)

// A Store maps keys to values. Any goroutine may call its methods at any time.
// Calls before Run wait for it. Calls after Stop return ErrStopped.
//
// A method that takes a context may return the error of that context. It does so
// only if the context was done before the owner received the request.
type Store struct {
	budget   int64
	requests chan request  // from callers to the owner
	running  chan struct{} // closed when Run is called
	stopped  chan struct{} // closed when Run returns
}

// New returns a store that holds at most budget bytes of keys and values. The
// description of Put says how they are counted.
func New(budget int64) *Store {
	return &Store{
		budget: budget,

		// There is no buffer, so a send succeeds at the moment at which the owner
		// receives. A request that was sent can't be left behind in the channel.
		requests: make(chan request),
		running:  make(chan struct{}),
		stopped:  make(chan struct{}),
	}
}

// A request is a message from a caller to the owner.
type request struct {
	op    op
	key   string
	value []byte       // for put and release
	n     int64        // for put, fits, reserve and unreserve: a number of bytes
	reply chan<- reply // on which the caller waits
}

type op int

const (
	opGet op = iota
	opRelease
	opPut
	opFits
	opReserve
	opUnreserve
	opDelete
	opClear
	opPing
	opStop
)

// A reply is the owner's message to the caller.
type reply struct {
	value []byte // for get
	found bool   // for get
	err   error
}

// ask is the caller's half of the protocol. It sends req to the owner and returns
// the owner's reply.
func (s *Store) ask(ctx context.Context, req request) (reply, error) {
	replies := make(chan reply, 1) // the owner leaves its reply here and moves on
	req.reply = replies

	select {
	case s.requests <- req:
		// Guarantee 2, received means done: the reply always comes, so this
		// waits for it whatever ctx says. A caller that gave up here could not
		// know whether its request took effect.
		rep := <-replies
		return rep, rep.err

	// Guarantee 3, an error means no effect: the request was not sent.
	case <-ctx.Done():
		return reply{}, ctx.Err()
	case <-s.stopped:
		return reply{}, ErrStopped
	}
}

// Run is the owner's half of the protocol. It serves requests until it receives
// the one from Stop. Call it once, usually in a goroutine of its own; a second
// call panics.
func (s *Store) Run() {
	close(s.running) // panics if it is closed already
	defer close(s.stopped)

	table := newTable(s.budget) // guarantee 1, one owner: table never leaves Run

	for {
		req := <-s.requests // guarantee 4: the owner waits here and nowhere else

		// Guarantee 5, linearizable: each request takes effect here, after the
		// caller has sent it and before the caller has its reply.
		var rep reply
		switch req.op {
		case opGet:
			rep.value, rep.found = table.get(req.key)
		case opRelease:
			table.release(req.value)
		case opPut:
			rep.err = table.put(req.key, req.value, req.n)
		case opFits:
			rep.err = table.fits(req.key, req.n)
		case opReserve:
			rep.err = table.reserve(req.n)
		case opUnreserve:
			table.unreserve(req.n)
		case opDelete:
			table.delete(req.key)
		case opClear:
			table.clear()
		case opPing:
			// The reply says that the owner is there.
		case opStop:
			return // guarantee 7, it ends: stopped is closed and wakes all callers
		}
		req.reply <- rep // never blocks: the channel has capacity for the one reply
	}
}

// Stop makes Run return and waits until it has. Requests that the owner has not
// received by then return ErrStopped. If Run has not been called yet, Stop waits
// for it. Stop may be called more than once.
func (s *Store) Stop() {
	select {
	case s.requests <- request{op: opStop}:
	case <-s.stopped:
	}
	<-s.stopped
}

// Get returns the value of key, and whether there is one. The caller must call
// Release when it has finished reading value, and must not change its bytes,
// because it shares them with the store and with other readers.
func (s *Store) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	rep, err := s.ask(ctx, request{op: opGet, key: key})
	return rep.value, rep.found, err
}

// Release ends the use of a value that Get has returned. A value that was
// replaced or removed counts towards the budget until its last reader has
// released it. Release of a nil value does nothing.
func (s *Store) Release(value []byte) {
	if isLarge(value) {
		s.ask(context.Background(), request{op: opRelease, value: value})
	}
}

// Put sets the value of key. The caller must not change the bytes of value after
// the call (guarantee 6), and calls Reserve before if value is larger than
// SmallValue: reserved is how many bytes the caller has reserved for value. If
// Put returns nil, the caller no longer has them.
//
// An entry counts the length of its key, the capacity of its value and 128 bytes
// for its slot in the map. A deleted key leaves a free slot, which counts until
// another key takes it or until the store is empty. Put returns ErrFull if the
// sum would exceed the budget.
func (s *Store) Put(ctx context.Context, key string, value []byte, reserved int64) error {
	_, err := s.ask(ctx, request{op: opPut, key: key, value: value, n: reserved})
	return err
}

// Reserve reserves n bytes for a value that is arriving. It returns ErrFull if
// all that is stored, arriving, or removed and still being read would exceed the
// budget by more than a quarter.
func (s *Store) Reserve(ctx context.Context, n int64) error {
	_, err := s.ask(ctx, request{op: opReserve, n: n})
	return err
}

// Unreserve gives back n bytes that Reserve has reserved.
func (s *Store) Unreserve(n int64) {
	s.ask(context.Background(), request{op: opUnreserve, n: n})
}

// Fits returns nil if the store now has space for a value of n bytes for key, on
// its way and after its arrival, and ErrFull if it has not. It reserves nothing.
func (s *Store) Fits(ctx context.Context, key string, n int64) error {
	_, err := s.ask(ctx, request{op: opFits, key: key, n: n})
	return err
}

// Delete removes key. It is no error if there is no such key.
func (s *Store) Delete(ctx context.Context, key string) error {
	_, err := s.ask(ctx, request{op: opDelete, key: key})
	return err
}

// Clear removes every key.
func (s *Store) Clear(ctx context.Context) error {
	_, err := s.ask(ctx, request{op: opClear})
	return err
}

// Ping returns nil if the owner serves requests.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.ask(ctx, request{op: opPing})
	return err
}
