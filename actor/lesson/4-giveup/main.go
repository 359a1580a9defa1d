// Giveup shows when a caller may give up. Here, main plays the owner.
package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

type request struct {
	seat, name string
	replyTo    chan<- string
}

func book(ctx context.Context, requests chan<- request, seat, name string) {
	replyTo := make(chan string, 1)
	say(name, "waits to send")
	select {
	case requests <- request{seat, name, replyTo}:
		say(name, "has:", <-replyTo)
	case <-ctx.Done():
		say(name, "gives up:", ctx.Err())
	}
}

func main() {
	fmt.Println(columns)
	requests := make(chan request)

	// Before the owner receives, the caller may leave: nothing has happened.
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(300*time.Millisecond, cancel)
	book(ctx, requests, "1A", "Ann")

	// After the owner has received, the caller waits.
	ctx, cancel = context.WithCancel(context.Background())
	returned := make(chan struct{})
	go func() { book(ctx, requests, "1A", "Bob"); close(returned) }()
	req := <-requests
	say("owner", "receives from", req.name)
	cancel()
	say(req.name, "wants to leave, and waits")
	time.Sleep(300 * time.Millisecond) // the owner does not know, and takes its time
	say("owner", "replies to", req.name)
	req.replyTo <- req.seat + " is yours"
	<-returned
}

const columns = "owner                   Ann                     Bob"

// say prints text in the column of a goroutine.
func say(name string, text ...any) {
	fmt.Print(strings.Repeat(" ", strings.Index(columns, name)), fmt.Sprintln(text...))
}
