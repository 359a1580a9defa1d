// Tokens counts with the obvious semaphore: a buffered channel that holds a token
// for each unit in use. Two goroutines that each hold half of what they need wait
// for each other forever.
package main

import (
	"fmt"
	"sync"
)

type token struct{}

var (
	semaphore = make(chan token, 4)
	half      sync.WaitGroup // makes the bad order happen every time
)

// acquire takes n units, one by one.
func acquire(name string, n int) {
	for i := range n {
		if i == 2 {
			half.Done()
			half.Wait()
			fmt.Println(name, "has 2 of", n, "and waits")
		}
		semaphore <- token{}
	}
	fmt.Println(name, "has", n, "of", n)
}

// release gives n units back.
func release(n int) {
	for range n {
		<-semaphore
	}
}

func main() {
	half.Add(2)
	var wg sync.WaitGroup
	for _, name := range []string{"Ann", "Bob"} {
		wg.Go(func() {
			acquire(name, 4)
			release(4)
		})
	}
	wg.Wait()
}
