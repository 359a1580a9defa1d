package actor_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"kvactor/actor"
	"kvactor/httpapi"
)

var seed = flag.Uint64("seed", 0, "`seed` of the histories that are checked; 0 for another each time")

// Guarantee 5: whatever many clients do at once, and see of it, could have been
// done one after another, each operation at a moment between its call and its
// return. Checked by porcupine on what clients saw in process and over HTTP.
func TestLinearizable(t *testing.T) {
	stores := map[string]func(t *testing.T) httpapi.Store{
		"in process": func(t *testing.T) httpapi.Store { return newStore(t) },
		"over HTTP": func(t *testing.T) httpapi.Store {
			server := httptest.NewServer(httpapi.New(newStore(t), 64, nil))
			t.Cleanup(server.Close)
			server.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = clients
			return httpStore{server.URL, server.Client()}
		},
	}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			rounds := 200
			if testing.Short() {
				rounds = 20
			}
			first := firstSeed(t)
			for seed := first; seed < first+uint64(rounds); seed++ {
				history := record(t, store(t), seed)
				if !porcupine.CheckOperations(model, history) {
					t.Fatalf("not linearizable; again with -seed=%d", seed)
				}
			}
		})
	}
}

// The control: the same check rejects stores that are wrong in a small way.
func TestLinearizableRejectsWrongStores(t *testing.T) {
	for name, wrong := range map[string]func(right httpapi.Store) httpapi.Store{
		"a stale read":      func(right httpapi.Store) httpapi.Store { return &staleReads{Store: right} },
		"a lost update":     func(right httpapi.Store) httpapi.Store { return &lostUpdates{Store: right} },
		"a clear in pieces": func(right httpapi.Store) httpapi.Store { return clearInPieces{right} },
	} {
		t.Run(name, func(t *testing.T) {
			first := firstSeed(t)
			for seed := first; seed < first+10_000; seed++ {
				history := record(t, wrong(newStore(t)), seed)
				if !porcupine.CheckOperations(model, history) {
					return
				}
			}
			t.Error("every history of it passed")
		})
	}
}

const (
	clients = 5
	keys    = 2
)

func firstSeed(t *testing.T) uint64 {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", *seed)
	return *seed
}

func newStore(t *testing.T) *actor.Store {
	store := actor.New(math.MaxInt64)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	go store.Run(ctx)
	return store
}

// An operation of a client, and what came out of it. An empty value is none.
type (
	operation struct {
		method string // GET, PUT, DELETE or CLEAR
		key    int
		value  string // of a PUT
	}
	result string // of a GET
)

// model is what a store does if one client at a time uses it. Its state is the
// values of all keys.
var model = porcupine.Model{
	Init: func() any { return [keys]string{} },
	Step: func(state, input, output any) (bool, any) {
		values, op := state.([keys]string), input.(operation)
		switch op.method {
		case "GET":
			return string(output.(result)) == values[op.key], values
		case "PUT":
			values[op.key] = op.value
		case "DELETE":
			values[op.key] = ""
		case "CLEAR":
			values = [keys]string{}
		}
		return true, values
	},
}

// record has some clients use store at once, and returns what they did.
func record(t *testing.T, store httpapi.Store, seed uint64) []porcupine.Operation {
	t.Helper()
	const operations = 20
	ctx := t.Context()
	start := time.Now()

	histories := make([][]porcupine.Operation, clients)
	var wg sync.WaitGroup
	for client := range clients {
		random := rand.New(rand.NewPCG(seed, uint64(client)))
		wg.Go(func() {
			for i := range operations {
				op := operation{key: random.IntN(keys)}
				key := fmt.Sprintf("key%d", op.key)
				var out result
				var err error

				call := time.Since(start)
				switch n := random.IntN(20); {
				case n < 9:
					op.method = "GET"
					var value []byte
					value, _, err = store.Get(ctx, key)
					out = result(value)
				case n < 16:
					op.method = "PUT"
					op.value = fmt.Sprintf("%d.%d", client, i)
					err = store.Put(ctx, key, []byte(op.value))
				case n < 19:
					op.method = "DELETE"
					err = store.Delete(ctx, key)
				default:
					op.method = "CLEAR"
					err = store.Clear(ctx)
				}
				if err != nil {
					t.Errorf("%s: %v", op.method, err)
				}
				histories[client] = append(histories[client], porcupine.Operation{
					ClientId: client,
					Input:    op,
					Call:     int64(call),
					Output:   out,
					Return:   int64(time.Since(start)),
				})
			}
		})
	}
	wg.Wait()

	var all []porcupine.Operation
	for _, history := range histories {
		all = append(all, history...)
	}
	return all
}

// An httpStore is the store behind a server.
type httpStore struct {
	url    string
	client *http.Client
}

func (s httpStore) do(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return resp.StatusCode, answer, err
}

func (s httpStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	status, value, err := s.do(ctx, http.MethodGet, "/kv/"+key, nil)
	if status == http.StatusNotFound {
		return nil, false, err
	}
	return value, true, err
}

func (s httpStore) Put(ctx context.Context, key string, value []byte) error {
	_, _, err := s.do(ctx, http.MethodPut, "/kv/"+key, value)
	return err
}

func (s httpStore) Delete(ctx context.Context, key string) error {
	_, _, err := s.do(ctx, http.MethodDelete, "/kv/"+key, nil)
	return err
}

func (s httpStore) Clear(ctx context.Context) error {
	_, _, err := s.do(ctx, http.MethodDelete, "/clear", nil)
	return err
}

func (s httpStore) Ping(ctx context.Context) error {
	_, _, err := s.do(ctx, http.MethodGet, "/health", nil)
	return err
}

// staleReads answers now and then with the value before the last.
type staleReads struct {
	httpapi.Store
	mu     sync.Mutex
	before map[string][]byte
	gets   int
}

func (s *staleReads) Put(ctx context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, found, _ := s.Store.Get(ctx, key); found {
		s.before = map[string][]byte{key: old}
	}
	return s.Store.Put(ctx, key, value)
}

func (s *staleReads) Get(ctx context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	if old, found := s.before[key]; found && s.gets%10 == 0 {
		return old, true, nil
	}
	return s.Store.Get(ctx, key)
}

// lostUpdates forgets a Put now and then.
type lostUpdates struct {
	httpapi.Store
	mu   sync.Mutex
	puts int
}

func (s *lostUpdates) Put(ctx context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.puts++; s.puts%10 == 0 {
		return nil
	}
	return s.Store.Put(ctx, key, value)
}

// clearInPieces clears one key after another.
type clearInPieces struct{ httpapi.Store }

func (s clearInPieces) Clear(ctx context.Context) error {
	for key := range keys {
		if err := s.Delete(ctx, fmt.Sprintf("key%d", key)); err != nil {
			return err
		}
		s.Ping(ctx) // a moment for others to see the pieces
	}
	return nil
}
