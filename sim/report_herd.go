package sim

import "time"

// Herd is how many retries come at once. Retries are attempts after the first
// of a call.
type Herd struct {
	Retries int `json:"retries"`

	// Index compares the retries of each tenth of a second with those of the
	// next: Σ(k[i]−k[i+1])² ÷ Σ(k[i]+k[i+1]), the mean over four ways to lay
	// the grid. If they come independently it is 1, however their rate changes
	// from second to second; if they come in packs of n it is n. 0 if there
	// are fewer than 20.
	Index float64 `json:"index"`

	// Share is the largest share of the retries of 10 s that came within a
	// tenth of a second in their middle. Where there are fewer than 20 in 10 s
	// nothing is compared; 0 if that is everywhere.
	Share float64 `json:"share"`
}

// What is taken for at once, and out of how many (guesses: a tenth of a second
// is short beside the usual first backoffs of 0.5 to 1 s; of 20 arrivals spread
// evenly over 10 s, six are hardly ever within it).
const (
	atOnce      = 100 * time.Millisecond
	herdWindow  = 10 * time.Second
	leastForAny = 20
)

// herdOf judges the times of retries, earliest first.
func herdOf(retries []time.Time) Herd {
	h := Herd{Retries: len(retries)}
	if len(retries) < leastForAny {
		return h
	}
	const grids = 4
	for i := range grids {
		h.Index += packs(retries, time.Duration(i)*atOnce/grids) / grids
	}
	h.Share = crowd(retries)
	return h
}

// packs is the index on one grid, which begins some time before the first.
// Multiplied out, it is (Σk[i]² − Σk[i]·k[i+1]) ÷ Σk[i].
func packs(times []time.Time, before time.Duration) float64 {
	squares, neighbours := 0, 0
	k, last := 0, int64(-1)
	for i := 0; i < len(times); {
		bin := int64((times[i].Sub(times[0]) + before) / atOnce)
		n := 0
		for ; i < len(times) && int64((times[i].Sub(times[0])+before)/atOnce) == bin; i++ {
			n++
		}
		squares += n * n
		if bin == last+1 {
			neighbours += k * n
		}
		k, last = n, bin
	}
	return ratio(squares-neighbours, len(times))
}

// crowd is the share of the worst tenth of a second.
func crowd(times []time.Time) float64 {
	worst := 0.0
	from, until, together := 0, 0, 0
	for i, t := range times {
		for t.Sub(times[from]) > herdWindow/2 {
			from++
		}
		for until < len(times) && times[until].Sub(t) < herdWindow/2 {
			until++
		}
		for together < len(times) && times[together].Sub(t) < atOnce {
			together++
		}
		if n := until - from; n >= leastForAny {
			worst = max(worst, ratio(together-i, n))
		}
	}
	return worst
}
