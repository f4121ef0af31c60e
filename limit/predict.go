package limit

import "math"

// Predictor says what calls are likely to cost, from what calls like them
// have cost: of the same model, the same tag of the caller, and the same order
// of size. It is a fixed amount of memory per kind of call, and forgets the
// kinds that were used longest ago. It is not safe for concurrent use.
type Predictor struct {
	routes *lru[routeKey, *history]
}

// maxRoutes bounds the kinds of calls: 256 tags may be live, each with a
// handful of sizes. A history is a kilobyte.
const maxRoutes = 4096

// NewPredictor returns a predictor that has seen nothing.
func NewPredictor() *Predictor {
	return &Predictor{newLRU(func(h *history) *node[routeKey] { return &h.node })}
}

// Route is what is known of a call before it is sent.
type Route struct {
	Model, Tag string
	MaxTokens  int // 0 if it was not said
	Input      int // estimated tokens, all of it
}

// Expectation is what a call is likely to cost.
type Expectation struct {
	Input  int     // that counts against limits: at most one call in a hundred takes more
	Reads  int     // that is expected to be read from the cache on top of it
	Output int     // at most one call in ten produces more
	Pace   float64 // tokens of output per second
}

// Past is what a call has cost.
type Past struct {
	Input   int // that counted: neither read from the cache nor unknown
	Reads   int
	Output  int
	Whole   bool    // the answer is whole, so that Output is how long it wanted to be
	Seconds float64 // from sending it to the end of its answer
}

// What is expected while little has been seen.
const (
	unseenOutput = 1024 // or max_tokens, if that is less; a guess
	unseenPace   = 80   // tokens per second, more than most models make; a guess
	enough       = 12   // calls that are worth more than a guess
	outputShare  = 0.90 // of calls produce at most what is expected
	inputShare   = 0.99 // of calls count at most what is expected: who takes more is refused
	unit         = 1024 // ratios are kept in whole numbers of 1/unit
)

// Expect returns what a call is likely to cost.
func (p *Predictor) Expect(r Route) Expectation {
	r.Input = max(0, r.Input)
	own, _ := p.routes.get(keyOf(r))
	all, _ := p.routes.get(routeKey{model: r.Model})
	e := Expectation{Input: r.Input, Output: unseenOutput, Pace: unseenPace}
	if r.MaxTokens > 0 {
		e.Output = min(r.MaxTokens, unseenOutput)
	}
	h := own
	if h == nil || h.output.weight < enough {
		h = all
	}
	if h == nil || h.output.weight < enough {
		return e
	}
	e.Output = int(math.Ceil(h.output.expected))
	if r.MaxTokens > 0 {
		e.Output = min(e.Output, r.MaxTokens)
	}
	if h.seconds > 0 {
		e.Pace = h.tokens / h.seconds
	}
	if h.counted.weight >= enough {
		e.Input = int(math.Ceil(float64(r.Input) * h.counted.expected / unit))
		e.Reads = int(float64(r.Input) * h.readShare)
	}
	return e
}

// Learn tells what a call has cost. r is what Expect was asked.
func (p *Predictor) Learn(r Route, was Past) {
	was.Input, was.Reads, was.Output = max(0, was.Input), max(0, was.Reads), max(0, was.Output)
	p.history(keyOf(r)).learn(r, was)
	if k := (routeKey{model: r.Model}); k != keyOf(r) {
		p.history(k).learn(r, was)
	}
}

func (p *Predictor) history(k routeKey) *history {
	if h, ok := p.routes.get(k); ok {
		return h
	}
	h := &history{output: quantile{share: outputShare}, counted: quantile{share: inputShare}}
	p.routes.put(k, h)
	p.routes.trim(maxRoutes, func(*history) bool { return false })
	return h
}

// routeKey is a kind of call. Calls of very different max_tokens, or with very
// different prompts, are answered at different lengths.
type routeKey struct {
	model, tag string
	size       uint8 // 0 is all sizes and tags of a model together
}

func keyOf(r Route) routeKey {
	return routeKey{r.Model, r.Tag, 1 + 8*magnitude(r.MaxTokens, 256) + magnitude(r.Input, 1000)}
}

// magnitude is how many times n is eight times as large, up to 7.
func magnitude(n, unit int) (m uint8) {
	for ; n > unit && m < 7; m++ {
		n /= 8
	}
	return m
}

// history is how calls of one kind have gone.
type history struct {
	node[routeKey]
	output  quantile
	counted quantile // input that counted, in 1/unit of what was estimated
	// Sums that fade, for means.
	tokens, seconds float64
	readShare       float64 // of the estimate
}

// fade is the weight of what came before each new call: half of the weight is
// on the last 90 of them. A guess between noise and news.
const fade = 1 - 1./128

func (h *history) learn(r Route, was Past) {
	if was.Whole {
		h.output.add(float64(was.Output))
	}
	if was.Output > 0 && was.Seconds > 0 && was.Seconds < 1e6 {
		h.tokens = h.tokens*fade + float64(was.Output)
		h.seconds = h.seconds*fade + was.Seconds
	}
	if r.Input > 0 && was.Input+was.Reads > 0 {
		h.counted.add(unit * float64(was.Input) / float64(r.Input))
		share := min(1, float64(was.Reads)/float64(r.Input))
		h.readShare += (share - h.readShare) * (1 - fade) * 4
	}
}

// quantile estimates a quantile of a stream in fixed memory: a histogram whose
// steps grow by a fifth, so that it is off by a tenth at most, and whose past
// fades. The expected value is kept, because it is asked more often than it
// changes.
type quantile struct {
	share    float64
	buckets  [steps]float32
	weight   float64
	expected float64
}

const (
	stepsPerDouble = 4
	steps          = 22 * stepsPerDouble // up to four million
)

func (q *quantile) add(v float64) {
	q.weight = q.weight*fade + 1
	i := 0
	if v >= 1 {
		i = min(steps-1, int(math.Log2(v)*stepsPerDouble)+1)
	}
	for j := range q.buckets {
		q.buckets[j] *= fade
	}
	q.buckets[i]++
	q.expected = q.find()
}

// find returns the value that the share of the weight is at or below, between
// the edges of its step in proportion.
func (q *quantile) find() float64 {
	want, sum := q.share*q.weight, 0.0
	for i, n := range q.buckets {
		if n := float64(n); n > 0 && sum+n >= want {
			lower, upper := edges(i)
			return lower + (upper-lower)*(want-sum)/n
		} else {
			sum += n
		}
	}
	_, upper := edges(steps - 1)
	return upper
}

func edges(i int) (lower, upper float64) {
	if i == 0 {
		return 0, 1
	}
	return math.Exp2(float64(i-1) / stepsPerDouble), math.Exp2(float64(i) / stepsPerDouble)
}

// Len returns how many kinds of calls are remembered.
func (p *Predictor) Len() int { return len(p.routes.byKey) }
