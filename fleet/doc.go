// Package fleet keeps the limits, pauses, breaker and retry budget of an
// organisation in one Redis or Valkey, for however many processes: twenty that
// each believe in the whole limit would hit it twenty times.
//
// It is not about who goes next, or how many fly at once: that is decided in
// each process, in front of it. A [Store] answers four questions, each in one
// round trip and by one script, so that no two processes see half of what a
// third has done:
//
//	Acquire ──► pause, breaker, budget, then every bucket of every group: all
//	            are charged, or none, and the exact wait is told. A short wait
//	            is booked ahead, so that nobody polls, and nobody is overtaken
//	Learn   ──► headers have come: limits and levels, for all
//	Content ──► a probe has brought content: it is good
//	Settle  ──► it has ended: what it cost, what it earned, what it says
//
// The state of everything asked about rides on every reply.
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
//	   │                                                     1 s, again
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
//   - what was on its way to the store, for each process, when that went: it is
//     granted by the share, and billed within moments;
//   - what the others were granted between the last answer that a process has
//     had and the outage, by the number of processes: of a fleet that takes all
//     it gets that is nothing, for the level it has heard of was empty.
//
// Account.go says how. Not covered is a process that alone cannot reach the
// store: the others hear nothing of its share, and take all. Nor is one that
// had no call during the outage and takes much within the second and a half in
// which the others come back: it is held by the store alone.
//
// The scripts are in lua; the same rules in plain Go, in bucket.go, lane.go,
// memory.go, ending.go and learning.go, are the local share and what the
// scripts are tested against. docs/fleet.md is the page for operators, with
// the keys.
package fleet
