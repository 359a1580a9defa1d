// Owner gives the map to one goroutine, the owner. Callers send requests to the
// owner, and the owner sends a reply to each of them.
package main

import (
	"fmt"
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
		fmt.Println("owner receives the request of", req.name)
		time.Sleep(200 * time.Millisecond) // so that you can watch

		reply := "seat " + req.seat + " is taken"
		if seats[req.seat] == "" {
			seats[req.seat] = req.name
			reply = "seat " + req.seat + " is yours"
		}

		fmt.Println("owner replies to", req.name)
		req.replyTo <- reply
	}
}

// book is called by the callers.
func book(requests chan<- request, seat, name string) string {
	replyTo := make(chan string, 1) // the owner leaves the reply here and moves on
	fmt.Println(name, "waits to send")
	requests <- request{seat, name, replyTo}
	return <-replyTo
}

func main() {
	requests := make(chan request)
	go own(requests)

	var callers sync.WaitGroup
	for _, name := range []string{"Ann", "Bob"} {
		callers.Go(func() {
			fmt.Println(name, "has the reply:", book(requests, "1A", name))
		})
	}
	callers.Wait()
}
