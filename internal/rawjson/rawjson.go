// Package rawjson edits JSON without decoding what is not edited: members of
// an object keep their order and bytes, strings keep their escapes, numbers
// their digits.
//
// It knows nothing of Claude, and only the surface of one object at a time:
// what a member holds is a value that passes as it came.
package rawjson

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// deepest is the size in bytes up to which gjson checks a document. It recurses
// for each level, and a document of brackets alone must not exhaust the stack;
// larger ones are left to encoding/json, which refuses 10,000 levels.
const deepest = 64 << 10

// Valid tells that doc is one JSON value.
func Valid(doc []byte) bool {
	if len(doc) > deepest {
		return json.Valid(doc)
	}
	return gjson.ValidBytes(doc)
}

// Object is a JSON object whose members keep their order and bytes. Of members
// with the same key the last one counts, as for most parsers.
type Object []Member

// Member is one member of an [Object].
type Member struct {
	Key string // decoded
	raw string // of the key, with its quotes
	Raw string // of the value
	At  int    // where the value begins in the document that was parsed
}

// Parse reads the members of doc, which must be valid; false if it is not an
// object.
func Parse(doc string) (Object, bool) { return Object(nil).Reparse(doc) }

// Reparse is Parse into the memory of o, whose members are forgotten.
func (o Object) Reparse(doc string) (Object, bool) {
	v := gjson.Parse(doc)
	if !v.IsObject() {
		return o[:0], false
	}
	o = o[:0]
	v.ForEach(func(key, value gjson.Result) bool {
		o = append(o, Member{key.Str, key.Raw, value.Raw, value.Index})
		return true
	})
	return o, true
}

// Get returns the value of a member as it stands; "" if there is none.
func (o Object) Get(key string) string {
	if i := o.find(key); i >= 0 {
		return o[i].Raw
	}
	return ""
}

// Member returns a member; false if there is none.
func (o Object) Member(key string) (Member, bool) {
	if i := o.find(key); i >= 0 {
		return o[i], true
	}
	return Member{}, false
}

// Text returns a member that is a string, decoded; "" for any other.
func (o Object) Text(key string) string {
	return Decode(o.Get(key))
}

// Has tells that there is a member of that name, also if it is null.
func (o Object) Has(key string) bool { return o.find(key) >= 0 }

// Repeats tells that a key stands more than once.
func (o Object) Repeats(key string) bool {
	i := o.find(key)
	return i > 0 && o[:i].Has(key)
}

func (o Object) find(key string) int {
	for i, m := range slices.Backward(o) {
		if m.Key == key {
			return i
		}
	}
	return -1
}

// Set replaces the value of a member, or appends one.
func (o *Object) Set(key, raw string) {
	if i := o.find(key); i >= 0 {
		(*o)[i].Raw = raw
		return
	}
	*o = append(*o, Member{Key: key, raw: string(AppendText(nil, key)), Raw: raw})
}

// Append writes the object to dst, without white space between its members.
func (o Object) Append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, m.raw...)
		dst = append(dst, ':')
		dst = append(dst, m.Raw...)
	}
	return append(dst, '}')
}

// Inner returns what stands between the quotes of a string, escapes and all;
// false for any other value. Texts joined so are joined well even where an
// escaped surrogate pair is divided between them.
func Inner(raw string) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	return raw[1 : len(raw)-1], true
}

// Decode returns the text of a JSON string; "" for any other value. Half of a
// surrogate pair becomes U+FFFD.
func Decode(raw string) string {
	inner, ok := Inner(raw)
	if !ok || strings.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var s string
	_ = json.Unmarshal([]byte(raw), &s) // raw is of a valid document
	return s
}

// AppendText writes text as a JSON string. Unlike [json.Marshal] it leaves <, >
// and & as they are.
func AppendText(dst []byte, text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string is always encoded
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte{'\n'})...)
}
