//go:build !prove

package limits

import "time"

// Real time, in make test: what answers take and buckets hold is a small part
// of what it is in make prove, so that five seconds are enough to empty these.
// While nothing is known of a limit so small, those who fly find out: a few of
// them are answered 429.
const (
	realWorkers = 24
	usedFor     = 5 * time.Second
	learnedBy   = 0 // a part of five seconds is a handful of calls
	realUsed    = 0.60
	realLearned = 0.60
	realRefused = 0.02
	realFew     = 8
)

var usedTempo = tempo{faster: 12, shorter: 15, burst: 2 * time.Second}

// A client that nobody knows of. It takes a bucket of fifteen requests before an
// answer can tell: those who have been let in by then are answered 429.
const (
	othersFrom  = 2 * time.Second
	othersSeen  = 4 * time.Second
	othersUntil = 9 * time.Second
	othersEnd   = 9 * time.Second
	othersFew   = 14
	othersLate  = 6
	othersLeave = 0.15
)

var othersTempo = usedTempo

// Of what a run of an API at its best may take a little longer to show.
const (
	healthyBy  = 6 * time.Second
	healthyFor = 7 * time.Second
)

// Five seconds are too short for what is learned under overload: this shows
// that calls are served through it and after it.
var realStorm = storm{
	workers: 30, slots: 6, token: 1250 * time.Microsecond, // 0.5 s
	from: time.Second, until: 4 * time.Second, end: 6 * time.Second,
	settles: time.Second, recovers: time.Second,
	goodput: 0.5, refused: 0.7, back: 0.1,
}

var realCrowd = crowd{
	rpm: 1200, answer: 500 * time.Millisecond, burst: time.Second, people: 7, jobs: 30,
	settled: 2 * time.Second, end: 5 * time.Second, slack: 500 * time.Millisecond,
}

var realRivals = rivals{
	itpm: 2_400_000, answer: 500 * time.Millisecond, burst: time.Second, a: 20, b: 40,
	settled: 1500 * time.Millisecond, end: 5 * time.Second, most: 0.65,
}
