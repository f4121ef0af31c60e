package limit

import "time"

// ramp is the limit on how fast use may grow (ramp_limit_exceeded). Its size
// is not published. One capture names 58,276 tokens a minute growing by 10,000
// “at the next minute boundary” (claude-api reference, 2026), a sixth.
type ramp struct {
	rate    float64 // per second that is believed to pass now; 0 is no ramp
	growth  float64 // share per minute
	refused tick    // when it was last met

	minute     tick // begin of the minute that is counted
	used, last float64
}

const (
	rampGrowth    = 0.15 // per minute, at first; a guess just below the capture's 0.17
	rampGrowthMin = 0.04
	rampDepth     = 5                // seconds of rate that may be sent at once; a guess
	rampForget    = 15 * time.Minute // without being refused: the ramp has been climbed; a guess
)

// use counts what is charged, so that it is known what passed.
func (r *ramp) use(t tick, n float64) {
	if past := t - r.minute; past >= time.Minute {
		r.last = r.used
		if past >= 2*time.Minute {
			r.last = 0
		}
		r.used, r.minute = 0, t.Truncate(time.Minute)
	}
	r.used = max(0, r.used+n)
}

// lastMinute estimates what passed in the sixty seconds before t.
func (r *ramp) lastMinute(t tick) float64 {
	r.use(t, 0)
	return r.used + r.last*(1-(t-r.minute).Minutes())
}

// refuse goes back to what has passed, and grows more slowly from there.
func (r *ramp) refuse(t tick) {
	passed := max(r.lastMinute(t), 60) / 60
	switch {
	case r.rate == 0:
		r.growth = rampGrowth
		r.rate = passed
	default:
		r.growth = max(rampGrowthMin, r.growth/2)
		r.rate = min(passed, 0.9*r.rate)
	}
	r.refused = t
}

// grow lets the ramp rise, and end when it is no longer in the way.
func (r *ramp) grow(t tick, seconds, rate float64) {
	r.rate *= 1 + r.growth*seconds/60
	if t-r.refused > rampForget || rate > 0 && r.rate > 2*rate {
		r.rate = 0
	}
}
