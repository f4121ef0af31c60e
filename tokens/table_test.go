package tokens

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
)

var weights = [families]func() []byte{sync.OnceValue(Claude3.Weights), sync.OnceValue(Claude47.Weights)}

// naive sums a text as the format of the tables says.
func naive(f Family, text []byte) (l lanes) {
	w, prev := weights[f](), byte(' ')
	for _, c := range text {
		l[laneOf(c)] += uint64(w[int(prev)<<8|int(c)])
		prev = c
	}
	return l
}

func TestSum_isTheSumOfItsPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for f := range Family(families) {
		for _, n := range []int{0, 1, 7, 8, 9, 255, 256, 257, 511, 512, 513, 5000} {
			text := make([]byte, n)
			for i := range text {
				text[i] = byte(r.Uint32())
			}
			var got lanes
			tables[f]().sum(&got, first, text)
			if want := naive(f, text); got != want {
				t.Errorf("%v: %d random bytes sum to %v, want %v", f, n, got, want)
			}
			// In two pieces, wherever they are cut.
			cut := r.IntN(n + 1)
			got = lanes{}
			prev := tables[f]().sum(&got, first, text[:cut])
			tables[f]().sum(&got, prev, text[cut:])
			if want := naive(f, text); got != want {
				t.Errorf("%v: %d random bytes cut at %d sum to %v, want %v", f, n, cut, got, want)
			}
		}
	}
}

func TestSum_doesNotOverflowALane(t *testing.T) {
	var heaviest [1 << 16]byte
	for i := range heaviest {
		heaviest[i] = 255
	}
	table := newTable(&heaviest)
	text := bytes.Repeat([]byte("a"), 10_000)
	var sum lanes
	table.sum(&sum, first, text)
	if want := uint64(255 * len(text)); sum[laneLetters] != want {
		t.Errorf("the heaviest weights sum to %d, want %d", sum[laneLetters], want)
	}
}

func TestText_doesNotAllocate(t *testing.T) {
	text := bytes.Repeat([]byte("A keel keeps the ship upright. "), 100)
	asString := string(text)
	Text("", text) // unpacks the table
	for _, model := range []string{"claude-opus-5-5", "eu.anthropic.claude-3-5-haiku-20241022-v1:0", "gpt"} {
		if n := testing.AllocsPerRun(100, func() { Text(model, text); String(model, asString) }); n != 0 {
			t.Errorf("Text and String allocate %v times for model %s, want 0", n, model)
		}
	}
}

func TestTables_fitTheBinary(t *testing.T) {
	const limit = 200 << 10
	if n := len(claude3) + len(claude47); n > limit {
		t.Errorf("the embedded tables have %d bytes, want at most %d", n, limit)
	}
	if Claude3.Text(nil) != 0 || String("", "") != 0 {
		t.Error("an empty text has tokens")
	}
}

func TestFamilyOf(t *testing.T) {
	tests := []struct {
		model string
		want  Family
		known bool
	}{
		{"claude-3-haiku-20240307", Claude3, true},
		{"claude-3-5-sonnet-20241022", Claude3, true},
		{"claude-3-7-sonnet-latest", Claude3, true},
		{"claude-sonnet-4-20250514", Claude3, true},
		{"claude-opus-4-0", Claude3, true},
		{"claude-opus-4-1-20250805", Claude3, true},
		{"claude-opus-4-1@20250805", Claude3, true},
		{"claude-haiku-4-5", Claude3, true},
		{"claude-sonnet-4-5-20250929", Claude3, true},
		{"claude-opus-4-6", Claude3, true},
		{"us.anthropic.claude-sonnet-4-20250514-v1:0", Claude3, true},
		{"anthropic.claude-3-sonnet-20240229-v1:0", Claude3, true},
		{"claude-2.1", Claude3, false},
		{"claude-instant-1.2", Claude3, false},
		{"claude-opus-4-7", Claude47, true},
		{"claude-opus-4-8", Claude47, true},
		{"claude-opus-5", Claude47, true},
		{"claude-sonnet-5-5", Claude47, true},
		{"claude-fable-5-2", Claude47, true},
		{"anthropic.claude-opus-4-7-v1", Claude47, true},
		{"claude-opus-6", Claude47, false},
		{"claude-next", Claude47, false},
		{"claude-7", Claude47, false},
		{"something-else", Claude47, false},
		{"", Claude47, false},
	}
	for _, tt := range tests {
		if got, known := FamilyOf(tt.model); got != tt.want || known != tt.known {
			t.Errorf("FamilyOf(%q) = %v, %v, want %v, %v", tt.model, got, known, tt.want, tt.known)
		}
	}
}
