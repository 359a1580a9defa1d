package actor_test

import (
	"context"
	"errors"
	"fmt"

	"kvactor/actor"
)

func Example() {
	ctx := context.Background()
	store := actor.New(1 << 20)
	go store.Run() // the owner
	defer store.Stop()

	if err := store.Put(ctx, "user:1", []byte("Ada"), 0); err != nil {
		fmt.Println(err)
	}
	value, found, err := store.Get(ctx, "user:1")
	defer store.Release(value)
	fmt.Printf("%s %t %v\n", value, found, err)
	// Output: Ada true <nil>
}

// A caller may give up while it waits for the owner. It gets an error, and its
// request never takes effect.
func Example_givingUp() {
	store := actor.New(1 << 20) // Run is not called yet, so nothing is received

	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error)
	go func() { failed <- store.Put(ctx, "user:1", []byte("Ada"), 0) }()
	cancel()
	fmt.Println(<-failed)

	go store.Run()
	defer store.Stop()
	_, found, err := store.Get(context.Background(), "user:1")
	fmt.Println(found, err)
	// Output:
	// context canceled
	// false <nil>
}

// Stop waits until the owner has ended. Later calls return an error.
func ExampleStore_Stop() {
	store := actor.New(1 << 20)
	go store.Run()
	store.Stop()

	err := store.Put(context.Background(), "user:1", []byte("Ada"), 0)
	fmt.Println(errors.Is(err, actor.ErrStopped))
	// Output: true
}

// The owner counts the memory of all entries. The sum belongs to the owner like the
// map, so it always fits the map.
func ExampleStore_Put_full() {
	ctx := context.Background()
	store := actor.New(200) // enough for one small entry, and not for two
	go store.Run()
	defer store.Stop()

	fmt.Println(store.Put(ctx, "user:1", []byte("Ada"), 0))
	fmt.Println(errors.Is(store.Put(ctx, "user:2", []byte("Grace"), 0), actor.ErrFull))
	fmt.Println(store.Put(ctx, "user:1", []byte("Ada Lovelace"), 0))
	// Output:
	// <nil>
	// true
	// <nil>
}

// A caller that receives a large value from elsewhere reserves space before it takes
// the value into memory.
func ExampleStore_Reserve() {
	ctx := context.Background()
	store := actor.New(1 << 20)
	go store.Run()
	defer store.Stop()

	const size = 64 << 10
	if err := store.Reserve(ctx, size); err != nil {
		fmt.Println(err)
		return
	}
	value := make([]byte, size) // read from a file or a connection
	if err := store.Put(ctx, "photo:1", value, size); err != nil {
		fmt.Println(err)
		store.Unreserve(size)
	}
	// Output:
}
