// Package exercises is a small store for you to change. README.md has the exercises.
package exercises

import (
	"context"
	"errors"
)

type request struct {
	op         string
	key, value string
	replyTo    chan<- reply
}

type reply struct {
	value string
}

// A Store maps keys to values. A key that is not there has the value "".
type Store struct {
	requests chan request
	stopped  chan struct{} // closed when the owner has ended
}

var ErrStopped = errors.New("store has stopped")

func New() *Store {
	s := &Store{requests: make(chan request), stopped: make(chan struct{})}
	go s.run()
	return s
}

func (s *Store) run() {
	defer close(s.stopped)
	values := make(map[string]string)
	for {
		req := <-s.requests
		var rep reply
		switch req.op {
		case "get":
			rep.value = values[req.key]
		case "put":
			values[req.key] = req.value
		case "stop":
			return
		default:
			panic("the owner has no case for a request to " + req.op)
		}
		req.replyTo <- rep
	}
}

func (s *Store) ask(ctx context.Context, req request) (reply, error) {
	if err := ctx.Err(); err != nil {
		return reply{}, err
	}
	replyTo := make(chan reply, 1)
	req.replyTo = replyTo
	select {
	case s.requests <- req:
		return <-replyTo, nil
	case <-ctx.Done():
		return reply{}, ctx.Err()
	case <-s.stopped:
		return reply{}, ErrStopped
	}
}

func (s *Store) Get(ctx context.Context, key string) (string, error) {
	rep, err := s.ask(ctx, request{op: "get", key: key})
	return rep.value, err
}

func (s *Store) Put(ctx context.Context, key, value string) error {
	_, err := s.ask(ctx, request{op: "put", key: key, value: value})
	return err
}

func (s *Store) Stop() {
	select {
	case s.requests <- request{op: "stop"}:
	case <-s.stopped:
	}
	<-s.stopped
}
