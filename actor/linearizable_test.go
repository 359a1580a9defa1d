package actor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/anishathalye/porcupine"
)

// The check rejects each wrong store within this number of histories. The right store
// passes with ten times as many.
const rejectWithin = 50

// Guarantee 5. Callers use a store concurrently and record what they see. Porcupine,
// a checker, then looks for an order in which the operations, each at one moment
// between its call and its return, would show the same.
func TestLinearizable(t *testing.T) { synctest.Test(t, checkHistories) }

func checkHistories(t *testing.T) {
	for range 10 * rejectWithin {
		history := record(t, newRunning(t, math.MaxInt64), run)
		result, info := porcupine.CheckOperationsVerbose(model, history, 0)
		if result == porcupine.Ok {
			continue
		}
		t.Error("there is no such order for the operations of this history")
		if file := os.TempDir() + "/history.html"; porcupine.VisualizePath(model, info, file) == nil {
			t.Logf("open %s in a browser to see it", file)
		}
		return
	}
}

// The control for TestLinearizable: the same check rejects stores that are wrong in
// a small way.
func TestLinearizableRejectsWrongStores(t *testing.T) {
	sometimes := func(op operation, method string) bool { return op.method == method && rand.IntN(5) == 0 }

	for name, wrong := range map[string]func(context.Context, *Store, operation) (string, error){
		"a stale read": func(ctx context.Context, s *Store, op operation) (string, error) {
			if sometimes(op, "Get") {
				op.key += keys // the value of an earlier Get
				return run(ctx, s, op)
			}
			output, err := run(ctx, s, op)
			if op.method == "Get" && err == nil {
				run(ctx, s, operation{"Put", op.key + keys, output})
			}
			return output, err
		},
		"a lost update": func(ctx context.Context, s *Store, op operation) (string, error) {
			if sometimes(op, "Put") {
				return "", nil
			}
			return run(ctx, s, op)
		},
		"two winners of a Create": func(ctx context.Context, s *Store, op operation) (string, error) {
			if op.method == "Create" { // it checks in one request, and acts in another
				if value, err := run(ctx, s, operation{"Get", op.key, ""}); err != nil || value != "" {
					return ErrExists.Error(), err
				}
				runtime.Gosched()
				op.method = "Put"
			}
			return run(ctx, s, op)
		},
		"an error that had its effect": func(ctx context.Context, s *Store, op operation) (string, error) {
			output, err := run(ctx, s, op)
			if sometimes(op, "Put") {
				err = context.Canceled
			}
			return output, err
		},
		"an update after its return": func(ctx context.Context, s *Store, op operation) (string, error) {
			if op.method == "Put" {
				go run(context.WithoutCancel(ctx), s, op)
				return "", nil
			}
			return run(ctx, s, op)
		},
		"a clear in pieces": func(ctx context.Context, s *Store, op operation) (string, error) {
			if op.method == "Clear" {
				for key := range keys {
					run(context.WithoutCancel(ctx), s, operation{"Delete", key, ""})
					runtime.Gosched()
				}
				return "", nil
			}
			return run(ctx, s, op)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for n := range rejectWithin {
					if !porcupine.CheckOperations(model, record(t, newRunning(t, math.MaxInt64), wrong)) {
						t.Logf("history %d is rejected", n+1)
						return
					}
				}
				t.Errorf("all of %d histories are accepted", rejectWithin)
			})
		})
	}
}

const (
	clients    = 8
	operations = 12 // of each client
	keys       = 2
)

// methodMix has each method as often as clients should choose it.
var methodMix = slices.Concat(
	slices.Repeat([]string{"Get"}, 8), slices.Repeat([]string{"Put"}, 4), slices.Repeat([]string{"Create"}, 4),
	[]string{"Delete", "Delete", "Clear", "Clear"})

// An operation is what a client calls. Its output is a string: the value of a Get, the
// error of a Create, whether a Delete found the key.
type operation struct {
	method string
	key    int
	value  string
}

// model is what a store does if there is one client. The state is the value of each
// key, or "" for a key that is missing.
var model = porcupine.Model{
	Init: func() any { return [keys]string{} },
	Step: func(state, input, output any) (bool, any) {
		values, op := state.([keys]string), input.(operation)
		old, want := values[op.key], ""
		switch {
		case op.method == "Get":
			want = old
		case op.method == "Create" && old != "":
			want = ErrExists.Error()
		case op.method == "Delete":
			want, values[op.key] = fmt.Sprint(old != ""), ""
		case op.method == "Clear":
			values = [keys]string{}
		default: // Put, and a Create that succeeds
			values[op.key] = op.value
		}
		return output == want, values
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v: %q", input, output) },
}

// record returns what clients do concurrently with store, through run, and see. The
// context of some operations is canceled at any moment. An operation that fails for
// that reason must have no effect, so it is not in the history.
func record(t *testing.T, store *Store, run func(context.Context, *Store, operation) (string, error)) []porcupine.Operation {
	t.Helper()
	var clock atomic.Int64
	var histories [clients][]porcupine.Operation
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for i := range operations {
				op := operation{methodMix[rand.IntN(len(methodMix))], rand.IntN(keys), fmt.Sprintf("%d.%d", client, i)}
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(4) == 0 {
					go cancel()
				}
				call := clock.Add(1)
				output, err := run(ctx, store, op)
				ret := clock.Add(1)
				cancel()
				if err == nil {
					histories[client] = append(histories[client],
						porcupine.Operation{ClientId: client, Input: op, Output: output, Call: call, Return: ret})
				} else if !errors.Is(err, context.Canceled) {
					t.Errorf("%v: %v", op, err)
				}
			}
		})
	}
	wg.Wait()
	return slices.Concat(histories[:]...)
}

// run calls the method of op and returns its output.
func run(ctx context.Context, store *Store, op operation) (output string, err error) {
	key, value := strconv.Itoa(op.key), []byte(op.value)
	switch op.method {
	case "Get":
		value, _, err := store.Get(ctx, key)
		return string(value), err
	case "Put":
		return "", store.Put(ctx, key, value)
	case "Create":
		err = store.Create(ctx, key, value)
	case "Delete":
		found, err := store.Delete(ctx, key)
		return fmt.Sprint(found), err
	case "Clear":
		return "", store.Clear(ctx)
	}
	if errors.Is(err, ErrExists) {
		return err.Error(), nil
	}
	return "", err
}
