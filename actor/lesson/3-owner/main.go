// Owner gives the map to one goroutine, the owner. Callers send requests to the
// owner, and the owner sends a reply to each of them.
package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

type request struct {
	seat, name string
	replyTo    chan<- string // on which the caller waits
}

// own is the owner.
func own(requests <-chan request) {
	seats := make(map[string]string) // no other goroutine can reach it

	for req := range requests {
		say("owner", "receives from", req.name)
		time.Sleep(200 * time.Millisecond) // so that you can watch

		reply := req.seat + " is taken"
		if seats[req.seat] == "" {
			seats[req.seat] = req.name
			reply = req.seat + " is yours"
		}

		say("owner", "replies to", req.name)
		req.replyTo <- reply
	}
}

// book is called by the callers.
func book(requests chan<- request, seat, name string) string {
	replyTo := make(chan string, 1) // the owner leaves the reply here and moves on
	say(name, "waits to send")
	requests <- request{seat, name, replyTo}
	return <-replyTo
}

func main() {
	fmt.Println(columns)
	requests := make(chan request)
	go own(requests)

	var callers sync.WaitGroup
	for _, name := range []string{"Ann", "Bob"} {
		callers.Go(func() { say(name, "has:", book(requests, "1A", name)) })
	}
	callers.Wait()
}

const columns = "owner                   Ann                     Bob"

// say prints text in the column of a goroutine.
func say(name string, text ...any) {
	fmt.Print(strings.Repeat(" ", strings.Index(columns, name)), fmt.Sprintln(text...))
}
