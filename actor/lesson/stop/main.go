// Stop ends the owner while callers use it. A closed channel tells each of them.
package main

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

type request struct {
	seat, name string
	stop       bool // a request to stop gets no reply
	replyTo    chan<- string
}

func own(requests <-chan request, stopped chan<- struct{}) {
	defer close(stopped) // wakes every goroutine that waits for it
	seats := make(map[string]string)
	for replies := 0; ; replies++ {
		req := <-requests
		if req.stop {
			fmt.Println("owner stops after", replies, "replies")
			return
		}
		seats[req.seat] = req.name
		req.replyTo <- "seat " + req.seat + " is yours"
	}
}

func book(requests chan<- request, stopped <-chan struct{}, seat, name string) (string, error) {
	replyTo := make(chan string, 1)
	select {
	case requests <- request{seat: seat, name: name, replyTo: replyTo}:
		return <-replyTo, nil
	case <-stopped:
		return "", errors.New("the owner has stopped")
	}
}

func main() {
	requests, stopped := make(chan request), make(chan struct{})
	go own(requests, stopped)
	var callers sync.WaitGroup
	for _, name := range []string{"Ann", "Bob", "Eve"} {
		callers.Go(func() {
			for replies := 0; ; replies++ {
				if _, err := book(requests, stopped, "1A", name); err != nil {
					fmt.Println(name, "got", replies, "replies, and then:", err)
					return
				}
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	requests <- request{stop: true}
	<-stopped
	fmt.Println("main knows that the owner has ended")
	callers.Wait()
}
