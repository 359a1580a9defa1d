package actor_test

import (
	"context"
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
