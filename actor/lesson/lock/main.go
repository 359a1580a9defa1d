// Lock guards the map with a mutex. Each call is safe now. Two calls are not one.
package main

import (
	"fmt"
	"sync"
	"sync/atomic"
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
	s := &store{seats: make(map[string]string)}
	var guests sync.WaitGroup

	for _, name := range []string{"Ann", "Bob"} {
		guests.Go(func() {
			for range 1000 {
				s.put("1A", name)
			}
		})
	}
	guests.Wait()
	fmt.Println("2000 puts, and no crash")

	var tickets atomic.Int64
	var checked sync.WaitGroup // makes both check before one of them acts
	checked.Add(2)
	for _, name := range []string{"Ann", "Bob"} {
		guests.Go(func() {
			if s.get("1B") == "" {
				fmt.Println(name, "sees that seat 1B is free")
				checked.Done()
				checked.Wait()
				s.put("1B", name)
				tickets.Add(1)
				fmt.Println(name, "takes seat 1B")
			}
		})
	}
	guests.Wait()
	fmt.Println("sold", tickets.Load(), "tickets for seat 1B")
}
