// Package actortest checks that a store is linearizable. Clients use the store
// concurrently and note what they see. Porcupine, a checker, then looks for an order
// in which the operations, run one at a time, would show the same.
package actortest

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A Store is what is checked. *actor.Store is one, and describes the methods.
type Store interface {
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	Put(ctx context.Context, key string, value []byte, reserved int64) error
	Delete(ctx context.Context, key string) error
	Clear(ctx context.Context) error
}

const (
	clients    = 8
	operations = 12 // of each client

	// Keys is how many keys the clients use: "0", "1" and so on.
	Keys = 2
)

var seed = flag.Uint64("seed", 0, "`seed` of the first history; 0 picks one. A seed repeats the operations and not their schedule")

// CheckLinearizable records histories of new stores and fails t if one of them is
// not linearizable. It then writes a drawing of that history to a file.
//
// If cancels is true, the context of some operations is canceled while they run. An
// operation that returns an error must have no effect, so it is not in the history.
func CheckLinearizable(t *testing.T, histories int, cancels bool, newStore func() Store) {
	t.Helper()
	first := firstSeed(t)
	for i := range histories {
		history := record(t, newStore(), first+uint64(i), cancels)
		result, info := porcupine.CheckOperationsVerbose(model, history, 0)
		if result == porcupine.Ok {
			continue
		}
		t.Errorf("the history of -seed=%d is not linearizable", first+uint64(i))
		if file, err := os.CreateTemp("", "history-*.html"); err == nil {
			defer file.Close()
			if porcupine.Visualize(model, info, file) == nil {
				t.Logf("open %s in a browser to see it", file.Name())
			}
		}
		return
	}
}

// Rejects returns how many histories of new stores it takes until one is not
// linearizable, or max+1 if that many do not suffice.
func Rejects(t *testing.T, max int, cancels bool, newStore func() Store) int {
	t.Helper()
	first := firstSeed(t)
	for i := range max {
		if !porcupine.CheckOperations(model, record(t, newStore(), first+uint64(i), cancels)) {
			return i + 1
		}
	}
	return max + 1
}

func firstSeed(t *testing.T) uint64 {
	if *seed != 0 {
		return *seed
	}
	picked := uint64(time.Now().UnixNano())
	t.Logf("-seed=%d", picked)
	return picked
}

// An operation is what a client did. The output of a GET is a string, and empty if
// there was no value.
type operation struct {
	method string // GET, PUT, DELETE or CLEAR
	key    int
	value  string // for PUT
}

// model is what a store does if there is one client. The state is the value of each
// key.
var model = porcupine.Model{
	Init: func() any { return [Keys]string{} },
	Step: func(state, input, output any) (bool, any) {
		values, op := state.([Keys]string), input.(operation)
		switch op.method {
		case "GET":
			return output.(string) == values[op.key], values
		case "PUT":
			values[op.key] = op.value
		case "DELETE":
			values[op.key] = ""
		case "CLEAR":
			values = [Keys]string{}
		}
		return true, values
	},
	DescribeOperation: func(input, output any) string {
		op := input.(operation)
		switch op.method {
		case "GET":
			return fmt.Sprintf("GET %d: %q", op.key, output)
		case "PUT":
			return fmt.Sprintf("PUT %d %q", op.key, op.value)
		case "DELETE":
			return fmt.Sprintf("DELETE %d", op.key)
		default:
			return op.method
		}
	},
}

// record lets clients use store concurrently and returns what they did and saw.
func record(t *testing.T, store Store, seed uint64, cancels bool) []porcupine.Operation {
	t.Helper()
	start := time.Now()
	histories := make([][]porcupine.Operation, clients)
	var wg sync.WaitGroup
	for client := range clients {
		random := rand.New(rand.NewPCG(seed, uint64(client)))
		wg.Go(func() {
			for i := range operations {
				op := operation{key: random.IntN(Keys)}
				switch n := random.IntN(20); {
				case n < 9:
					op.method = "GET"
				case n < 15:
					op.method, op.value = "PUT", fmt.Sprintf("%d.%d", client, i)
				case n < 16:
					op.method = "DELETE"
				default:
					op.method = "CLEAR"
				}

				ctx, cancel := context.WithCancel(t.Context())
				if cancels && random.IntN(4) == 0 {
					go cancel()
				}
				call := time.Since(start)
				output, err := run(ctx, store, op)
				ret := time.Since(start)
				canceled := ctx.Err() != nil
				cancel()
				switch {
				case err == nil:
					histories[client] = append(histories[client], porcupine.Operation{
						ClientId: client, Input: op, Output: output, Call: int64(call), Return: int64(ret),
					})
				case !canceled:
					t.Errorf("%s: %v", op.method, err)
				}
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

// run runs op and returns its output.
func run(ctx context.Context, store Store, op operation) (string, error) {
	key := fmt.Sprint(op.key)
	switch op.method {
	case "GET":
		value, _, err := store.Get(ctx, key)
		return string(value), err
	case "PUT":
		return "", store.Put(ctx, key, []byte(op.value), 0)
	case "DELETE":
		return "", store.Delete(ctx, key)
	default:
		return "", store.Clear(ctx)
	}
}
