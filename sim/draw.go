package sim

import "strconv"

// mix turns numbers into one that looks random: the same each time for the
// same arguments. It is the finalizer of SplitMix64 (Steele, Lea, Flood, “Fast
// splittable pseudorandom number generators”, OOPSLA 2014), once per argument.
func mix(words ...uint64) uint64 {
	var h uint64
	for _, w := range words {
		h += w + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// unit returns a number in [0, 1) made of h.
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// id returns the distinguishing part of an id: the same for the same seed and
// number.
func (a *API) id(n ...uint64) string {
	return "sim" + strconv.FormatUint(mix(append([]uint64{a.cfg.Seed, 'i', 'd'}, n...)...), 36)
}
