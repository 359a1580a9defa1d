// Giveup shows when a caller may give up. Here, main plays the owner.
package main

import (
	"context"
	"fmt"
	"time"
)

type request struct {
	seat, name string
	replyTo    chan<- string
}

func book(ctx context.Context, requests chan<- request, seat, name string) {
	replyTo := make(chan string, 1)
	fmt.Println(name, "waits to send")
	select {
	case requests <- request{seat, name, replyTo}:
		fmt.Println(name, "has the reply:", <-replyTo)
	case <-ctx.Done():
		fmt.Println(name, "gives up:", ctx.Err())
	}
}

func main() {
	requests := make(chan request)
	// Before the owner receives, the caller may leave: nothing has happened.
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	book(ctx, requests, "1A", "Ann")

	// After the owner has received, the caller waits.
	ctx, cancel = context.WithCancel(context.Background())
	returned := make(chan struct{})
	go func() { book(ctx, requests, "1A", "Bob"); close(returned) }()
	req := <-requests
	fmt.Println("owner receives the request of", req.name)
	cancel()
	time.Sleep(300 * time.Millisecond)
	fmt.Println("owner replies, long after the context was canceled")
	req.replyTo <- "seat 1A is yours"
	<-returned

	// When both cases are ready, select chooses at random.
	buffered, sent := make(chan request, 1000), 0 // ready for each send
	for range cap(buffered) {
		select {
		case buffered <- request{}:
			sent++
		case <-ctx.Done():
		}
	}
	fmt.Println("of 1000 requests with a canceled context,", sent, "were sent")

	// With a buffer, the caller sends although no owner is there, and is stuck.
	ctx, cancel = context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	book(ctx, make(chan request, 1), "1A", "Eve")
}
