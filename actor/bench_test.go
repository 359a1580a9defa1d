package actor

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
)

// A mutexStore is what most programs use in place of an owner.
type mutexStore struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (s *mutexStore) get(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key]
}

func (s *mutexStore) put(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = value
}

// An rwMutexStore lets readers in together.
type rwMutexStore struct {
	mu     sync.RWMutex
	values map[string][]byte
}

func (s *rwMutexStore) get(key string) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.values[key]
}

func (s *rwMutexStore) put(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = value
}

// BenchmarkOperation measures an operation, nine reads to a write. A caller of the
// store waits for two switches of goroutines: to the owner, and back.
func BenchmarkOperation(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background()) // as callers have that may give up
	defer cancel()
	store := newRunning(b, math.MaxInt64)
	mutex := &mutexStore{values: make(map[string][]byte)}
	rwMutex := &rwMutexStore{values: make(map[string][]byte)}
	subjects := []struct {
		name string
		get  func(key string)
		put  func(key string, value []byte)
	}{
		{"store",
			func(key string) { store.Get(ctx, key) },
			func(key string, value []byte) { store.Put(ctx, key, value) }},
		{"sync.Mutex", func(key string) { mutex.get(key) }, mutex.put},
		{"sync.RWMutex", func(key string) { rwMutex.get(key) }, rwMutex.put},
	}

	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	value := []byte("hello world")
	for _, callers := range []int{1, 64} {
		for _, subject := range subjects {
			b.Run(fmt.Sprintf("%d callers/%s", callers, subject.name), func(b *testing.B) {
				b.ReportAllocs()
				var wg sync.WaitGroup
				for caller := range callers {
					random := rand.New(rand.NewPCG(1, uint64(caller)))
					wg.Go(func() {
						for i := caller; i < b.N; i += callers {
							key := keys[random.IntN(len(keys))]
							if random.IntN(10) == 0 {
								subject.put(key, value)
							} else {
								subject.get(key)
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}
