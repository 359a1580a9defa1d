package actor_test

import (
	"context"
	"errors"
	"fmt"

	"kvactor/actor"
)

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	store := actor.New(1 << 20)
	go store.Run(ctx) // the owner

	if err := store.Put(ctx, "user:1", []byte("Ada")); err != nil {
		fmt.Println(err)
	}
	value, found, err := store.Get(ctx, "user:1")
	fmt.Printf("%s %t %v\n", value, found, err)
	// Output: Ada true <nil>
}

// One who gives up before the owner has received the request gets an error, and
// the request never takes effect.
func Example_givingUp() {
	store := actor.New(1 << 20) // nobody runs it yet

	ctx, giveUp := context.WithCancel(context.Background())
	refused := make(chan error)
	go func() { refused <- store.Put(ctx, "user:1", []byte("Ada")) }()
	giveUp()
	fmt.Println(<-refused)

	go store.Run(context.Background())
	_, found, err := store.Get(context.Background(), "user:1")
	fmt.Println(found, err)
	// Output:
	// context canceled
	// false <nil>
}

// The context of Run is that of the owner, not of its callers. When it ends,
// they are refused.
func Example_stopping() {
	running, stop := context.WithCancel(context.Background())
	store := actor.New(1 << 20)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		store.Run(running)
	}()

	stop()
	<-stopped
	err := store.Put(context.Background(), "user:1", []byte("Ada"))
	fmt.Println(errors.Is(err, actor.ErrStopped))
	// Output: true
}

// The owner counts bytes as well: an invariant over the whole map, which needs
// no lock.
func ExampleStore_Put_full() {
	ctx := context.Background()
	store := actor.New(200) // enough for one entry, and not for two
	go store.Run(ctx)

	fmt.Println(store.Put(ctx, "user:1", []byte("Ada")))
	fmt.Println(errors.Is(store.Put(ctx, "user:2", []byte("Grace")), actor.ErrFull))
	fmt.Println(store.Put(ctx, "user:1", []byte("Ada Lovelace")))
	// Output:
	// <nil>
	// true
	// <nil>
}
