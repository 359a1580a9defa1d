// Race lets two goroutines write to one map. If each writes once, they seem to get
// away with it. If they go on, the runtime notices and ends the program.
package main

import (
	"fmt"
	"sync"
)

func main() {
	seats := make(map[string]string) // from a seat to its guest
	var guests sync.WaitGroup

	for _, name := range []string{"Ann", "Bob"} {
		guests.Go(func() { seats["1A"] = name })
	}
	guests.Wait()
	fmt.Println("each has written once")

	for _, name := range []string{"Ann", "Bob"} {
		guests.Go(func() {
			for {
				seats["1A"] = name
			}
		})
	}
	guests.Wait()
}
