package tokens

import (
	"maps"
	"sync"
	"time"
)

// Lesson is what became of an observation.
type Lesson uint8

// Only Taught has changed a scale. All but Empty, Fallback, Partial and Cut
// have left an anchor for the next turn.
const (
	Taught    Lesson = iota
	Empty            // no usage, or a negative one
	Small            // too few tokens: a few of them would weigh as much as a tokenizer
	Uncertain        // something could not be sized, see [Scan.Marks]
	Fallback         // another model answered
	Partial          // the fields of the cache were missing
	Cut              // the body was not seen to its end
	Absurd           // far from all that was seen; three in a row would be believed
)

// smallest is how many tokens an observation needs to teach.
const smallest = 300

// Observe tells the usage that answered a request. Scan is the request's, and
// served the model that the answer names: an alias may begin to mean another
// model, so learning goes by what served; "" is the model that was asked for.
// Now is when the usage arrived, which for the cache is when it was used.
//
// Call it once per answer: with the usage of the first event of a stream it
// teaches at once, but the next turn is anchored only by the output tokens at
// its end. Counts of count_tokens do not belong here: they differ a little.
func (e *Estimator) Observe(served string, scan Scan, u Usage, now time.Time) Lesson {
	if served == "" {
		served = scan.Model
	}
	switch {
	case u.Input < 0 || u.CacheWrite < 0 || u.CacheRead < 0 || u.Output < 0 || u.input() == 0:
		return Empty
	case !sameModel(served, scan.Model):
		return Fallback
	case u.Partial:
		return Partial
	case scan.Marks&Truncated != 0:
		return Cut
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if scan.border != 0 {
		e.anchors.put(anchor{
			hash: scan.border, at: now, input: u.input(), output: u.Output,
			cached: u.CacheWrite + u.CacheRead, hour: scan.Marks&CachesHour != 0,
		})
	}
	tokens := float64(u.input() - scan.Fixed)
	switch {
	case scan.Marks&Unsized != 0:
		return Uncertain
	case tokens < smallest || scan.Sums.Total() < smallest/4:
		return Small
	}
	l := e.learning(served, scan.Model)
	next, taught := l.scale.Load().learn(scan.Sums, tokens)
	l.scale.Store(next)
	if !taught {
		return Absurd
	}
	if known := e.anchors.find(scan.border); known != nil {
		texts, _ := next.texts(scan.Sums)
		known.off = float32(min(max(tokens/texts-1, -furthestOff), furthestOff))
	}
	return Taught
}

// sameModel tells whether two ids name one model, perhaps one without a date.
func sameModel(a, b string) bool {
	v := parse(a)
	return a == b || v == parse(b) && v.number > 0 && v.line != ""
}

// learning returns what is known of a model that served, and lets the name it
// was asked for by mean the same. e.mu is held.
func (e *Estimator) learning(served, asked string) *learned {
	all := e.models.Load()
	if all == nil {
		all = &map[string]*learned{}
	}
	l := (*all)[served]
	if l == nil || (*all)[asked] != l {
		next := maps.Clone(*all)
		if l == nil {
			l = new(learned)
			l.scale.Store(priorOf(served))
		}
		next[served], next[asked] = l, l
		e.forget(next, l)
		e.models.Store(&next)
	}
	e.turns++
	l.seen = e.turns
	return l
}

// forget makes room for keep, the one that was just added.
func (e *Estimator) forget(all map[string]*learned, keep *learned) {
	for len(all) > maxModels {
		var oldest *learned
		for _, l := range all {
			if l != keep && (oldest == nil || l.seen < oldest.seen) {
				oldest = l
			}
		}
		maps.DeleteFunc(all, func(_ string, l *learned) bool { return l == oldest })
	}
}

// priors are the scales of models that were never observed: of families, if
// that is a guess and if it is known.
var priors = func() (p [families][2]func() *scale) {
	for f := range p {
		p[f][0] = sync.OnceValue(func() *scale { return prior(tables[f](), false) })
		p[f][1] = sync.OnceValue(func() *scale { return prior(tables[f](), true) })
	}
	return p
}()

// priorOf returns the scale that a model begins with.
func priorOf(model string) *scale {
	f, known := FamilyOf(model)
	if known {
		return priors[f][1]()
	}
	return priors[f][0]()
}
