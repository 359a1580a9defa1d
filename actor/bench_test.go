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

// The cost of an operation in process, for the store and for smaller ones: the two
// of the README, and a sync.Map.
func BenchmarkOperation(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background()) // as callers have that may give up
	defer cancel()

	type subject struct {
		name string
		get  func(key string)
		put  func(key string, value []byte)
	}
	store := newRunning(b, math.MaxInt64)
	owner := make(ownerStore)
	go owner.Run()
	defer close(owner)
	mutex := &mutexStore{data: make(map[string][]byte)}
	var syncMap sync.Map
	subjects := []subject{
		{"store",
			func(key string) { store.Get(ctx, key) },
			func(key string, value []byte) { store.Put(ctx, key, value, 0) }},
		{"small owner", func(key string) { owner.Get(key) }, owner.Put},
		{"mutex", func(key string) { mutex.Get(key) }, mutex.Put},
		{"sync.Map",
			func(key string) { syncMap.Load(key) },
			func(key string, value []byte) { syncMap.Store(key, value) }},
	}

	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	value := []byte("hello world")
	for _, callers := range []int{1, 8, 128} {
		for _, subject := range subjects {
			b.Run(fmt.Sprintf("%d callers/%s", callers, subject.name), func(b *testing.B) {
				b.ReportAllocs()
				var wg sync.WaitGroup
				for caller := range callers {
					random := rand.New(rand.NewPCG(1, uint64(caller)))
					wg.Go(func() {
						for range b.N / callers {
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

// Guarantee 4 in time and space: what Get and Clear cost with one key and with a
// million, and what memory a key takes.
func BenchmarkKeys(b *testing.B) {
	for _, keys := range []int{1, 1_000_000} {
		names := make([]string, keys)
		for i := range names {
			names[i] = fmt.Sprintf("key%07d", i)
		}
		before := heap()
		table := newTable(math.MaxInt64)
		for _, name := range names {
			table.put(name, make([]byte, 100), 0)
		}
		perKey := float64(heap()-before) / float64(keys)

		random := rand.New(rand.NewPCG(1, 1))
		b.Run(fmt.Sprintf("get/%d keys", keys), func(b *testing.B) {
			for b.Loop() {
				table.get(names[random.IntN(keys)])
			}
			b.ReportMetric(perKey, "B/key")
		})
		b.Run(fmt.Sprintf("clear/%d keys", keys), func(b *testing.B) {
			full := table.values
			for b.Loop() {
				table.values = full
				table.clear()
			}
		})
	}
}
