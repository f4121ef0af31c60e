package sim

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzValid(f *testing.F) {
	for _, s := range []string{
		``, ` `, `{}`, ` {"a":[1,-0,2.5e+3,"x\u00e9\n",true,false,null]} `, `{"a"}`, `[1,]`, `{,}`, `01`, `1.`, `-`, `1e`, `"\x"`,
		`"\u12g4"`, "\"\x01\"", "\"\xff\"", `nul`, `"`, `[`, `{"a":1,}`, `{"a":1 "b":2}`, `0`, `-1E5`, `[[[]]]`, `truefalse`, `"\`, `"\u12`,
		strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := valid(b), json.Valid(b); got != want {
			t.Errorf("%.100q: got %v, want %v", b, got, want)
		}
	})
}

// What a string says is what encoding/json reads in it, but for bytes that are
// no UTF-8, which stay.
func FuzzRawBytes(f *testing.F) {
	for _, s := range []string{`""`, `"a\"b\\c\/\b\f\n\r\t"`, `"\u00e9\u4E16"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ud83dx"`, `"\ude00\ud83d"`, `"\ud83d\u0041"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want string
		if !strings.HasPrefix(s, `"`) || !strings.HasSuffix(s, `"`) || json.Unmarshal([]byte(s), &want) != nil {
			return
		}
		if got := strings.ToValidUTF8(string(raw(s).bytes()), "\uFFFD"); got != strings.ToValidUTF8(want, "\uFFFD") && strings.ToValidUTF8(s, "") == s {
			t.Errorf("%q says %q, want %q", s, got, want)
		}
	})
}
