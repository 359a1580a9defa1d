// Slow lets the goroutines that serve guests write to a slow log themselves.
package main

import (
	"fmt"
	"sync"
	"time"
)

type log struct {
	mu sync.Mutex // hold it to write
}

func (l *log) print(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	time.Sleep(200 * time.Millisecond) // a slow writer
	fmt.Println("log:", line)
}

func main() {
	var l log
	var guests sync.WaitGroup
	start := time.Now()
	for _, name := range []string{"Ann", "Bob"} {
		guests.Go(func() {
			l.print(name + " books a seat")
			fmt.Println(name, "is served after", time.Since(start).Truncate(100*time.Millisecond))
		})
	}
	guests.Wait()
}
