// Race lets two goroutines write to one map. If each writes once, they seem to get
// away with it. If they go on, the runtime notices and ends the program.
package main

import (
	"fmt"
	"strings"
	"sync"
)

func main() {
	fmt.Println(columns)
	seats := make(map[string]string) // from a seat to its guest
	var guests sync.WaitGroup

	for _, name := range []string{"Ann", "Bob"} {
		guests.Go(func() {
			seats["1A"] = name
			say(name, "has written once")
		})
	}
	guests.Wait()
	say("main", "lets them go on")

	for _, name := range []string{"Ann", "Bob"} {
		guests.Go(func() {
			for {
				seats["1A"] = name
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
