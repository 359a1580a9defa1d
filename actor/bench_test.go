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

// A lockedStore is what most programs use in place of an owner.
type lockedStore struct {
	read, write sync.Locker // may be the same
	values      map[string][]byte
}

func (s *lockedStore) get(key string) []byte {
	s.read.Lock()
	defer s.read.Unlock()
	return s.values[key]
}

func (s *lockedStore) put(key string, value []byte) {
	s.write.Lock()
	defer s.write.Unlock()
	s.values[key] = value
}

// BenchmarkOperation measures an operation, nine reads to a write. A caller of the
// store waits for two switches of goroutines: to the owner, and back.
func BenchmarkOperation(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background()) // as callers have that may give up
	defer cancel()
	store := newRunning(b, math.MaxInt64)
	var mutex sync.Mutex
	var rwMutex sync.RWMutex // lets readers in together
	locked := &lockedStore{&mutex, &mutex, make(map[string][]byte)}
	rwLocked := &lockedStore{rwMutex.RLocker(), &rwMutex, make(map[string][]byte)}
	subjects := []struct {
		name string
		get  func(key string)
		put  func(key string, value []byte)
	}{
		{"store",
			func(key string) { store.Get(ctx, key) },
			func(key string, value []byte) { store.Put(ctx, key, value) }},
		{"sync.Mutex", func(key string) { locked.get(key) }, locked.put},
		{"sync.RWMutex", func(key string) { rwLocked.get(key) }, rwLocked.put},
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
