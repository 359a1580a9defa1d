package actor_test

import (
	"context"
	"errors"
	"fmt"

	"kvactor/actor"
)

func Example() {
	ctx := context.Background()
	store := actor.New(1 << 20) // starts the owner
	defer store.Stop()

	if err := store.Put(ctx, "user:1", []byte("Ada")); err != nil {
		fmt.Println(err)
	}
	value, found, err := store.Get(ctx, "user:1")
	fmt.Printf("%s %t %v\n", value, found, err)
	// Output: Ada true <nil>
}

// A hundred goroutines create the same key at once. One of them succeeds.
func ExampleStore_Create() {
	ctx := context.Background()
	store := actor.New(1 << 20)
	defer store.Stop()

	errs := make(chan error)
	for i := range 100 {
		go func() { errs <- store.Create(ctx, "leader", fmt.Append(nil, i)) }()
	}
	created, exists := 0, 0
	for range 100 {
		switch err := <-errs; {
		case err == nil:
			created++
		case errors.Is(err, actor.ErrExists):
			exists++
		}
	}
	fmt.Println(created, exists)
	// Output: 1 99
}
