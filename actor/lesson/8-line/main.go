// Line is an owner that may keep a request and reply later. Guests wait in line for seats.
package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

type claim struct {
	name    string
	seats   int
	granted chan bool // capacity one: the owner replies here, now or later
}

var claims, back = make(chan claim), make(chan claim)      // from guests to the owner
var quit, ended = make(chan struct{}), make(chan struct{}) // closed by main, by the owner

func own(free int) {
	defer close(ended)
	var line []claim // those who wait, in the order of arrival
	for {
		select {
		case c := <-claims:
			line = append(line, c)
			say("owner", c.name, "is in line")
		case c := <-back:
			if i := slices.Index(line, c); i >= 0 {
				line = slices.Delete(line, i, i+1)
			} else { // it was granted
				free += c.seats
			}
			say("owner", free, "free,", len(line), "in line")
		case <-quit:
			for _, c := range line {
				c.granted <- false
			}
			return
		}
		for len(line) > 0 && line[0].seats <= free { // grant to the first in line
			c := line[0]
			line, free = line[1:], free-c.seats
			say("owner", "grants", c.seats, "to", c.name)
			c.granted <- true // never blocks: a claim gets one reply
		}
	}
}

func send(to chan<- claim, c claim) (sent bool) {
	select {
	case to <- c:
		return true
	case <-ended:
		return false
	}
}

func visit(name string, seats int, patience, stay time.Duration) {
	say(name, "claims", seats)
	c := claim{name, seats, make(chan bool, 1)}
	if !send(claims, c) {
		return
	}
	select {
	case granted := <-c.granted: // no look at ended: the owner replies to all in line before it ends
		say(name, "granted:", granted)
		if !granted {
			return
		}
		time.Sleep(stay)
		say(name, "gives back", seats)
	case <-time.After(patience):
		say(name, "leaves")
	}
	send(back, c) // if c was granted while the guest left, this gives the seats back
}

func main() {
	fmt.Println(columns)
	go own(4)
	const tick = 150 * time.Millisecond
	go visit("Ann", 3, 9*tick, 4*tick)
	time.Sleep(tick)
	go visit("Bob", 2, 2*tick, 0)
	time.Sleep(tick)
	go visit("Eve", 1, 9*tick, 99*tick)
	time.Sleep(3 * tick)
	time.AfterFunc(tick, func() { close(quit) })
	visit("Ann", 4, 9*tick, 0)
}

const columns = "owner               Ann             Bob             Eve"

// say prints text in the column of a goroutine.
func say(name string, text ...any) {
	fmt.Print(strings.Repeat(" ", strings.Index(columns, name)), fmt.Sprintln(text...))
}
