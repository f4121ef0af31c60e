package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// vocabulary is what answers are made of.
var vocabulary = strings.Fields(`amber basin cedar delta ember fjord grove harbor island juniper keel
	lagoon meadow north ocean pebble quay river sail tide upland vessel water yard zenith`)

// prose is a text of the simulation: numbered words that depend on the seed,
// with single spaces between them and a full stop at the end. Its words are
// made when they are asked for, so that a long answer in flight costs no
// memory. Words are what its pieces are called: each with the space before it,
// the last with the full stop behind it.
type prose struct {
	seed  uint64
	words int
}

// mark is a place in a prose: behind so many words, and so many bytes into
// the next, its space counted.
type mark struct{ words, bytes int }

// append appends the i-th word, the first is 0.
func (p prose) append(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ' ')
	}
	b = append(b, vocabulary[mix(p.seed, uint64(i)+1)%uint64(len(vocabulary))]...)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(i)+1, 10)
	if i == p.words-1 {
		b = append(b, '.')
	}
	return b
}

// follow reports whether the prose goes on with said at a mark, and where it
// is then.
func (p prose) follow(at mark, said []byte) (mark, bool) {
	var room [32]byte
	for len(said) > 0 {
		if at.words >= p.words {
			return at, false
		}
		next := p.append(room[:0], at.words)[at.bytes:]
		if n := len(said); n < len(next) {
			return mark{at.words, at.bytes + n}, bytes.HasPrefix(next, said)
		}
		if !bytes.HasPrefix(said, next) {
			return at, false
		}
		said = said[len(next):]
		at = mark{words: at.words + 1}
	}
	return at, true
}

// CheckText reports whether text is what the API has written: numbered words,
// each exactly once and in order, such as "cedar-1 keel-2 tide-3.". Its first
// words alone are fine too; see [CheckWhole].
//
// The text of a message is that of its text blocks, joined without anything
// between them. What continues an answer that was cut is joined to it: as it
// comes if the request ended in a prefill, and with a space if it ended in a
// user's turn.
func CheckText(text string) error {
	words := strings.Split(strings.TrimSuffix(text, "."), " ")
	if text == "" {
		return nil
	}
	for i, field := range words {
		name, number, _ := strings.Cut(field, "-")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 || name == "" {
			return fmt.Errorf("sim: word %d of the text is %q, want number %d", i+1, field, i+1)
		}
	}
	return nil
}

// CheckWhole is CheckText for an answer that must be whole: its last word has
// a full stop, as the API writes it where an answer comes to its own end.
func CheckWhole(text string) error {
	if err := CheckText(text); err != nil {
		return err
	}
	if !strings.HasSuffix(text, ".") {
		return fmt.Errorf("sim: the text ends after %d words without a full stop: it is not whole", len(strings.Fields(text)))
	}
	return nil
}

// inVocabulary is vocabulary, to look words up in.
var inVocabulary = func() map[string]bool {
	set := map[string]bool{}
	for _, word := range vocabulary {
		set[word] = true
	}
	return set
}()
