// Pay lets a goroutine ask a slow bank, while the owner of the seats serves others.
package main

import (
	"fmt"
	"time"
)

type request struct {
	seat, name string
	replyTo    chan<- string
}

func own(requests <-chan request) {
	seats := make(map[string]string)
	paid := make(chan request) // from the goroutines that ask the bank
	for {
		select {
		case req := <-requests:
			if seats[req.seat] != "" {
				req.replyTo <- "seat " + req.seat + " is taken"
				continue
			}
			seats[req.seat] = "not paid" // so that no other guest gets the seat
			go func() {
				askBank(req.name)
				paid <- req
			}()
		case req := <-paid:
			seats[req.seat] = req.name
			req.replyTo <- "seat " + req.seat + " is yours"
		}
	}
}

func askBank(name string) {
	fmt.Println("the bank waits for the money of", name)
	time.Sleep(500 * time.Millisecond)
	fmt.Println("the bank has the money of", name)
}

func book(requests chan<- request, seat, name string) {
	replyTo := make(chan string, 1)
	fmt.Println(name, "asks for seat", seat)
	requests <- request{seat, name, replyTo}
	fmt.Println(name, "has the reply:", <-replyTo)
}

func main() {
	requests := make(chan request)
	go own(requests)
	ended := make(chan struct{})
	go func() { book(requests, "1A", "Ann"); close(ended) }()
	time.Sleep(200 * time.Millisecond) // until the bank works on it
	book(requests, "1A", "Bob")
	<-ended
}
