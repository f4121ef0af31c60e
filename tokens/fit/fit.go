package fit

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// A Sample is a text whose tokens have been counted: the text alone, without
// the frame of a message. Pieces of 20 to 160 bytes teach most per count; whole
// texts do as well, in larger number.
type Sample struct {
	Text   string
	Tokens int
	Source string // what it was taken from; "" if it stands alone. See Split and Score
}

// Config says how to fit. The zero value starts from nothing.
type Config struct {
	// Prior is a table to start from, another tokenizer's for instance. It is
	// scaled as a whole first, and what no sample shows keeps its scaled
	// weight, or moves with its class. nil means none.
	Prior *Table

	// Passes is how often each sample is looked at. 0 means 15, and up to 60
	// where samples are few.
	Passes int

	Seed uint64 // of the order in which samples are looked at
}

// Fit returns the table that fits the samples best.
//
// Each pair has a weight of its own on top of two that it shares: one with the
// same byte after the same class of byte, one with the same class after the same
// class. So pairs that are rare or never seen weigh what their kind does, and
// each goes its own way as far as counts bear it out. With a prior this matters
// most: scripts that no sample shows keep the prior's differences among
// themselves, at the new tokenizer's level.
//
// The descent is AdaGrad (Duchi, Hazan, Singer, JMLR 12, 2011) on
// (estimate − count)/√length, which is what the error of a count is about
// proportional to. Weights are kept from becoming negative on the way, not cut
// off at the end, which would leave all estimates too high.
//
// BenchmarkFit takes 2.5 s for 120,000 pieces. The error is for samples that
// cannot be any: none, an empty text, a negative count, or not a single token in
// all of them.
func Fit(samples []Sample, cfg Config) (*Table, error) {
	if err := check(samples); err != nil {
		return nil, err
	}
	d := newDescent(samples, cfg.Prior)
	passes := cmp.Or(max(cfg.Passes, 0), min(max(15, fewSteps/len(samples)), 60))
	random := rand.New(rand.NewPCG(cfg.Seed, 0x66697473)) // a stream of its own, of no meaning
	order := random.Perm(len(d.counted))
	for range passes {
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			d.step(&d.counted[i])
		}
	}
	return d.table(), nil
}

// fewSteps is how many steps are taken at least, as far as 60 passes allow: some
// hundred samples have not settled after 15.
const fewSteps = 12_000

func check(samples []Sample) error {
	total := 0
	for i, s := range samples {
		if s.Text == "" || s.Tokens < 0 {
			return fmt.Errorf("fit: sample %d has %d bytes and %d tokens: want a text, and no less than 0", i, len(s.Text), s.Tokens)
		}
		total += s.Tokens
	}
	if total == 0 {
		return errors.New("fit: there are no samples with tokens")
	}
	return nil
}

// counted is a sample as the descent reads it.
type counted struct {
	pairs   []pairCount
	tokens  float32
	perByte float32 // 1/length
}

type pairCount struct {
	pair uint16
	n    float32 // how often the text has it
}

// Where the weights of a pair stand in one array: its own, that of (class,
// byte), and that of (class, class).
const (
	byClassByte = Size
	byClasses   = byClassByte + classes*256
	weightCount = byClasses + classes*classes
)

// Step sizes, in tokens at first. A shared weight moves with every pair that
// shares it, so it needs less of a step. Found on halves of the corpus of the
// tests; half or twice of either does hardly worse.
const (
	stepPair   = 0.05
	stepShared = stepPair / 2
)

// descent is a fit under way. Its weights are of 32 bits so that all of them
// stay in the cache of a core.
type descent struct {
	counted []counted
	weights [weightCount]moving
	class   [256]uint16 // classOf, looked up
}

// moving is a weight, in tokens.
type moving struct {
	by      float32 // what it adds to the weights of its pairs
	squares float32 // of the gradients so far
}

func newDescent(samples []Sample, prior *Table) *descent {
	d := &descent{counted: make([]counted, len(samples))}
	var seen [Size]float32
	tokens, bytes, expected := 0.0, 0.0, 0.0
	for i, s := range samples {
		d.counted[i] = countPairs(s, &seen)
		tokens += float64(s.Tokens)
		bytes += float64(len(s.Text))
		if prior != nil {
			expected += prior.Tokens(s.Text)
		}
	}
	for i := range Size {
		if expected > 0 {
			d.weights[i].by = float32(float64(prior[i]) / Unit * tokens / expected)
		} else {
			d.weights[i].by = float32(tokens / bytes)
		}
	}
	for b := range d.class {
		d.class[b] = uint16(classOf(byte(b)))
	}
	return d
}

// countPairs counts the pairs of a text. seen is all zero, before and after.
func countPairs(s Sample, seen *[Size]float32) counted {
	var pairs []uint16
	prev := byte(first)
	for i := range len(s.Text) {
		p := pairOf(prev, s.Text[i])
		if seen[p] == 0 {
			pairs = append(pairs, p)
		}
		seen[p]++
		prev = s.Text[i]
	}
	slices.Sort(pairs) // neighbours in memory
	c := counted{pairs: make([]pairCount, len(pairs)), tokens: float32(s.Tokens), perByte: 1 / float32(len(s.Text))}
	for i, p := range pairs {
		c.pairs[i] = pairCount{p, seen[p]}
		seen[p] = 0
	}
	return c
}

// shared returns where the two weights are that a pair shares with others.
func (d *descent) shared(pair uint16) (classByte, classClass int) {
	before, after := int(d.class[pair>>8]), int(d.class[pair&0xff])
	return byClassByte + before<<8 + int(pair&0xff), byClasses + before*classes + after
}

// value is the weight of a pair as it is now, in tokens.
func (d *descent) value(pair uint16) float32 {
	a, b := d.shared(pair)
	return min(max(0, d.weights[pair].by+d.weights[a].by+d.weights[b].by), heaviest)
}

// step moves the weights of one sample towards its count.
func (d *descent) step(c *counted) {
	estimate := float32(0)
	for _, p := range c.pairs {
		estimate += d.value(p.pair) * p.n
	}
	miss := (estimate - c.tokens) * c.perByte
	if miss == 0 {
		return
	}
	for _, p := range c.pairs {
		gradient := miss * p.n
		a, b := d.shared(p.pair)
		d.weights[p.pair].move(gradient, stepPair)
		d.weights[a].move(gradient, stepShared)
		d.weights[b].move(gradient, stepShared)
	}
}

func (w *moving) move(gradient, step float32) {
	w.squares += gradient * gradient
	w.by -= step * gradient / float32(math.Sqrt(float64(w.squares+1e-12))) // never 0/0
}

func (d *descent) table() *Table {
	t := new(Table)
	for i := range t {
		t[i] = weight(float64(d.value(uint16(i))))
	}
	return t
}

// classes of bytes, as classOf numbers them.
const classes = 11

// classOf sorts bytes by what tokenizers tell apart: what ends a word, what
// continues it, and how many bytes a rune still has to come.
func classOf(b byte) int {
	switch {
	case b == ' ':
		return 0
	case b == '\n' || b == '\r' || b == '\t':
		return 1
	case b < ' ' || b == 0x7f:
		return 2
	case '0' <= b && b <= '9':
		return 3
	case 'a' <= b && b <= 'z':
		return 4
	case 'A' <= b && b <= 'Z':
		return 5
	case b < 0x80:
		return 6 // marks
	case b < 0xc0:
		return 7 // inside of a rune
	case b < 0xe0:
		return 8 // a rune of two bytes begins
	case b < 0xf0:
		return 9 // of three
	}
	return 10 // of four
}
