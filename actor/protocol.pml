// The protocol of store.go in Promela, the language of the model checker Spin.
// Spin explores every order in which the steps of three callers, the owner and two
// calls of Stop can happen. TestProtocolModel runs it.
//
//	here                       in store.go
//	requests                   newStore: requests: make(chan request)
//	stopped                    newStore: stopped: make(chan struct{}); true if closed
//	replies[i]                 ask: replyTo := make(chan reply, 1)
//	Caller                     ask
//	Owner                      run, with effects[i]++ for the whole switch
//	Stop                       Stop
//
// Each of these switches changes the protocol in one place, and breaks guarantees:
//
//	BUFFERED    requests has a buffer. The owner ends with a request left in it,
//	            and the caller waits for a reply that never comes.
//	LATE        A caller may give up while it waits for the reply. It returns an
//	            error although its request takes effect.
//	NOCAP       replies has no capacity. The owner waits for a slow caller.
//	NOWAKE      A caller does not select on stopped. After Stop it waits forever.
//	REPLYFIRST  The owner replies before the effect. A caller returns before it.
//	UNCHECKED   A caller does not look at its context before it sends. It may send
//	            a request although its context was done before the call.
//
// To see it happen, let Spin search for the shortest way there and replay it. (Leave
// out -bfs for the guarantees that contain <>.)
//
//	spin -DLATE -run -bfs -ltl error_means_no_effect protocol.pml
//	spin -DLATE -t -p protocol.pml
//
// The model shows that the protocol keeps the guarantees at the end of this file,
// for three callers that ask once. It does not show that more callers or more
// requests are safe, that a caller gets its turn while others ask again and again,
// or what the table does: a reply with ErrFull or ErrExists is a reply
// like any other here, and its effect may be that nothing changes. It does not show
// that store.go follows the protocol either: see TestEveryOrder.

#define CALLERS 3

#ifdef BUFFERED
#define REQUESTS 1
#else
#define REQUESTS 0 // a send succeeds at the moment at which the owner receives
#endif

#ifdef NOCAP
#define REPLIES 0
#else
#define REPLIES 1
#endif

mtype = { ask, stop }                                           // opStop, or any other op
mtype = { idle, calling, cancelable, waiting, replied, failed } // where a caller is

chan requests = [REQUESTS] of { mtype, byte }                // the op and the caller
chan replies[CALLERS] = [REPLIES] of { bit }
bool stopped
mtype state[CALLERS] = idle

// The protocol does not use these. The guarantees do.
bool doneBefore[CALLERS] // the context of this caller was done before the call
bool received[CALLERS]   // the owner has received the request of this caller
byte effects[CALLERS]    // how often the request took effect
bool ownerWaits          // the owner could not send a reply at once
bool stopping            // Stop was called

active [CALLERS] proctype Caller() { // a caller's number is its _pid
	if
#ifndef UNCHECKED
	:: state[_pid] = failed // The context is done: if err := ctx.Err(); err != nil
#endif
	:: atomic {
			if
			:: state[_pid] = calling    // The context is never done,
			:: state[_pid] = cancelable // or it is done at some moment,
#ifdef UNCHECKED
			:: state[_pid] = cancelable; doneBefore[_pid] = true
#endif
			fi
		};
		if // select
		:: requests!ask(_pid) ->                           // case s.requests <- req:
			state[_pid] = waiting;
			if
			:: replies[_pid]?_ -> state[_pid] = replied    // return <-replyTo
#ifdef LATE
			:: state[_pid] = failed
#endif
			fi
		:: state[_pid] == cancelable -> state[_pid] = failed // case <-ctx.Done():
#ifndef NOWAKE
		:: stopped -> state[_pid] = failed                 // case <-s.stopped:
#endif
		fi
	fi
}

active proctype Owner() {
	byte i;
	do // If Stop is never called, the owner may wait here forever.
	:: atomic { requests?ask(i) -> received[i] = true }    // req := <-s.requests
#ifndef REPLYFIRST
		effects[i]++;                                      // switch req.op
#endif
		atomic {
			ownerWaits = len(replies[i]) >= REPLIES && state[i] != waiting;
			replies[i]!0                                   // req.replyTo <- rep
		}
#ifdef REPLYFIRST
		effects[i]++
#endif
	:: requests?stop(_) -> break                           // case opStop: return
	od;
	stopped = true                                         // defer close(s.stopped)
}

active [2] proctype Stop() {
	if
	:: stopping = true;
		if // select
		:: requests!stop(0)                                // case s.requests <- request{...}:
		:: stopped                                         // case <-s.stopped:
		fi;
		stopped                                            // <-s.stopped
	:: skip // Stop is never called
	fi
}

// The guarantees, with the names that store.go gives them. All callers are alike, so a
// guarantee that holds for caller 0 holds for every caller. [] means always, and <>
// means now or later. No run of the model is infinite, so nothing here depends on
// a fair scheduler.

#define once      (state[0] == replied && effects[0] == 1)
#define before    (state[0] == idle -> effects[0] == 0)
#define after     (state[0] == replied -> effects[0] == 1)
#define returned  (state[0] == replied || state[0] == failed)

ltl received_means_done   { [] (received[0] -> <> once) && [] (effects[0] <= received[0]) }
ltl error_means_no_effect { [] (state[0] == failed -> effects[0] == 0) && [] (doneBefore[0] -> !received[0]) }
ltl owner_never_waits     { [] !ownerWaits }
ltl linearizable          { [] (before && after) } // the effect is between call and return
ltl it_ends               { <> returned && [] (stopping -> <> stopped) }
