// Lock guards the map with a mutex. Each call is safe now. Two calls are not one.
package main

import (
	"fmt"
	"strings"
	"sync"
)

type store struct {
	mu    sync.Mutex
	seats map[string]string // from a seat to its guest; lock mu before use
}

func (s *store) get(seat string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seats[seat]
}

func (s *store) put(seat, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seats[seat] = name
}

func main() {
	fmt.Println(columns)
	s := &store{seats: make(map[string]string)}
	var guests, checked sync.WaitGroup
	for _, name := range []string{"Ann", "Bob"} {
		guests.Go(func() {
			for range 1000 {
				s.put("1A", name)
			}
		})
	}
	guests.Wait()
	say("main", "2000 puts, no crash")

	checked.Add(2) // makes both check before one of them acts
	for _, name := range []string{"Ann", "Bob"} {
		guests.Go(func() {
			if s.get("1B") == "" {
				say(name, "sees that 1B is free")
				checked.Done()
				checked.Wait()
				s.put("1B", name)
				say(name, "has a ticket for 1B")
			}
		})
	}
	guests.Wait()
}

const columns = "main                    Ann                     Bob"

// say prints text in the column of a goroutine.
func say(name string, text ...any) {
	fmt.Print(strings.Repeat(" ", strings.Index(columns, name)), fmt.Sprintln(text...))
}
