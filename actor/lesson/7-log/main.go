// Log gives a slow writer to an owner, which writes several lines at once. No sender waits.
package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

var dropped atomic.Int64 // a number that goroutines may change at the same time

func log(lines chan<- int, burst ...int) { // never waits
	say("sender", "logs", burst)
	for _, line := range burst {
		select {
		case lines <- line:
		default:
			dropped.Add(1)
			say("sender", "drops", line)
		}
	}
}

func own(lines <-chan int, quit <-chan struct{}, ended chan<- struct{}) {
	defer close(ended)
	var batch []int
	var timer <-chan time.Time // nil while there is nothing to write
	write := func(why string) {
		say("owner", "writes", batch, why, "dropped:", dropped.Swap(0))
		time.Sleep(200 * time.Millisecond) // the writer is slow
		batch, timer = nil, nil
	}
	for {
		select {
		case line := <-lines:
			if batch = append(batch, line); len(batch) == 1 {
				timer = time.After(300 * time.Millisecond)
			} else if len(batch) == 3 {
				write("(a full batch)")
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
	fmt.Println(columns)
	lines, quit, ended := make(chan int, 4), make(chan struct{}), make(chan struct{})
	go own(lines, quit, ended)
	log(lines, 1)
	time.Sleep(600 * time.Millisecond)
	log(lines, 2, 3, 4)
	time.Sleep(100 * time.Millisecond) // now the owner writes
	log(lines, 5, 6, 7, 8, 9, 10)
	time.Sleep(400 * time.Millisecond)
	close(quit)
	<-ended
}

const columns = "sender                  owner"

// say prints text in the column of a goroutine.
func say(name string, text ...any) {
	fmt.Print(strings.Repeat(" ", strings.Index(columns, name)), fmt.Sprintln(text...))
}
