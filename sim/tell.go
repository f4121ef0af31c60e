package sim

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Story returns the rule as a line that [ParseStory] reads as the same rule,
// with the defaults of Kind and Status written out, and a Rate of 1 for a
// condition. Of a rule that is wrong it may return a line that is refused.
func (r Rule) Story() string {
	r.Fault = r.filled()
	if r.Kind.isCondition() {
		r.Rate = 1
	}
	s := sentence{}
	if r.From > 0 {
		s.say(timeText(r.From))
	}
	if name := presetOf(r.Fault); name != "" {
		s.say(name)
	} else {
		s.fault(r.Fault)
	}
	if r.Rate != 1 {
		s.say(shareText(r.Rate))
	}
	switch {
	case r.Times == 1:
		s.say("once")
	case r.Times != 0:
		s.say(strconv.Itoa(r.Times), "times")
	}
	s.ifSet("every", timeText(r.Every))
	if r.Until != 0 {
		s.say("for", timeText(r.Until-r.From))
	}
	s.ifSet("on", r.Models)
	s.ifSet("in org", r.Organization)
	s.ifSet("path", r.Path)
	s.ifSet("named", r.Name)
	return strings.Join(s, " ")
}

// sentence is a line in the making.
type sentence []string

func (s *sentence) say(words ...string) { *s = append(*s, words...) }

// ifSet says a word and the value it wants, if there is one.
func (s *sentence) ifSet(word, value string) {
	if value != "" {
		s.say(word, wordText(value))
	}
}

func (s *sentence) fault(f Fault) {
	if f.Kind == Status {
		s.say(strconv.Itoa(f.Status))
	} else {
		s.say(string(f.Kind))
	}
	switch {
	case f.Kind == Slowdown:
		s.say(strconv.FormatFloat(f.Factor, 'f', -1, 64) + "x")
	case f.Kind.isCondition():
		s.say(shareText(f.Factor))
	case f.Bytes != 0:
		s.say(strconv.FormatInt(f.Bytes, 10), "bytes")
	case f.Events != 0:
		s.say(strconv.Itoa(f.Events), "events")
	}
	if f.Size != 0 {
		s.say(sizeText(f.Size))
	}
	if f.Pace != 0 {
		s.say(timeText(f.Pace), "apart")
	}
	if f.Kind == Slow {
		s.ifSet("by", timeText(f.After))
	} else {
		s.ifSet("after", timeText(f.After))
	}
	s.answer(f)
	if f.Accept {
		s.say("accepted")
	}
}

// answer says what is in an answer.
func (s *sentence) answer(f Fault) {
	if f.Status != 0 && f.Kind != Status {
		s.say("of", strconv.Itoa(f.Status))
	}
	switch {
	case slices.Contains(typeNames(), string(f.Type)):
		s.say("of", string(f.Type))
	case f.Type != "":
		s.say("of", strconv.Quote(string(f.Type)))
	}
	s.ifSet("code", string(f.Code))
	s.ifSet("saying", f.Message)
	s.ifSet("body", f.Body)
	word := "with"
	if f.Pings {
		s.say(word, "pings")
		word = "and"
	}
	for _, name := range slices.Sorted(maps.Keys(f.Header)) {
		text := wordText(name)
		if name == "pings" {
			text = strconv.Quote(name)
		}
		s.say(word, text, wordText(f.Header[name]))
		word = "and"
	}
}

// wordText returns a word as it stands in a line.
func wordText(word string) string {
	plain := word != "" && !strings.HasPrefix(word, "#") && !strings.Contains(word, `"`)
	for _, c := range []byte(word) {
		plain = plain && '!' <= c && c <= '~'
	}
	if plain {
		return word
	}
	return strconv.Quote(word)
}

// timeText is a duration without zeros at the end: "1m", not "1m0s". 0 is "".
func timeText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	text := strings.Replace(d.String(), "µ", "u", 1)
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// shareText is a share in percent, or where that would not be read back
// exactly, as a fraction.
func shareText(share float64) string {
	percent := math.Round(share*1e8) / 1e6
	if percent/100 == share {
		return strconv.FormatFloat(percent+0, 'f', -1, 64) + "%" // +0, because there is a -0
	}
	return strconv.FormatFloat(share, 'f', -1, 64)
}

// sizeText is a size in the largest unit that it is a whole number of.
func sizeText(size int) string {
	for _, unit := range units {
		if n := int64(size); n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return ""
}

// typeNames are the documented types of errors, in the order of their statuses.
func typeNames() []string {
	var out []string
	for _, status := range slices.Sorted(maps.Keys(types)) {
		out = append(out, string(types[status]))
	}
	return out
}
