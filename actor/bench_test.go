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

// What the store costs in process, beside the two twins that share a map.
func BenchmarkMixes(b *testing.B) {
	for _, mix := range []struct {
		name   string
		writes float64
	}{{"90% reads", 0.1}, {"50% reads", 0.5}, {"10% reads", 0.9}} {
		for _, callers := range []int{1, 8, 128} {
			for _, kind := range []struct {
				name  string
				store func(b *testing.B) twin
			}{
				{"actor", func(b *testing.B) twin { return running(b, math.MaxInt64) }},
				{"RWMutex", func(*testing.B) twin { return &mutexTwin{data: make(map[string][]byte)} }},
				{"sync.Map", func(*testing.B) twin { return new(mapTwin) }},
				{"channels", func(b *testing.B) twin { return newChannelTwin(b) }},
			} {
				b.Run(fmt.Sprintf("%s/%d callers/%s", mix.name, callers, kind.name), func(b *testing.B) {
					benchmarkMix(b, kind.store(b), callers, mix.writes)
				})
			}
		}
	}
}

func benchmarkMix(b *testing.B, store twin, callers int, writes float64) {
	const keys = 1000
	ctx, cancel := context.WithCancel(b.Context()) // as that of a request, it can end
	defer cancel()
	names := make([]string, keys)
	value := []byte("hello world")
	for i := range names {
		names[i] = strconv.Itoa(i)
		store.Put(ctx, names[i], value)
	}

	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for caller := range callers {
		random := rand.New(rand.NewPCG(1, uint64(caller)))
		wg.Go(func() {
			for range b.N / callers {
				key := names[random.IntN(keys)]
				if random.Float64() < writes {
					store.Put(ctx, key, value)
				} else {
					store.Get(ctx, key)
				}
			}
		})
	}
	wg.Wait()
}

// A twin does what a Store does, for one who needs no more than these.
type twin interface {
	Get(ctx context.Context, key string) ([]byte, bool, error)
	Put(ctx context.Context, key string, value []byte) error
}

type mutexTwin struct {
	mu   sync.RWMutex
	data map[string][]byte
}

func (t *mutexTwin) Get(_ context.Context, key string) ([]byte, bool, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	value, found := t.data[key]
	return value, found, nil
}

func (t *mutexTwin) Put(_ context.Context, key string, value []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data[key] = value
	return nil
}

type mapTwin struct{ data sync.Map }

func (t *mapTwin) Get(_ context.Context, key string) ([]byte, bool, error) {
	value, found := t.data.Load(key)
	if !found {
		return nil, false, nil
	}
	return value.([]byte), true, nil
}

func (t *mapTwin) Put(_ context.Context, key string, value []byte) error {
	t.data.Store(key, value)
	return nil
}

// A channelTwin asks and answers, and does nothing else: no map, no context, no
// stop that a caller would notice. It is the floor of what messages cost.
type channelTwin struct {
	mailbox chan request
	replies sync.Pool
}

func newChannelTwin(b *testing.B) *channelTwin {
	t := &channelTwin{
		mailbox: make(chan request),
		replies: sync.Pool{New: func() any { return make(chan reply, 1) }},
	}
	go func() {
		for req := range t.mailbox {
			req.reply <- reply{}
		}
	}()
	b.Cleanup(func() { close(t.mailbox) })
	return t
}

func (t *channelTwin) ask(req request) reply {
	replies := t.replies.Get().(chan reply)
	req.reply = replies
	t.mailbox <- req
	rep := <-replies
	t.replies.Put(replies)
	return rep
}

func (t *channelTwin) Get(_ context.Context, key string) ([]byte, bool, error) {
	rep := t.ask(request{op: opGet, key: key})
	return rep.value, rep.found, nil
}

func (t *channelTwin) Put(_ context.Context, key string, value []byte) error {
	return t.ask(request{op: opPut, key: key, value: value}).err
}

// Guarantee 4, as far as time goes: what a request costs with a million keys,
// beside what it costs with one; and the memory that each key takes.
func BenchmarkKeys(b *testing.B) {
	for _, keys := range []int{1, 1_000_000} {
		names := make([]string, keys)
		for i := range names {
			names[i] = fmt.Sprintf("key%07d", i)
		}
		before := heap()
		store := running(b, math.MaxInt64)
		ctx := b.Context()
		load := func() {
			for _, name := range names {
				store.Put(ctx, name, make([]byte, 100))
			}
		}
		load()
		perKey := float64(heap()-before) / float64(keys)

		random := rand.New(rand.NewPCG(1, 1))
		b.Run(fmt.Sprintf("Get/%d keys", keys), func(b *testing.B) {
			for b.Loop() {
				store.Get(ctx, names[random.IntN(keys)])
			}
			b.ReportMetric(perKey, "B/key")
		})
		b.Run(fmt.Sprintf("Clear/%d keys", keys), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				load()
				b.StartTimer()
				store.Clear(ctx)
			}
		})
	}
}
