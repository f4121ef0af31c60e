package refit

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

func TestReadCounts(t *testing.T) {
	lines := `{"text":"ships have keels","tokens":4,"source":"a","lang":"en"}` + "\r\n\n" + `{"tokens":0,"text":"\u8239"}`
	want := []fit.Sample{{Text: "ships have keels", Tokens: 4, Source: "a"}, {Text: "船", Tokens: 0}}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(lines)) // into memory
	_ = z.Close()
	for name, in := range map[string]string{"plain": lines, "gzipped": zipped.String()} {
		got, err := ReadCounts(strings.NewReader(in), name)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %+v (%v), want %+v", name, got, err, want)
		}
	}
}

func TestReadCounts_tellsEveryMistake(t *testing.T) {
	_, err := ReadCounts(strings.NewReader(strings.Join([]string{
		`{"text":"secret","tokens":4}`,
		`{"text":"secret"`,
		`{"text":"secret"}`,
		`{"tokens":3}`,
		`{"text":"","tokens":3}`,
		`{"text":"secret","tokens":-3}`,
		`{"text":"secret","tokens":"3"}`,
		`["secret"]`,
	}, "\n")), "c.jsonl")
	want := []string{
		`c.jsonl:2: it is no JSON object such as {"text":"…","tokens":8}`,
		`c.jsonl:3: there are no "tokens"`,
		`c.jsonl:4: there is no "text"`,
		`c.jsonl:5: there is no "text"`,
		`c.jsonl:6: "tokens" is -3, want 0 or more`,
		`c.jsonl:7: "tokens" is a string, want a whole number`,
		`c.jsonl:8: it is no JSON object such as {"text":"…","tokens":8}`,
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
	_, err = ReadCounts(strings.NewReader(strings.Repeat("x\n", 50)), "c")
	if got := strings.Count(err.Error(), "\n") + 1; got != mostMistakes {
		t.Errorf("%d mistakes of 50 are told, want %d", got, mostMistakes)
	}
	_, err = ReadCounts(strings.NewReader("\x1f\x8bno gzip"), "c")
	if _, ok := errors.AsType[*InputError](err); !ok {
		t.Errorf("broken gzip: got %v, want an InputError", err)
	}
}

func FuzzReadCounts(f *testing.F) {
	f.Add([]byte(`{"text":"a","tokens":1}` + "\n{"))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Fuzz(func(t *testing.T, data []byte) {
		samples, err := ReadCounts(bytes.NewReader(data), "x")
		for _, s := range samples {
			if s.Text == "" || s.Tokens < 0 {
				t.Errorf("read %+v (%v)", s, err)
			}
		}
	})
}

// folder writes files below a new folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadTexts(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.go": "package a", "deep/b.md": "# b", ".git/config": "no", ".hidden": "no", "image.png": "\x89PNG\x00", "latin1.txt": "caf\xe9",
		"lines.jsonl": `{"text":"one","kind":"chat"}` + "\n" + `{"text":"two"}`, "broken.jsonl": "{",
	})
	texts, skipped, err := ReadTexts([]string{dir})
	if err != nil || skipped != 3 {
		t.Errorf("%d files skipped (%v), want 3: image.png, latin1.txt, broken.jsonl", skipped, err)
	}
	got := map[string]string{}
	for _, x := range texts {
		got[x.Text] = x.Kind
	}
	want := map[string]string{"package a": "go", "# b": "md", "one": "chat", "two": ""}
	if len(texts) != len(want) || len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for text, kind := range want {
		if got[text] != kind {
			t.Errorf("%q is of kind %q, want %q", text, got[text], kind)
		}
	}
	_, _, err = ReadTexts([]string{filepath.Join(dir, "image.png"), filepath.Join(dir, "gone"), filepath.Join(dir, "a.go")})
	if _, ok := errors.AsType[*InputError](err); !ok || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("files by name: got %v, want both mistakes", err)
	}
}

func TestReadTexts_fewHaveSections(t *testing.T) {
	text := strings.Repeat(strings.Repeat("船", 30)+"\n", 100)
	long := folder(t, map[string]string{"long.txt": text, "solid.txt": strings.Repeat("船", 5000)})
	texts, _, err := ReadTexts([]string{long})
	if err != nil || len(texts) < 6 {
		t.Fatalf("%d sections (%v), want 3 of 4 KB of one and 4 of the other", len(texts), err)
	}
	whole := map[string]string{}
	for _, x := range texts {
		file, _, _ := strings.Cut(x.Source, "#")
		whole[filepath.Base(file)] += x.Text
		if len(x.Text) > sectionBytes || !strings.HasSuffix(strings.TrimRight(x.Text, "\n"), "船") {
			t.Errorf("a section of %d bytes ends with %q", len(x.Text), x.Text[len(x.Text)-3:])
		}
	}
	if whole["long.txt"] != text || len(whole["solid.txt"]) != 15000 {
		t.Error("the sections are not the text")
	}
	many := map[string]string{}
	for i := range fewTexts {
		many[fmt.Sprintf("%d.txt", i)] = text
	}
	if texts, _, err = ReadTexts([]string{folder(t, many)}); err != nil || len(texts) != fewTexts {
		t.Errorf("%d texts of %d (%v): many texts are whole", len(texts), fewTexts, err)
	}
}

func TestWriteTable(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "t.u8")
	one, two := new(fit.Table), new(fit.Table)
	one[5], two[5] = 1, 2
	if err := WriteTable(name, one, false); err != nil {
		t.Fatal(err)
	}
	if err := WriteTable(name, two, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another: got %v, want ErrExist", err)
	}
	if got, err := ReadTable(name); err != nil || *got != *one {
		t.Errorf("the table is not the one that was there (%v)", err)
	}
	if err := WriteTable(name, two, true); err != nil {
		t.Errorf("with force: %v", err)
	}
	if got, err := ReadTable(name); err != nil || *got != *two {
		t.Errorf("the table is not the new one (%v)", err)
	}
	if err := WriteTable(dir, one, true); err == nil {
		t.Error("a folder was written over")
	}
	if err := CheckFree(filepath.Join(dir, "no", "t.u8"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in no folder: got %v, want ErrNotExist", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v (%v) are there, want the table alone", entries, err)
	}
}
