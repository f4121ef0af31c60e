//go:build prove

package limits

import "time"

// Real time, in make prove. Answers take some 6 s, with buckets that hold as
// much of a minute as that is of the 18 s of the virtual runs.
const (
	realWorkers = 200
	usedFor     = 10 * time.Minute // so that the seconds at its ends count little
	learnedBy   = time.Minute
	realUsed    = 0.99
	realLearned = 0.97
	realRefused = 0.005
	realFew     = 0
)

var usedTempo = tempo{faster: 3, shorter: 15, scarce: 3, burst: 20 * time.Second}

// A client that nobody knows of.
const (
	othersFrom  = 45 * time.Second
	othersSeen  = 10 * time.Second
	othersUntil = 105 * time.Second
	othersEnd   = 2 * time.Minute
	othersFew   = 1 // of some fifty attempts
	othersLate  = 0
	othersLeave = 0.45 // strangers call at random: they take up to 45 %
)

var othersTempo = usedTempo

const (
	healthyBy  = 5 * time.Second
	healthyFor = time.Minute
)

var realStorm = storm{
	workers: 100, slots: 20, token: 25 * time.Millisecond, // 10 s
	from: 30 * time.Second, until: 2 * time.Minute, end: 165 * time.Second,
	settles: 30 * time.Second, recovers: 15 * time.Second,
	goodput: 0.95, refused: 0.10, back: 0.95,
}

var realCrowd = crowd{
	rpm: 600, answer: 10 * time.Second, burst: 10 * time.Second, people: 70, jobs: 300,
	settled: time.Minute, end: 150 * time.Second, slack: time.Second,
}

var realRivals = rivals{
	itpm: 1_200_000, answer: 2 * time.Second, burst: 10 * time.Second, a: 40, b: 200,
	settled: 30 * time.Second, end: 100 * time.Second, most: 0.525,
}
