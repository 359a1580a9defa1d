// Batch gives the slow writer to an owner, which writes several lines at once.
package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

var dropped atomic.Int64 // lines that did not fit

func log(lines chan<- string, line string) { // never waits
	select {
	case lines <- line:
	default:
		dropped.Add(1)
		fmt.Println("line", line, "is dropped")
	}
}

func own(lines <-chan string, quit <-chan struct{}, ended chan<- struct{}) {
	defer close(ended)
	var batch []string
	var timer <-chan time.Time // nil while there is nothing to write
	write := func(reason string) {
		fmt.Println("owner writes", batch, reason, "dropped:", dropped.Swap(0))
		time.Sleep(200 * time.Millisecond) // the writer is slow
		batch, timer = nil, nil
	}
	for {
		select {
		case line := <-lines:
			if batch = append(batch, line); len(batch) == 1 {
				timer = time.After(300 * time.Millisecond)
			} else if len(batch) == 3 {
				write("(the batch is full)")
			}
		case <-timer: // not while timer is nil
			write("(the time is up)")
		case <-quit:
			for len(lines) > 0 { // no other goroutine receives: the lines are there
				batch = append(batch, <-lines)
			}
			write("(the end)")
			return
		}
	}
}

func main() {
	lines, quit, ended := make(chan string, 4), make(chan struct{}), make(chan struct{})
	go own(lines, quit, ended)
	pause := map[int]int{1: 600, 4: 100, 10: 400} // milliseconds, after these lines
	for n := 1; n <= 10; n++ {
		log(lines, fmt.Sprint(n))
		time.Sleep(time.Duration(pause[n]) * time.Millisecond)
	}
	close(quit)
	<-ended
}
