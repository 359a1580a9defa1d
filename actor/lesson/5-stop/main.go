// Stop ends the owner while callers use it. A closed channel tells each of them.
package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

type request struct {
	stop    bool // a request to stop gets no reply
	replyTo chan<- int
}

func own(requests <-chan request, stopped chan<- struct{}) {
	defer close(stopped) // wakes every goroutine that waits for it
	for tickets := 0; ; tickets++ {
		req := <-requests
		if req.stop {
			say("owner", "sold", tickets)
			return
		}
		req.replyTo <- tickets
	}
}

func buy(requests chan<- request, stopped <-chan struct{}) (ticket int, err error) {
	replyTo := make(chan int, 1)
	select {
	case requests <- request{replyTo: replyTo}:
		return <-replyTo, nil
	case <-stopped:
		return 0, errors.New("stopped")
	}
}

func main() {
	fmt.Println(columns)
	requests, stopped := make(chan request), make(chan struct{})
	go own(requests, stopped)
	var callers sync.WaitGroup
	for _, name := range []string{"Ann", "Bob", "Eve"} {
		callers.Go(func() {
			for tickets := 0; ; tickets++ {
				if _, err := buy(requests, stopped); err != nil {
					say(name, tickets, "tickets:", err)
					return
				}
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	say("main", "asks to stop")
	requests <- request{stop: true}
	<-stopped
	say("main", "sees: stopped")
	callers.Wait()
}

const columns = "owner          main            Ann                       Bob                       Eve"

// say prints text in the column of a goroutine.
func say(name string, text ...any) {
	fmt.Print(strings.Repeat(" ", strings.Index(columns, name)), fmt.Sprintln(text...))
}
