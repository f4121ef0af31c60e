package tokens

import "math"

// scale is what has been learned about a model: a factor for each class of
// bytes, by recursive least squares. A scale does not change; learning makes
// another.
//
// One observation says: the texts of a request, estimated to have p tokens,
// had r·p. With h the shares of the classes in p that is r = h·s + noise, a
// line in the factors s. Working in ratios makes requests of all sizes equal.
type scale struct {
	s      vector  // factors
	p      matrix  // their covariance
	n      int     // observations taken
	odd    int     // surprises in a row, negative if below what was expected
	bound  float64 // how many deviations hold 99 % of what was seen
	spread float64 // at most of the factors, in bounds
	check  uint32  // of the table the factors belong to
}

// classes are the parts of [Sums], in its order.
const classes = 5

type (
	vector [classes]float64
	matrix [classes]vector
)

// Constants of learning, measured by simulation on several tokenizers; those
// for a known family make the first requests as good as the table, those for
// an unknown one let a handful of requests move everything.
const (
	knownEach, knownAll     = 0.05, 0.05 // deviation of factors before anything is seen: each, and all together
	unknownEach, unknownAll = 0.2, 0.4
	forgetting              = 0.001 // how much of what is known is given up per observation
	noise                   = 0.025 // deviation of large requests around their estimate
	grain                   = 0.8   // deviation of small ones, times the root of their tokens
	clip                    = 4     // deviations beyond which an observation is a surprise, and weighs no more
	absurd                  = 30    // deviations beyond which it is no observation of this traffic
	patience                = 3     // surprises in a row, to one side, that a changed tokenizer makes
	slowest, fastest        = 0.3, 4.0
)

// The bound of an estimate, in deviations: where it begins, how far it may go,
// and how fast it follows.
const (
	bound0              = 3.0
	boundMin, boundMax  = 2.2, 6.0
	boundRate, boundOut = 0.1, 0.01 // share of observations that may lie outside

	// What is not known of the factors widens a bound by no more than this: the
	// tokenizers that are known lie 30 % apart, and tables do their own within 3 %.
	knownSpread, unknownSpread = 0.03, 0.12
)

// prior is the scale of a model that nothing has been learned about.
func prior(t *table, known bool) *scale {
	sc := &scale{bound: bound0, spread: knownSpread, check: t.check}
	each, all := knownEach, knownAll
	if !known {
		sc.spread = unknownSpread
		each, all = unknownEach, unknownAll
	}
	for i := range sc.s {
		sc.s[i] = 1
	}
	sc.p = spreadOver(each, all)
	return sc
}

// spreadOver is the covariance of factors of which each is uncertain by itself,
// and all together.
func spreadOver(each, all float64) (p matrix) {
	for i := range p {
		for j := range p[i] {
			p[i][j] = all * all
		}
		p[i][i] += each * each
	}
	return p
}

// settled is the covariance that forgetting returns to, little by little. To
// divide by a constant instead, as is usual, would wind up whatever a traffic
// of one sort does not tell apart, until noise has driven factors to their ends.
var settled = spreadOver(knownEach, knownAll)

// vector of the classes.
func (s Sums) vector() vector { return vector{s.Letters, s.Digits, s.Signs, s.Wide, s.Raw} }

func dot(a, b *vector) (d float64) {
	for i := range a {
		d += a[i] * b[i]
	}
	return d
}

// texts is the estimate of the texts of a request, and its relative deviation:
// what is not known of the factors, and the noise of requests of this size.
func (sc *scale) texts(s Sums) (tokens, deviation float64) {
	v := s.vector()
	p := s.Total()
	if p <= 0 {
		return 0, 0
	}
	tokens = dot(&v, &sc.s)
	for i := range v {
		v[i] /= p
	}
	return tokens, math.Sqrt(min(sc.p.along(&v), sq(sc.spread)) + noiseOf(p))
}

// noiseOf is the variance of the ratio of a request of p tokens.
func noiseOf(p float64) float64 { return noise*noise + grain*grain/max(p, 1) }

// along is the variance of the ratio of a request with the shares h.
func (p *matrix) along(h *vector) float64 {
	ph := p.times(h)
	return max(0, dot(h, &ph))
}

func (p *matrix) times(h *vector) (v vector) {
	for i := range p {
		v[i] = dot(&p[i], h)
	}
	return v
}

// learn returns the scale after texts that were estimated as s have been seen
// to have so many tokens; taught is false if only a surprise was counted.
func (sc *scale) learn(s Sums, tokens float64) (next *scale, taught bool) {
	p := s.Total()
	h := s.vector()
	for i := range h {
		h[i] /= p
	}
	c := *sc
	e := tokens/p - dot(&h, &c.s)
	variance := c.p.along(&h) + noiseOf(p)
	z := e / math.Sqrt(variance)
	if c.surprised(z) {
		// Another tokenizer: what was known is a beginning at best.
		c.p = spreadOver(unknownEach, unknownAll)
		variance = c.p.along(&h) + noiseOf(p)
		c.n, c.spread = 0, unknownSpread
	} else if math.Abs(z) > absurd {
		return &c, false
	}
	c.follow(math.Abs(z))
	most := clip * math.Sqrt(variance)
	c.update(&h, min(max(e, -most), most), variance)
	c.n++
	return &c, true
}

// surprised counts surprises to one side, and reports when there were enough.
func (sc *scale) surprised(z float64) bool {
	switch {
	case z > clip:
		sc.odd = max(sc.odd, 0) + 1
	case z < -clip:
		sc.odd = min(sc.odd, 0) - 1
	default:
		sc.odd = 0
	}
	if sc.odd < patience && sc.odd > -patience {
		return false
	}
	sc.odd = 0
	return true
}

// follow moves the bound to where 99 % of the deviations stay within it.
func (sc *scale) follow(z float64) {
	step := -boundRate * boundOut
	if z > sc.bound {
		step = boundRate * (1 - boundOut)
	}
	sc.bound = min(max(sc.bound+step, boundMin), boundMax)
}

// update is the step of recursive least squares.
func (sc *scale) update(h *vector, e, variance float64) {
	ph := sc.p.times(h)
	for i := range sc.s {
		sc.s[i] = min(max(sc.s[i]+ph[i]/variance*e, slowest), fastest)
	}
	for i := range sc.p {
		for j := range sc.p[i] {
			sc.p[i][j] -= ph[i] * ph[j] / variance
			sc.p[i][j] += forgetting * (settled[i][j] - sc.p[i][j])
		}
	}
}

// sound tells whether a scale, read from elsewhere, can be worked with.
func (sc *scale) sound() bool {
	for i := range sc.s {
		if !(sc.s[i] >= slowest && sc.s[i] <= fastest) || !(sc.p[i][i] > 0 && sc.p[i][i] <= sq(unknownEach)+sq(unknownAll)) {
			return false
		}
		for j := range sc.p[i] {
			if a := sc.p[i][j]; a != sc.p[j][i] || !(a*a <= sc.p[i][i]*sc.p[j][j]*1.001) {
				return false
			}
		}
	}
	if !(sc.spread > 0 && sc.spread <= unknownSpread) {
		return false
	}
	return sc.bound >= boundMin && sc.bound <= boundMax && sc.n >= 0 && sc.odd > -patience && sc.odd < patience
}
