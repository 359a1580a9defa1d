// Tokens counts with the obvious semaphore: a buffered channel that holds a token
// for each seat in use. Two guests that each hold half of what they need wait for
// each other forever.
package main

import (
	"fmt"
	"strings"
	"sync"
)

type token struct{}

var (
	semaphore = make(chan token, 4)
	half      sync.WaitGroup // makes the bad order happen every time
)

// acquire takes n seats, one by one.
func acquire(name string, n int) {
	for i := range n {
		if i == 2 {
			half.Done()
			half.Wait()
			say(name, "has 2 of", n, "and waits")
		}
		semaphore <- token{}
	}
	say(name, "has", n, "of", n)
}

// release gives n seats back.
func release(n int) {
	for range n {
		<-semaphore
	}
}

func main() {
	fmt.Println(columns)
	half.Add(2)
	var guests sync.WaitGroup
	for _, name := range []string{"Ann", "Bob"} {
		guests.Go(func() {
			acquire(name, 4)
			release(4)
		})
	}
	guests.Wait()
}

const columns = "Ann                     Bob"

// say prints text in the column of a goroutine.
func say(name string, text ...any) {
	fmt.Print(strings.Repeat(" ", strings.Index(columns, name)), fmt.Sprintln(text...))
}
