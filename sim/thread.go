package sim

import (
	"bytes"
	"math"
	"slices"
)

// place is where in a conversation an answer stands, and what of it has been
// said already.
type place struct {
	text   prose  // the answer, were it given at once
	at     mark   // what of it is in the conversation
	joined bool   // it is put on where the last message ends, as after a prefill
	before uint64 // hash of the messages, without thinking

	continues bool // the request asks for the rest of text
	cut       bool // an earlier answer of ours was cut, and the conversation went on as if not
}

// place finds the place of the answer to a request.
//
// The text of an answer depends on the conversation up to the turn it answers
// and on the seed, but on neither model nor max_tokens nor anything else that
// changes between an attempt and the one that continues it. So the same text
// can be recognised in the history, and gone on with, if the history is
//
//	…, user, assistant: its beginning                     a prefill
//	…, user, assistant: its beginning, user: go on        with words that say so
//	…, user, user: its beginning or the end of that, go on
//	…, user: what was asked, its beginning …, go on       as one message
//
// An assistant's turn may break off within a word; what a user's turn quotes
// ends with its last whole word.
func (t *attempt) place(in input) place {
	w := walk{t: t, system: foundation(in.system), place: place{before: foundation(nil)}}
	w.text = w.due(mix(w.before, hashBytes([]byte(in.Prompt))))
	for _, turn := range in.turns {
		w.joined = turn.role == "assistant"
		if w.joined {
			w.assistant(turn)
		} else {
			w.user(turn)
		}
	}
	w.continues = w.goesOn || w.joined && w.at != mark{}
	if !w.continues && !w.joined {
		w.at = mark{}
	}
	if !w.joined && w.at.words > 0 && w.at.bytes == 0 {
		w.at.bytes = 1 // begins with its word, not with the space before it
	}
	return w.place
}

// foundation is what the hash of a conversation begins with.
func foundation(system []part) uint64 {
	h := uint64('s')
	for _, p := range system {
		h = mix(h, p.hash)
	}
	return h
}

// after returns the hash of a conversation that goes on with p. Thinking does
// not count: it may be left out.
func after(h uint64, role string, p part) uint64 {
	if p.thinks() {
		return h
	}
	if role == "assistant" {
		return mix(h, 'a', p.hash)
	}
	return mix(h, 'u', p.hash)
}

// walk goes through a conversation, turn by turn.
type walk struct {
	t      *attempt
	system uint64
	place
	open   bool // text is begun and not at its end
	goesOn bool // the turn before asks for the rest
}

// due returns the answer to a conversation.
func (w *walk) due(h uint64) prose {
	seed := mix(w.t.api.cfg.Seed, w.system, h)
	return prose{seed, w.t.length(seed)}
}

// length draws the number of words of an answer: log-normal around the median.
func (t *attempt) length(seed uint64) int {
	median := t.api.cfg.OutputTokens
	if t.reply.Tokens != 0 {
		median = t.reply.Tokens
	}
	spread := t.api.cfg.OutputSpread
	if spread == 0 {
		return max(0, median)
	}
	// Box and Muller, “A note on the generation of random normal deviates”, 1958.
	normal := math.Sqrt(-2*math.Log(1-unit(mix(seed, 'l')))) * math.Cos(2*math.Pi*unit(mix(seed, 'm')))
	return max(1, int(math.Round(float64(median)*math.Exp(spread*normal))))
}

// assistant reads a turn of the assistant. It is ours if its text goes on with
// the text that is due.
func (w *walk) assistant(turn turn) {
	at, ours, said := w.at, true, false
	for _, p := range turn.parts {
		w.before = after(w.before, turn.role, p)
		text := p.text
		if p.kind != "text" || !ours || len(text) == 0 {
			continue
		}
		if !said && at.words > 0 && at.bytes == 0 && text[0] != ' ' {
			at.bytes = 1 // the rest of an answer begins without the space
		}
		said = true
		at, ours = w.text.follow(at, text)
	}
	if !ours || !said {
		w.open, w.goesOn, w.at = false, false, mark{}
		return
	}
	w.at, w.open = at, at.words < w.text.words
	w.goesOn = false
}

// user reads a turn of the user, or of the system: something new, or the wish
// that the answer before goes on.
func (w *walk) user(turn turn) {
	asks := (w.open || turn.says(func(text []byte) bool { return len(quotation(text)) > 0 })) && turn.says(saysGoOn)
	w.goesOn = false
	for _, p := range turn.parts {
		if asks && p.kind == "text" && (w.open || w.goesOn || w.quotes(p.text)) {
			w.open, w.goesOn = w.at.words < w.text.words, true
			w.before = after(w.before, turn.role, p)
			continue
		}
		if w.open && !w.t.api.memory.meant(w.text.seed, w.at) {
			w.cut = true
		}
		w.before = after(w.before, turn.role, p)
		w.text, w.at, w.open, w.goesOn = w.due(w.before), mark{}, false, false
	}
}

// says reports whether a text of the message is one.
func (t turn) says(is func(text []byte) bool) bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.kind == "text" && is(p.text) })
}

// saysGoOn reports whether a text asks to go on with something. Which words
// clients use is a guess, but for “interrupted” and “left off”, which are those
// of “Streaming messages” (platform.claude.com).
func saysGoOn(text []byte) bool {
	for _, phrase := range []string{"ontinue", "eft off", "esume", "nterrupted", "o on", "arry on", "eep going", "ick up"} {
		if bytes.Contains(text, []byte(phrase)) {
			return true
		}
	}
	return false
}

// quotes looks in a user's text for words of an answer that broke off: of the
// one that is due, or, where what was asked and the quotation are one text, of
// the answer to its beginning. What it finds is due from now on.
func (w *walk) quotes(text []byte) bool {
	words := quotation(text)
	if len(words) == 0 {
		return false
	}
	// All of it may be quoted: of an answer that lost only its end, nothing is
	// left to say. One that the history holds whole is talked about.
	if at, ok := words.of(w.text); ok && at != w.at {
		w.at = at
		return true
	}
	var second place
	for _, gap := range []string{"\n\n", "\n", " "} {
		end := words[0].at
		const most = 64 // the request to go on is not longer; guess
		for range most {
			if end = bytes.LastIndex(text[:end], []byte(gap)); end < 0 {
				break
			}
			answer := w.due(after(w.before, "user", part{hash: textHash(text[:end])}))
			at, ok := words.of(answer)
			switch {
			case ok && w.t.api.memory.begun(answer.seed):
				w.text, w.at = answer, at
				return true
			case ok && second.text.words == 0: // a few words fit by chance now and then
				second.text, second.at = answer, at
			}
		}
	}
	if second.text.words == 0 {
		return false
	}
	w.text, w.at = second.text, second.at
	return true
}

// quoted is a word such as "cedar-1" in a text.
type quoted struct {
	word   []byte
	number int // the first is 1
	at     int // where in the text
}

type quotedWords []quoted

// quotation returns the words in a text that look like words of an answer.
func quotation(text []byte) (words quotedWords) {
	for i := 0; i < len(text); {
		dash := bytes.IndexByte(text[i:], '-')
		if dash < 0 {
			break
		}
		dash += i
		begin, end, number := dash, dash+1, 0
		for begin > i && text[begin-1] >= 'a' && text[begin-1] <= 'z' {
			begin--
		}
		for end < len(text) && text[end] >= '0' && text[end] <= '9' && number < 1<<30 {
			number = number*10 + int(text[end]-'0')
			end++
		}
		if number > 0 && inVocabulary[string(text[begin:dash])] {
			words = append(words, quoted{text[begin:end], number, begin})
		}
		i = end
	}
	return words
}

// of returns where in a prose the quotation ends, if all of it is from there.
func (q quotedWords) of(p prose) (at mark, ok bool) {
	var room [32]byte
	for _, w := range q {
		if w.number > p.words {
			return mark{}, false
		}
		word := bytes.TrimPrefix(p.append(room[:0], w.number-1), []byte(" "))
		if !bytes.Equal(bytes.TrimSuffix(word, []byte(".")), w.word) {
			return mark{}, false
		}
		at = mark{words: w.number}
	}
	return at, true
}
