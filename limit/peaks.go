package limit

// peaks remembers how full a bucket has been, for what is given back late.
//
// What an attempt reserved and did not use was there all along, but a bucket
// that is full does not refill: had it been known, the bucket would have been
// full earlier, and what refilled then would have been lost. So of an amount d
// that is given back of a reservation made at t, there is left
//
//	min(d, size − the highest level since t)
//
// and the levels since are then taken to have been higher by it, lest the same
// room be given twice. Without this a bucket gives out more in a window than
// its burst and rate allow (TestHistory_noWindowHoldsMore).
//
// It is kept as a row of records: the level at a time that was not reached
// again since, the oldest and highest first. Where there are too many,
// neighbours become one, the higher at the later time, which errs by giving
// back less.
type peaks struct {
	n      int
	at     [mostPeaks]tick
	levels [mostPeaks]float64
}

const mostPeaks = 16

// note records the level at t, which is about to fall.
func (p *peaks) note(t tick, level float64) {
	for p.n > 0 && p.levels[p.n-1] <= level {
		p.n--
	}
	if p.n == mostPeaks {
		p.halve()
	}
	p.at[p.n], p.levels[p.n] = t, level
	p.n++
}

func (p *peaks) halve() {
	for i := range mostPeaks / 2 {
		p.at[i], p.levels[i] = p.at[2*i+1], p.levels[2*i]
	}
	p.n = mostPeaks / 2
}

// since finds the first record after t; p.n if there is none. What was full at
// t itself has not lost any time yet.
func (p *peaks) since(t tick) int {
	i := p.n
	for i > 0 && p.at[i-1] > t {
		i--
	}
	return i
}

// give returns how much of d may be given back to a bucket of the given size
// and level, that has been reserved at t.
func (p *peaks) give(t tick, d, level, size float64) float64 {
	i := p.since(t)
	highest := level
	if i < p.n {
		highest = max(highest, p.levels[i])
	}
	d = max(0, min(d, size-highest))
	if d == 0 || i == p.n {
		return d
	}
	for j := i; j < p.n; j++ {
		p.levels[j] += d
	}
	keep := i
	for keep > 0 && p.levels[keep-1] <= p.levels[i] {
		keep--
	}
	if keep < i {
		copy(p.at[keep:], p.at[i:p.n])
		copy(p.levels[keep:], p.levels[i:p.n])
		p.n -= i - keep
	}
	return d
}
