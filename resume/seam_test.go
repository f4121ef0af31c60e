package resume

import (
	"strings"
	"testing"
)

func TestSeam(t *testing.T) {
	for _, tt := range []struct {
		reason    string
		prefill   bool
		delivered []string // as deltas
		rest      []string // as deltas
		want      string   // of the rest
	}{
		{"asked: the rest with its space", false, []string{"cedar-1", " keel-2"}, []string{" tide-3"}, " tide-3"},
		{"asked: an answer begins without one", false, []string{"cedar-1", " keel-2"}, []string{"tide-3", " sail-4"}, " tide-3 sail-4"},
		{"asked: the space was delivered", false, []string{"cedar-1 ", "keel-2 "}, []string{"tide-3"}, "tide-3"},
		{"asked: and is not doubled", false, []string{"cedar-1 ", "keel-2 "}, []string{" tide-3"}, "tide-3"},
		{"asked: a sentence begins", false, []string{"It ends."}, []string{"It begins"}, " It begins"},
		{"asked: a clause begins", false, []string{"It ends,"}, []string{"it begins"}, " it begins"},
		{"asked: no sentence begins", false, []string{"see example."}, []string{"com"}, "com"},
		{"asked: a number goes on", false, []string{"It is 3."}, []string{"14"}, "14"},
		{"asked: no word ends", false, []string{"It ("}, []string{"ends"}, "ends"},
		{"asked: no word begins", false, []string{"It ends"}, []string{", then"}, ", then"},
		{"asked: words were divided all along", false, []string{"over", "load", "ed", " ser", "vers", " o", "ver"}, []string{"flow"}, "flow"},
		{"asked: no spaces in this script", false, []string{"今日は"}, []string{"晴れ"}, "晴れ"},
		{"asked: words of other scripts", false, []string{"это", " длинный"}, []string{"текст"}, " текст"},
		{"asked: a new line stands", false, []string{"One:\n"}, []string{"two"}, "two"},
		{"asked: an empty line may follow", false, []string{"One:\n"}, []string{"\ntwo"}, "\ntwo"},
		{"asked: but one is enough", false, []string{"One:\n\n"}, []string{"\n\ntwo"}, "two"},
		{"asked: and is not made two", false, []string{"One:\n"}, []string{"\n\n  two"}, "\n  two"},
		{"asked: lines are set in as they were", false, []string{"if x:\n"}, []string{"    return"}, "    return"},
		{"asked: white space alone waits", false, []string{"One "}, []string{" ", " ", "two"}, "two"},

		{"one word again", false, []string{"cedar-1", " keel-2"}, []string{"keel-2", " tide-3"}, " tide-3"},
		{"one word again, with its space", false, []string{"cedar-1", " keel-2"}, []string{" keel-2", " tide-3"}, " tide-3"},
		{"one word again in pieces", false, []string{"cedar-1", " keel-2"}, []string{"ke", "el", "-", "2 tide-3"}, " tide-3"},
		{"all of it again", false, []string{"cedar-1", " keel-2"}, []string{"cedar-1 keel-2 tide-3"}, " tide-3"},
		{"again, after a space was delivered", false, []string{"cedar-1 ", "keel-2 "}, []string{"keel-2 tide-3"}, "tide-3"},
		{"again, after a line was ended", false, []string{"cedar-1", " keel-2\n"}, []string{"keel-2\n\ntide-3"}, "\ntide-3"},
		{"the rest of a word, after its beginning again", false, []string{"they", " over"}, []string{"they overload"}, "load"},
		{"nothing but again", false, []string{"cedar-1", " keel-2"}, []string{"keel-2"}, ""},
		{"what only began to be again", false, []string{"cedar-1", " keel-2"}, []string{"ked"}, " ked"},
		{"what ends before it is again", false, []string{"cedar-1", " keel-2"}, []string{"keel"}, " keel"},
		{"too short to be again", false, []string{"so", " very"}, []string{" very good"}, " very good"},
		{"not from within a word", false, []string{"an", " underground"}, []string{"ground-floor"}, " ground-floor"},
		{"what repeats itself may go on", false, []string{"ha ha ha ha ha ", "ha"}, []string{" ha ha ha"}, " ha ha ha"},
		{"signs say nothing", false, []string{"a", " ----------"}, []string{"----------"}, "----------"},
		{"characters are not divided", false, []string{"naïve", " Übermut"}, []string{"Übermut", " tut"}, " tut"},
		{"beyond the window", false, []string{strings.Repeat("abc-", 300), " harbor"}, []string{"harbor", " lights"}, " lights"},

		{"prefill: the rest", true, []string{"cedar-1", " keel-2"}, []string{" tide-3"}, " tide-3"},
		{"prefill: a word goes on", true, []string{"ce"}, []string{"dar"}, "dar"},
		{"prefill: the space that was cut off comes again", true, []string{"cedar-1", " keel-2 "}, []string{" tide-3"}, "tide-3"},
		{"prefill: as a part of more", true, []string{"One:\n"}, []string{"\n", "\n    two"}, "\n    two"},
		{"prefill: not the same, and not doubled", true, []string{"One:\n"}, []string{" two"}, "two"},
		{"prefill: a word twice on purpose", true, []string{"it", " really"}, []string{" really is"}, " really is"},
		{"prefill: many words again", true, []string{"amber-1 harbor-2 cedar-3", " delta-4"}, []string{"harbor-2 cedar-3 delta-4 ember-5"}, " ember-5"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			model := modelFor(tt.prefill)
			events := []string{startOf("msg_1", model, 9, 1), textOpened(0)}
			for _, d := range tt.delivered {
				events = append(events, texted(0, d))
			}
			tr := resumed(t, tt.prefill, events...)
			cont := []string{startOf("msg_2", model, 9, 1), textOpened(0)}
			for _, d := range tt.rest {
				cont = append(cont, texted(0, d))
			}
			cont = append(cont, stopped(0), ended("end_turn", 2), last)
			m := received(t, append(events, spliced(t, tr.Splice(), cont...)...)...)
			if got, want := m.text(), strings.Join(tt.delivered, "")+tt.want; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// Text that is no repetition is not held back.
func TestSeam_holdsNothingInVain(t *testing.T) {
	tr := resumed(t, false, startOf("msg_1", "claude-opus-5", 9, 1), textOpened(0), texted(0, "amber-1"), texted(0, " basin-2"))
	s := tr.Splice()
	spliced(t, s, startOf("msg_2", "claude-opus-5", 9, 1), textOpened(0))
	if got := spliced(t, s, texted(0, " cedar-3")); len(got) != 1 {
		t.Errorf("got %q, want the delta at once", got)
	}
}

// Nor is text that could be one for ever.
func TestSeam_holdsAtMostTheWindow(t *testing.T) {
	tr := resumed(t, false, startOf("msg_1", "claude-opus-5", 9, 1), textOpened(0), texted(0, strings.Repeat("amber ", 300)))
	for reason, piece := range map[string]string{"white space": " ", "half characters": "\uFFFD"} {
		s := tr.Splice()
		spliced(t, s, startOf("msg_2", "claude-opus-5", 9, 1), textOpened(0))
		held := 0
		for len(spliced(t, s, texted(0, piece))) == 0 && held < 10*window && s.stage == holding {
			held += len(piece)
		}
		if held > window {
			t.Errorf("%s: %d bytes held, want at most %d", reason, held, window)
		}
	}
}

func TestSeam_surrogatesDividedBetweenDeltas(t *testing.T) {
	cut := []string{startOf("msg_1", "claude-opus-5", 9, 1), textOpened(0), texted(0, "One")}
	rest := spliced(t, resumed(t, false, cut...).Splice(), startOf("msg_2", "claude-opus-5", 9, 1), textOpened(0),
		delta(0, `{"type":"text_delta","text":" \ud83d"}`), delta(0, `{"type":"text_delta","text":"\ude00 two"}`), stopped(0), ended("end_turn", 2), last)
	if m := received(t, append(cut, rest...)...); m.text() != "One 😀 two" {
		t.Errorf("got %q", m.text())
	}
}
