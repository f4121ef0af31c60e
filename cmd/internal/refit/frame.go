package refit

import (
	"context"
	"slices"
	"strings"
)

// frameWords are short and frequent, so that each is one token in any
// tokenizer there is, with a space before it or without. Three can outvote
// one for which that is not so.
var frameWords = []string{"the", "one", "time"}

// frameTimes is how often a word is said in the probes of a frame.
var frameTimes = []int{1, 4}

// FrameProbes is how many probes [Prober.Frame] takes.
const FrameProbes = 6

// Frame is what a message costs beside its text.
type Frame struct {
	Tokens int  // to subtract from each answer
	Sure   bool // all words gave the same
	Asked  int  // probes sent for it
}

// Frame measures the frame of a message: with the tokens of a word said once,
// and of the word said four times, what one more costs is known, and what is
// there before the first. Each of the words gives one frame; the median counts.
//
// None of the texts ends with white space, which some models count and some do
// not.
func (p *Prober) Frame(ctx context.Context) (Frame, error) {
	var texts []string
	for _, word := range frameWords {
		for _, n := range frameTimes {
			texts = append(texts, strings.TrimRight(strings.Repeat(word+" ", n), " "))
		}
	}
	counts, err := p.Ask(ctx, texts)
	if err == nil {
		err = counts.Refusal // of a word: nothing else would be taken
	}
	if err != nil {
		return Frame{Asked: counts.Asked}, err
	}
	var frames []int
	for i := range frameWords {
		once, often := counts.Tokens[2*i], counts.Tokens[2*i+1]
		more := frameTimes[1] - frameTimes[0]
		frames = append(frames, max(0, once-(often-once+more/2)/more))
	}
	slices.Sort(frames)
	return Frame{
		Tokens: frames[len(frames)/2],
		Sure:   frames[0] == frames[len(frames)-1],
		Asked:  counts.Asked,
	}, nil
}
