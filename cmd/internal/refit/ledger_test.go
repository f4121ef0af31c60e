package refit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	testUpstream = "https://api.test"
	testModel    = "claude-test"
)

func openLedger(tb testing.TB, name string) *Ledger {
	tb.Helper()
	l, err := OpenLedger(name, testUpstream, testModel)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.file.Close() }) // where the test has not
	return l
}

// filled is the bytes of a ledger with answers 1 … n to "text 1" … "text n".
func filled(tb testing.TB, n int) []byte {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "ledger")
	l := openLedger(tb, name)
	for i := 1; i <= n; i++ {
		if err := l.Add(fmt.Sprintf("text %d", i), i); err != nil {
			tb.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func written(tb testing.TB, data []byte) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "ledger")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

func wantAnswers(tb testing.TB, l *Ledger, n int) {
	tb.Helper()
	for i := 1; i <= n; i++ {
		if got, ok := l.Tokens(fmt.Sprintf("text %d", i)); !ok || got != i {
			tb.Errorf("text %d has %d tokens (%v), want %d", i, got, ok, i)
		}
	}
	if _, ok := l.Tokens(fmt.Sprintf("text %d", n+1)); ok {
		tb.Errorf("text %d has an answer, and none was written", n+1)
	}
}

func TestLedger_hasNoText(t *testing.T) {
	if data := filled(t, 3); bytes.Contains(data, []byte("text")) {
		t.Errorf("the ledger has the text: %s", data)
	}
}

// However much of the file was written when its process ended: what was
// answered before is there, and the file goes on.
func TestLedger_tornAnywhere(t *testing.T) {
	data := filled(t, 3)
	for cut := range len(data) + 1 {
		name := written(t, data[:cut])
		l := openLedger(t, name)
		whole := max(0, bytes.Count(data[:cut], []byte("\n"))-1)
		wantAnswers(t, l, whole)
		if l.Broken != 0 {
			t.Errorf("cut at %d: %d broken lines, want 0", cut, l.Broken)
		}
		if err := l.Add("more", 7); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again := openLedger(t, name)
		wantAnswers(t, again, whole)
		if got, ok := again.Tokens("more"); !ok || got != 7 {
			t.Fatalf("cut at %d: what was added is lost", cut)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLedger_linesThatCannotBeRead(t *testing.T) {
	head, rest, _ := strings.Cut(string(filled(t, 2)), "\n")
	l := openLedger(t, written(t, []byte(head+"\n\x00\x00\n{\"probe\":\"x\"}\n{\"probe\":\"x\",\"tokens\":-1}\n"+rest)))
	wantAnswers(t, l, 2)
	if got, want := l.Broken, 3; got != want {
		t.Errorf("%d broken lines, want %d", got, want)
	}
}

func TestOpenLedger_refuses(t *testing.T) {
	data := filled(t, 1)
	t.Run("another model", func(t *testing.T) {
		_, err := OpenLedger(written(t, data), testUpstream, "claude-other")
		if other, ok := errors.AsType[*OtherError](err); !ok || other.Model != testModel || other.Upstream != testUpstream {
			t.Errorf("got %v, want an OtherError with what it is of", err)
		}
	})
	t.Run("another upstream", func(t *testing.T) {
		_, err := OpenLedger(written(t, data), "https://other.test", testModel)
		if _, ok := errors.AsType[*OtherError](err); !ok {
			t.Errorf("got %v, want an OtherError", err)
		}
	})
	for _, content := range []string{"dear diary", "dear diary\n", "{}\n", `{"text":"a","tokens":1}` + "\n"} {
		t.Run("what is something else: "+content, func(t *testing.T) {
			name := written(t, []byte(content))
			if _, err := OpenLedger(name, testUpstream, testModel); !errors.Is(err, ErrNoLedger) {
				t.Errorf("got %v, want ErrNoLedger", err)
			}
			if got, err := os.ReadFile(name); err != nil || string(got) != content {
				t.Errorf("the file is now %q (%v)", got, err)
			}
		})
	}
	t.Run("one that is in use", func(t *testing.T) {
		name := written(t, data)
		first := openLedger(t, name)
		if _, err := OpenLedger(name, testUpstream, testModel); !errors.Is(err, ErrInUse) {
			t.Errorf("got %v, want ErrInUse", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		wantAnswers(t, openLedger(t, name), 1)
	})
}

// Whatever follows the first line, the ledger opens, and keeps what is added.
func FuzzOpenLedger(f *testing.F) {
	head, rest, _ := strings.Cut(string(filled(f, 2)), "\n")
	f.Add([]byte(rest))
	f.Add([]byte(rest[:len(rest)-5]))
	f.Add([]byte("\n\n{}\n{\"probe\":\"a\",\"tokens\":1e99}\n"))
	f.Fuzz(func(t *testing.T, after []byte) {
		name := written(t, append([]byte(head+"\n"), after...))
		l := openLedger(t, name)
		if err := l.Add("more", 7); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again := openLedger(t, name)
		if got, ok := again.Tokens("more"); !ok || got != 7 {
			t.Error("what was added is lost")
		}
		if again.Broken != l.Broken {
			t.Errorf("%d broken lines, and %d before one more was added", again.Broken, l.Broken)
		}
	})
}
