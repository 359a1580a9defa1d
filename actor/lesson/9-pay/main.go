// Pay is an owner that needs something slow: a goroutine for each order asks the bank.
package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

type order struct {
	name, seat string
	replyTo    chan string // capacity one: each order gets one reply
}

type answer struct { // of the bank
	*order // embedded: a.seat is the seat of the order
	paid   bool
}

var orders, leaves = make(chan *order), make(chan *order)    // from guests to the owner
var quit, stopped = make(chan struct{}), make(chan struct{}) // closed by main, by the owner

func own(in <-chan *order, end <-chan struct{}) {
	defer close(stopped)
	seats := make(map[string]*order) // the seats that are held or sold
	waits := make(map[*order]bool)   // the orders that the bank works on, and whether the guest still waits
	answers := make(chan answer)
	for in != nil || len(waits) > 0 {
		select {
		case o := <-in:
			if seats[o.seat] != nil {
				o.replyTo <- o.seat + " is taken"
				continue
			}
			say("owner", "holds", o.seat, "for", o.name)
			seats[o.seat], waits[o] = o, true // now, because others come before the answer
			go func() { answers <- answer{o, pay(o.name)} }()
		case o := <-leaves:
			if waits[o] { // otherwise o has its reply
				delete(seats, o.seat)
				waits[o] = false
				o.replyTo <- o.seat + " is given up"
			}
		case a := <-answers:
			switch {
			case waits[a.order] && a.paid:
				a.replyTo <- a.seat + " is yours"
			case waits[a.order]:
				delete(seats, a.seat)
				a.replyTo <- a.seat + " is not paid for"
			case a.paid: // after the guest has left
				say("owner", "owes money to", a.name)
			}
			delete(waits, a.order)
		case <-end:
			say("owner", "takes no more orders")
			in, end = nil, nil // switches both cases off; guests still have orders and quit
		}
	}
}

func pay(name string) (paid bool) {
	time.Sleep(4 * tick)
	paid = name != "Bob"
	say("bank", name, "pays:", paid)
	return paid
}

func book(ctx context.Context, name, seat string) string {
	say(name, "orders", seat)
	o := &order{name, seat, make(chan string, 1)}
	select {
	case orders <- o:
	case <-ctx.Done():
		return "gives up"
	case <-stopped:
		return "is too late"
	}
	select {
	case reply := <-o.replyTo:
		return reply
	case <-ctx.Done():
		say(name, "wants to leave")
	}
	select {
	case leaves <- o:
		return <-o.replyTo
	case reply := <-o.replyTo: // the owner was first, and may have ended
		return reply
	}
}

const tick = 150 * time.Millisecond

func main() {
	fmt.Println(columns)
	go own(orders, quit)
	patient := context.Background()
	go func() { say("Ann", book(patient, "Ann", "1A")) }()
	time.Sleep(tick)
	say("Bob", book(patient, "Bob", "1A"))
	say("Bob", book(patient, "Bob", "1B"))
	hasty, cancel := context.WithTimeout(patient, tick)
	defer cancel()
	say("Eve", book(hasty, "Eve", "1B"))
	time.AfterFunc(tick, func() { close(quit) })
	say("Ann", book(patient, "Ann", "1B"))
}

const columns = "owner                   bank                Ann                 Bob                 Eve"

// say prints text in the column of a goroutine.
func say(name string, text ...any) {
	fmt.Print(strings.Repeat(" ", strings.Index(columns, name)), fmt.Sprintln(text...))
}
