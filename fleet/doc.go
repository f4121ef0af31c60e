// Package fleet keeps the limits, pauses, breaker and retry budget of an
// organisation in one Redis or Valkey, for however many processes: twenty that
// each believe in the whole limit would hit it twenty times.
//
// It is not about who goes next within a process, or how many fly at once: that
// is decided in each of them, in front of it. What it does decide is whose turn
// it is among processes. A [Store] answers four questions, each in one
// round trip and by one script, so that no two processes see half of what a
// third has done:
//
//	Acquire ──► pause, breaker, budget, then every bucket of every group: all
//	            are charged, or none, and the exact wait is told. A short wait
//	            is booked ahead, so that nobody polls
//	Learn   ──► headers have come: limits and levels, for all
//	Content ──► a probe has brought content: it is good
//	Settle  ──► it has ended: what it cost, what it earned, what it says
//
// The state of everything asked about rides on every reply.
//
// # The line
//
// Where there is too little for all, turns go by start-time fair queueing. A
// flow is a process and a class; the classes of a group share it 8 : 4 : 1, and
// the processes that ask for a class share that equally, by the time that they
// take of the scarcest bucket.
//
//	Acquire ──► nobody is before it: granted, as soon as the wait is within Horizon
//	        ──► others are: granted if enough is left for all of them, and else
//	            told when there will be (ByLimit, ByTurn)
//	            ├─ asks then: has its turn, or is told anew if one that has had
//	            │  less has come meanwhile
//	            └─ half a second late, or Quit: the turn passes
//
// So a process asks with one attempt of each class at a time, and sleeps as
// long as it is told. What is given back meanwhile is noticed by who asks next:
// for output, of which the wait is a guess, look again after a second. A flow
// that was idle gets no credit for it. An attempt that is kept back by another
// group than the first waits for that outside of the line.
//
// There is no line while there is enough: it begins with the first that has to
// wait, or books ahead, and is forgotten five seconds after the last. Those who
// ask for [Bucket.Keep] take what is left over, and have no turn of their own
// for it.
//
// # A reservation
//
//	             Acquire              Settle
//	not known ────────────▶ open ───────────────▶ not known
//	    │                    │                        │
//	    │ Settle: nothing    │ an hour: forgotten,    │ Settle: nothing
//	    ▼                    ▼ and stays charged      ▼
//
// Its record is made by the script that charges, under an ID that the process
// has drawn, and is removed by the script that settles. So an acquire or a
// settle that is sent twice, or arrives late, or never, changes nothing that
// it must not: what is never settled stays charged, and refills. Output that
// is being produced is a flow with an end; a probe holds a lease; an attempt
// is counted as good after five seconds by whoever comes next. None of them
// needs the process that began it.
//
// # What holds
//
//   - In every window a bucket admits at most what it holds when full, and what
//     refills; and, where one attempt is larger than the bucket, that attempt.
//     Headers raise levels by no more than as much again.
//   - Nobody who comes when told is passed by those whose class and process have
//     had more. One that has gone holds up others until half a second after it
//     was to ask again. 256 flows have a place; more are served as they come.
//   - A level is at most the size of its bucket. A group is charged in all of
//     its buckets or in none.
//   - Time, which is the server's, does not go back: a clock that steps back
//     stands still, and one that has been set back is believed, without
//     refilling twice.
//   - The breaker opens by one script, once, with a new epoch. Results of an
//     earlier epoch change nothing. At most one probe goes out per 30 s while it
//     is open and three at once while it is half-open, for the whole fleet. See
//     package breaker for the states, which are the same.
//   - A bucket of which nobody knows the level begins with ten seconds of rate.
//
// # Without the store
//
//	shared ── five errors in a row, of 50 ms each at most ──▶ local
//	   ▲                                                        │
//	   │                                                    0.5 s, again
//	   │                                                        ▼
//	   └── 2.5 s ── held by both ◀── a bill ◀── a look answers ─┘
//
// While the store does not answer a process decides by itself, at once, with
// its share: 0.8 of the rate by the number of processes last seen, beginning at
// the level last seen by that number. Breaker and budget begin as they were
// last seen. What it grants so, in an outage or for a single answer that is
// lost, it bills to the store when that answers. Ends the store has missed are
// told to it then. Calls are never blocked by it, and never unlimited where a
// limit was known. [Store.Health] says what is wrong.
//
// Across all of that, in every window the fleet is granted at most what the
// bucket holds when full, and what refills, and
//
//   - what was on its way to the store, all attempts of each process, when that
//     went: it is granted by the share, and billed within moments;
//   - what the others were granted between the last answer that a process has
//     had and the outage, by the number of processes: of a fleet that takes all
//     it gets that is nothing, for the level it has heard of was empty.
//
// Account.go says how. A process that has had two errors in a row, and then an
// answer, is held as well: to others that may have been an outage. Not covered is
//
//   - a process that alone cannot reach the store, or is back more than 2.5 s
//     after the first: three looks in a row were lost, as on a machine that is
//     far too busy. The others hear nothing of its share, and take all. Until it
//     is back each such process adds what its share grants, 0.8 of the rate by
//     the number of processes, since the outage began; all of it is billed then.
//   - a process that had one call or none during the outage and takes much within
//     the second in which the others come back: it is held by the store alone.
//   - single answers that are lost for as long as the bill for them is too: until
//     it has come, within 0.3 s as a rule, a share grants on top.
//
// The scripts are in lua; the same rules in plain Go, in bucket.go, lane.go,
// line.go, memory.go, ending.go and learning.go, are the local share and what
// the scripts are tested against. docs/fleet.md is the page for operators, with
// the keys.
package fleet
