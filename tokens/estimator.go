package tokens

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Estimator estimates requests to one endpoint, and learns from its answers.
// Give every endpoint its own: a gateway in between may add text of its own to
// each request.
//
// The zero value is ready: it estimates by the tables alone until it is told
// usage. All methods may be called concurrently; estimating takes no lock but
// for looking up a conversation, and does not allocate.
type Estimator struct {
	models atomic.Pointer[map[string]*learned] // copied when a model is added

	mu      sync.Mutex // guards all below, and changes of models
	anchors anchors
	turns   int64 // lessons so far, to tell which model was seen last

	scanners sync.Pool
}

// learned is what is known of a model.
type learned struct {
	scale atomic.Pointer[scale]
	seen  int64 // the last lesson; guarded by Estimator.mu
}

// maxModels bounds the models that are learned; the one not seen longest goes.
const maxModels = 256

// Usage is what an answer reports. Its input is the sum of the first three.
type Usage struct {
	Input      int  // input_tokens: neither read from the cache nor written to it
	CacheWrite int  // cache_creation_input_tokens
	CacheRead  int  // cache_read_input_tokens
	Output     int  // output_tokens, when the answer is complete; 0 is not known
	Partial    bool // the fields of the cache were missing: the sum may be too small
}

func (u Usage) input() int { return u.Input + u.CacheWrite + u.CacheRead }

// Estimate estimates the request whose body was written to s. Now is the time
// it would be sent.
func (e *Estimator) Estimate(s *Scanner, now time.Time) Estimate {
	scan := s.Scan()
	v := parse(scan.Model)
	sc, how := e.scaleOf(scan.Model)
	known, at, found := e.anchor(s, v, scan.Model)
	var est Estimate
	if found {
		est = s.since(&at, &known, sc, v, scan)
		how = Anchored
	} else {
		est = s.all(sc, scan)
	}
	est.How = how
	if found && scan.Marks&Caches != 0 && known.fresh(now) {
		est.Cached = min(known.cached, est.Input)
	}
	est.Counted = est.Input
	if !v.countsCacheReads() {
		est.Counted -= est.Cached
	}
	return est
}

// all estimates a request of which nothing is known.
func (s *Scanner) all(sc *scale, scan Scan) Estimate {
	texts, relative := sc.texts(scan.Sums)
	return parts{
		texts: texts, relative: relative, fixed: scan.Fixed, messages: scan.Messages,
		guessed: s.now.guessed(scan.Family), marks: scan.Marks, bound: sc.bound,
	}.estimate()
}

// A conversation stays with its subject: what the table and all that was
// learned of the model still miss in its beginning, they miss by a part in
// what follows. Half of it gave the smallest errors on the half of the corpus
// that constants may be chosen by. How far it may go is a guess: further off
// is no text that the next turn would be like.
const (
	alike       = 0.5
	furthestOff = 0.5
)

// since estimates a request whose prefix, up to a border, has been seen.
func (s *Scanner) since(at *border, known *anchor, sc *scale, v version, scan Scan) Estimate {
	further := v.frame().further
	p := parts{known: float64(known.input), marks: scan.Marks, bound: sc.bound}
	from := at.at
	if answer := s.answerTo(at); answer != nil {
		a := answer.at
		a.sub(&from)
		visible, _ := sc.texts(a.sumsOf(scan.Family, new(lanes)))
		visible += float64(a.priced(scan.Family))
		if isAnswer(visible, known.output, scan.Marks&Thinking != 0 && v.keepsThinking()) {
			p.known += float64(known.output + further)
			from = answer.at
		}
	}
	// What stands outside of the messages is a part of the prefix, even where
	// it comes after them in the body.
	rest := s.borders[(s.nborder-1)%keptBorders].at
	rest.sub(&from)
	texts, relative := sc.texts(rest.sumsOf(scan.Family, new(lanes)))
	p.texts, p.relative = texts*(1+alike*float64(known.off)), relative
	p.fixed, p.messages = rest.priced(scan.Family)+rest.messages*further, rest.messages
	p.guessed = rest.guessed(scan.Family)
	if rest.images == rest.sized && rest.docs == rest.texts {
		p.marks &^= External | PDF // what there is of them has been counted
	}
	est := p.estimate()
	est.Further = rest.messages
	return est
}

// answerTo returns the border of the message after at, if that is the
// assistant's: the answer to the request that ended there.
func (s *Scanner) answerTo(at *border) *border {
	next := at.at.messages // of the borders, counted from 0
	if next == s.nborder || !s.borders[next%keptBorders].answer {
		return nil
	}
	return &s.borders[next%keptBorders]
}

// isAnswer tells whether a message, estimated as visible, can be the answer
// that had so many tokens: it may have been edited since. Thinking is part of
// the tokens, and sealed.
func isAnswer(visible float64, output int, thinking bool) bool {
	const share, aside = 0.4, 20 // of the visible text; guesses
	o := float64(output)
	return output > 0 && o >= visible*(1-share)-aside && (thinking || o <= visible*(1+share)+aside)
}

// guessed is the deviation, in tokens, of what has a price that is a guess.
func (t *tally) guessed(f Family) float64 {
	pages := float64(t.pages * f.page())
	images := float64(max(0, t.images-t.sized) * f.tier().cap())
	docs := float64(max(0, t.docs-t.texts-t.pdfs) * pagesUnseen * f.page())
	return math.Sqrt(sq(pageDeviation*pages) + sq(images/3) + sq(docs/3))
}

// anchor looks for the longest prefix of the request whose usage is known.
func (e *Estimator) anchor(s *Scanner, v version, model string) (known anchor, at border, found bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.anchors.list) == 0 {
		return anchor{}, border{}, false
	}
	for i := s.nborder - 1; i >= max(0, s.nborder-keptBorders); i-- {
		b := &s.borders[i%keptBorders]
		if !v.keepsThinking() && b.turn != s.turn {
			return anchor{}, border{}, false // thinking that was counted has been dropped since
		}
		if a := e.anchors.find(s.prefix(model, b.hash)); a != nil {
			return *a, *b, true
		}
	}
	return anchor{}, border{}, false
}

// scaleOf returns the scale of a model; of one that was never observed, what
// is assumed.
func (e *Estimator) scaleOf(model string) (*scale, How) {
	if all := e.models.Load(); all != nil {
		if l := (*all)[model]; l != nil {
			sc := l.scale.Load()
			if sc.n > 0 {
				return sc, Calibrated
			}
			return sc, Weighed
		}
	}
	return priorOf(model), Weighed
}

// Text estimates a text alone, without a message around it.
func (e *Estimator) Text(model string, text []byte) Estimate {
	f, _ := FamilyOf(model)
	var t tally
	tables[f]().sum(&t.sums[f][kindText], first, text)
	sc, how := e.scaleOf(model)
	texts, relative := sc.texts(t.sumsOf(f, new(lanes)))
	est := parts{texts: texts, relative: relative, bound: sc.bound}.estimate()
	est.Counted, est.How = est.Input, how
	return est
}

// Count implements [Counter]; it fails never.
func (e *Estimator) Count(_ context.Context, now time.Time, model string, body []byte) (Estimate, error) {
	s, _ := e.scanners.Get().(*Scanner)
	if s == nil {
		s = new(Scanner)
	}
	s.Reset(model)
	_, _ = s.Write(body)
	est := e.Estimate(s, now)
	e.scanners.Put(s)
	return est, nil
}
