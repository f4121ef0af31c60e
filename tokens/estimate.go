package tokens

import (
	"context"
	"math"
	"strconv"
	"time"
)

// Estimate is what a request will cost in input tokens, before it is sent.
//
// Which number is for what: a bucket of tokens per minute reserves Counted,
// whose errors cancel over a minute; whether a request fits a context window
// is asked of High; what will be billed is shown by Input.
type Estimate struct {
	// Input is the expected total: what usage will report as input, cache
	// creation and cache reads together.
	Input int
	// Cached is the part of Input that is expected to be read from the prompt
	// cache. It is 0 unless the request continues a conversation whose last
	// usage is known and not too old for its cache.
	Cached int
	// Counted is what counts against the input tokens per minute: Input less
	// Cached, but on Haiku 3.5, whose limit counts cached tokens as well.
	Counted int
	// Low and High bound the total. Each is passed at most about once in a
	// hundred requests, and High by less than that if Marks say that something
	// could not be sized, for it is then wide. They leave room for traffic that
	// is less even than what docs/tokens.md measures.
	Low, High int
	// How tells what Input rests on.
	How How
	// Further is how many messages follow the part that is anchored: 0 for the
	// same request again, at least 1 for a conversation's next turn.
	Further int
	// Marks tell what could not be sized from the body.
	Marks Marks
}

// Counter counts the input tokens of a Messages body, in its own way: an
// [Estimator] does, and so can what asks count_tokens or has a tokenizer.
// It is safe for concurrent use.
type Counter interface {
	Count(ctx context.Context, now time.Time, model string, body []byte) (Estimate, error)
}

// How tells what an estimate rests on.
type How uint8

// From the least known to the best.
const (
	Weighed    How = iota // the table alone
	Calibrated            // the table, scaled by what the API has reported for the model
	Anchored              // the usage of an earlier turn, and only what is new estimated
	Counted               // a count: by count_tokens, or by another Counter that knows
)

// String is a word for people and for JSON.
func (h How) String() string {
	switch h {
	case Weighed:
		return "table"
	case Calibrated:
		return "calibrated"
	case Anchored:
		return "anchored"
	case Counted:
		return "counted"
	}
	return "How(" + strconv.Itoa(int(h)) + ")"
}

// Deviations of what is not texts; all guesses but the first two, which were
// seen in simulated conversations.
const (
	prefixDeviation = 0.004 // of what was anchored, relative
	frameDeviation  = 1.5   // tokens per message that is not anchored
	pageDeviation   = 0.35  // of a page of a PDF, relative
	unsized         = 0.25  // of a request in which something cannot be sized, relative
)

// parts are what an estimate is made of.
type parts struct {
	known    float64 // tokens of an anchored prefix and its answer
	texts    float64 // tokens of what is weighed,
	relative float64 // and their relative deviation
	fixed    int     // tokens of what is priced
	messages int     // that were not anchored
	guessed  float64 // deviation, in tokens, of prices that are a guess
	marks    Marks
	bound    float64 // deviations that hold 99 %
}

// estimate sums parts up and bounds the sum.
func (p parts) estimate() Estimate {
	input := p.known + p.texts + float64(p.fixed)
	relative := p.relative
	if p.marks&(Unsized&^(PDF|External|Unseen)) != 0 {
		relative = max(relative, unsized)
	}
	aside := p.bound * math.Sqrt(sq(prefixDeviation*p.known)+sq(frameDeviation)*float64(p.messages)+sq(p.guessed))
	x := p.bound * relative
	high := p.known + p.texts*(1+x) + float64(p.fixed) + aside
	low := p.known + p.texts/(1+x+x*x) + float64(p.fixed) - aside // 1-x, but never below 0
	return Estimate{
		Input: whole(input),
		Low:   max(0, int(math.Floor(low))),
		High:  int(math.Ceil(min(high, math.MaxInt32))),
		Marks: p.marks,
	}
}

func sq(x float64) float64 { return x * x }

// whole rounds a number of tokens.
func whole(tokens float64) int { return int(min(math.Round(tokens), math.MaxInt32)) }
