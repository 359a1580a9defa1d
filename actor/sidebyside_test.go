package actor

import (
	"sync"
	"testing"
)

// The same small store twice: with a mutex, and with an owner. The README shows
// them side by side.

type mutexStore struct {
	mu   sync.RWMutex
	data map[string][]byte
}

func (s *mutexStore) Get(key string) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.data[key]
}

func (s *mutexStore) Put(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data[key] = value
}

type message struct {
	key   string
	value []byte      // for Put
	reply chan []byte // for Get
}

type ownerStore chan message

func (s ownerStore) Run() {
	data := make(map[string][]byte) // no other goroutine can reach it
	for msg := range s {
		if msg.reply != nil {
			msg.reply <- data[msg.key]
		} else {
			data[msg.key] = msg.value
		}
	}
}

func (s ownerStore) Get(key string) []byte {
	reply := make(chan []byte, 1)
	s <- message{key: key, reply: reply}
	return <-reply
}

func (s ownerStore) Put(key string, value []byte) { s <- message{key: key, value: value} }

func TestSideBySide(t *testing.T) {
	owner := make(ownerStore)
	go owner.Run()
	defer close(owner)
	for name, store := range map[string]interface {
		Get(key string) []byte
		Put(key string, value []byte)
	}{
		"mutex": &mutexStore{data: make(map[string][]byte)},
		"owner": owner,
	} {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				store.Put("key", []byte("value"))
				if got := string(store.Get("key")); got != "value" {
					t.Errorf("%s: Get returns %q", name, got)
				}
			})
		}
		wg.Wait()
	}
}
