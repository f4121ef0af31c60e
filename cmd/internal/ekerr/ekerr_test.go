package ekerr

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/errors.md")

func TestPrint(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
		exit int
	}{
		"with all its parts": {
			err: &Error{Code: ConfigKey, At: "evenkeel.yaml:9:3", What: `unknown key "max_attemps" under retry`, Do: []string{`did you mean "max_attempts"?`}},
			want: "error EK-CONFIG-KEY  evenkeel.yaml:9:3  unknown key \"max_attemps\" under retry\n" +
				"  did you mean \"max_attempts\"?  ·  evenkeel explain EK-CONFIG-KEY\n",
			exit: 10,
		},
		"a cause is the why": {
			err:  Wrap(Listen, errors.New("permission denied"), "cannot listen on :80"),
			want: "error EK-LISTEN  cannot listen on :80\n  permission denied\n  evenkeel explain EK-LISTEN\n",
			exit: 1,
		},
		"several at once, with the code of the first": {
			err: List{New(Credentials, "no key"), New(Usage, "no prompt")},
			want: "error EK-CREDENTIALS  no key\n  evenkeel explain EK-CREDENTIALS\n" +
				"error EK-USAGE  no prompt\n  evenkeel explain EK-USAGE\n",
			exit: 4,
		},
		"without a code": {
			err:  fmt.Errorf("odd: %w", context.Canceled),
			want: "error EK-FAILED  odd: context canceled\n  evenkeel explain EK-FAILED\n",
			exit: 1,
		},
		"an exit code of its own": {
			err:  &Error{Code: Interrupted, What: "stopped", Exit: 143},
			want: "error EK-INTERRUPTED  stopped\n  evenkeel explain EK-INTERRUPTED\n",
			exit: 143,
		},
		"wrapped by someone else": {
			err:  fmt.Errorf("closing: %w", New(Usage, "no prompt")),
			want: "error EK-USAGE  no prompt\n  evenkeel explain EK-USAGE\n",
			exit: 2,
		},
		"the word of a child is the last": {err: Status(7), exit: 7},
		"nothing":                         {},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			Print(&out, tc.err)
			if out.String() != tc.want {
				t.Errorf("got\n%s\nwant\n%s", out.String(), tc.want)
			}
			if got := Exit(tc.err); got != tc.exit {
				t.Errorf("exit code %d, want %d", got, tc.exit)
			}
		})
	}
}

func TestMark(t *testing.T) {
	for _, tc := range []struct {
		text   string
		column int
		want   string
	}{
		{"ab cd", 4, "ab cd\n   ^"},
		{"é x", 4, "é x\n  ^"}, // é has two bytes and is one column wide
		{"ab", 3, "ab\n  ^"},
		{"ab", 4, "ab"},
		{"ab", 0, "ab"},
	} {
		if got := Mark(tc.text, tc.column); got != tc.want {
			t.Errorf("Mark(%q, %d) is %q, want %q", tc.text, tc.column, got, tc.want)
		}
	}
}

func TestError_unwraps(t *testing.T) {
	err := error(List{New(Usage, "x"), Wrap(Failed, os.ErrNotExist, "y")})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v is not os.ErrNotExist", err)
	}
}

// Whatever code a user meets, explain knows it.
func TestCatalogue_hasEveryCode(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	files, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := filepath.Glob(filepath.Join(root, "gateway", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range append(append(files, gateway...), own...) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`= "(EK-[A-Z-]+)"`).FindAllStringSubmatch(string(source), -1) {
			found++
			if _, ok := Lookup(Code(m[1])); !ok {
				t.Errorf("%s: %s is not in the catalogue", file, m[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("found %d codes: the search is broken", found)
	}
}

func TestCatalogue_entries(t *testing.T) {
	seen := map[Code]bool{}
	for _, e := range Catalogue() {
		if seen[e.Code] {
			t.Errorf("%s is there twice", e.Code)
		}
		seen[e.Code] = true
		if e.Means == "" || e.Do == "" || e.Exit < 1 {
			t.Errorf("%s is incomplete: %+v", e.Code, e)
		}
	}
}

// docs/errors.md is written from the catalogue: go test ./internal/ekerr -update
func TestCatalogue_isDocumented(t *testing.T) {
	file := filepath.Join("..", "..", "..", "docs", "errors.md")
	var want strings.Builder
	want.WriteString("# Error codes\n\n" +
		"Every error of the command line, and every answer of evenkeel's own (`evenkeel-reason`,\n" +
		"`error.details.error_code`), has a code. Codes do not change from version to version;\n" +
		"`evenkeel explain CODE` prints what is here. The exit code is that of a command which ends with it:\n" +
		"see [cli.md](cli.md#exit-codes).\n")
	for _, e := range Catalogue() {
		fmt.Fprintf(&want, "\n### %s\n\nExit code %d. %s\n\n**What to do.** %s\n", e.Code, e.Exit, e.Means, e.Do)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want.String() {
		t.Errorf("docs/errors.md is not what the catalogue says (%v); write it with: go test ./internal/ekerr -update", err)
	}
}

// docs/cli.md has a row for every exit code that the catalogue uses.
func TestExitCodes_areDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range Catalogue() {
		if !strings.Contains(string(text), fmt.Sprintf("\n| %d |", e.Exit)) {
			t.Errorf("docs/cli.md has no row for exit code %d of %s", e.Exit, e.Code)
		}
	}
}
