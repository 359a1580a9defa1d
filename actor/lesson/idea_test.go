package lesson_test

import (
	"fmt"
	"sync"
)

type request struct {
	key     string
	replyTo chan<- int
}

func own(requests <-chan request) {
	counts := make(map[string]int) // no other goroutine can reach this map
	for req := range requests {
		counts[req.key]++
		req.replyTo <- counts[req.key]
	}
}

func count(requests chan<- request, key string) int {
	replyTo := make(chan int, 1)
	requests <- request{key, replyTo}
	return <-replyTo
}

// The front page of the repository shows these two functions.
func Example() {
	requests := make(chan request)
	go own(requests)
	var visitors sync.WaitGroup
	for range 1000 {
		visitors.Go(func() { count(requests, "page") })
	}
	visitors.Wait()
	fmt.Println(count(requests, "page"))
	// Output: 1001
}
