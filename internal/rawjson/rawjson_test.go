package rawjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestObject_keepsBytes(t *testing.T) {
	const doc = `{"a":1.50,"\u0062":"\u00e9\/","c":{"z": [1, 2]},"d":null,"big":123456789012345678901234567890}`
	o, ok := Parse(doc)
	if !ok {
		t.Fatal("not an object")
	}
	if got := string(o.Append(nil)); got != doc {
		t.Errorf("got  %s\nwant %s", got, doc)
	}
	for _, m := range o {
		if got := doc[m.At:][:len(m.Raw)]; got != m.Raw {
			t.Errorf("member %s is said to stand at %q", m.Key, got)
		}
	}
	if got, want := o.Text("b"), "é/"; got != want {
		t.Errorf("b is %q, want %q", got, want)
	}
	o.Set("b", `"x"`)
	o.Set("new", "7")
	const want = `{"a":1.50,"\u0062":"x","c":{"z": [1, 2]},"d":null,"big":123456789012345678901234567890,"new":7}`
	if got := string(o.Append(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestObject_keysThatRepeat(t *testing.T) {
	o, _ := Parse(` { "a" : 1 , "a" : 2 , "b":3 } `)
	if got := o.Get("a"); got != "2" {
		t.Errorf("a is %s, want 2: the last one counts", got)
	}
	if !o.Repeats("a") || o.Repeats("b") || o.Repeats("c") {
		t.Error("a stands twice, b once, c not at all")
	}
	if o.Has("c") || o.Get("c") != "" || o.Text("c") != "" {
		t.Error("c is there")
	}
}

func TestParse_refuses(t *testing.T) {
	for _, doc := range []string{"", "null", "[1]", `"{}"`, "1"} {
		if _, ok := Parse(doc); ok {
			t.Errorf("%q passes for an object", doc)
		}
	}
}

func TestDecode_joinsDividedPairs(t *testing.T) {
	a, _ := Inner(`"x \ud83d"`)
	b, _ := Inner(`"\ude00 y"`)
	if got, want := Decode(`"`+a+b+`"`), "x 😀 y"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Decode(`"`+a+`"`), "x �"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestValid_survivesDepth(t *testing.T) {
	if Valid([]byte(strings.Repeat("[", 8<<20))) {
		t.Error("brackets alone are valid")
	}
	if !Valid([]byte(`{"a":[` + strings.Repeat("1,", deepest) + `1]}`)) {
		t.Error("a long document is not valid")
	}
}

func FuzzObject(f *testing.F) {
	for _, doc := range []string{`{}`, `{"a":1,"a":{"b":[]}}`, `{"":"\ud800"}`, ` {"x" :  "<&>" } `} {
		f.Add(doc, "a", "text")
	}
	f.Fuzz(func(t *testing.T, doc, key, text string) {
		if !Valid([]byte(doc)) {
			return
		}
		o, ok := Parse(doc)
		if !ok {
			return
		}
		out := o.Append(nil)
		var got, want any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q became %q: %v", doc, out, err)
		}
		if json.Unmarshal([]byte(doc), &want) == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%q became %q", doc, out)
		}
		o.Set(key, string(AppendText(nil, text)))
		if out = o.Append(nil); !json.Valid(out) {
			t.Errorf("set %q: %q", key, out)
		}
	})
}
