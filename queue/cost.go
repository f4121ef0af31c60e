package queue

// Dominant is the cost of a call in seconds of the scarcest bucket: what it
// takes of each bucket over what that one gets in a second, and of these the
// most (the dominant share of Ghodsi et al., NSDI 2011). A caller of long
// prompts and one of long answers are so measured by what each takes from the
// others. A bucket without a rate is no limit, and costs nothing; a call that
// no bucket limits costs 0.
func Dominant(cost, perSecond []float64) (seconds float64) {
	for i, c := range cost {
		if i < len(perSecond) && perSecond[i] > 0 {
			seconds = max(seconds, c/perSecond[i])
		}
	}
	return seconds
}
