package house

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// floor is what the go line of every module says: the first version of a
// release, so that nobody is made to take a patch release for our sake.
const floor = "1.26.0"

// scanner is the start of every module path that the library may require:
// those of the JSON scanner that finds fields in bodies without decoding them.
const scanner = "github.com/tidwall/"

// A modfile holds the lines of a go.mod or go.work by their directive.
type modfile map[string][]string

// parseMod reads go.mod syntax: a directive on a line, or in front of a block.
func parseMod(src string) modfile {
	m, block := modfile{}, ""
	for line := range strings.Lines(src) {
		line, _, _ = strings.Cut(line, "//")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == ")":
			block = ""
		case block != "":
			m[block] = append(m[block], strings.Join(fields, " "))
		case fields[len(fields)-1] == "(":
			block = fields[0]
		default:
			m[fields[0]] = append(m[fields[0]], strings.Join(fields[1:], " "))
		}
	}
	return m
}

// readMods reads go.work and every go.mod of the repository, by their paths.
func readMods(t *testing.T, fsys fs.FS) map[string]modfile {
	t.Helper()
	mods := map[string]modfile{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && !ours(d.Name()) {
			return fs.SkipDir
		}
		if p == "go.work" || d.Name() == "go.mod" {
			src, err := fs.ReadFile(fsys, p)
			if err != nil {
				return err
			}
			mods[p] = parseMod(string(src))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return mods
}

func TestModules(t *testing.T) {
	report(t, badModules(readMods(t, os.DirFS(root))))
}

// badModules complains about modules with another floor, about modules outside
// of the workspace, which nothing would test, and about requirements of the
// library's own module: whoever imports it takes them over.
func badModules(mods map[string]modfile) (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	for _, p := range slices.Sorted(maps.Keys(mods)) {
		if got := strings.Join(mods[p]["go"], " "); got != floor {
			complain("%s says go %q, want %q as in every module", p, got, floor)
		}
		if got := mods[p]["toolchain"]; got != nil {
			complain("%s names a toolchain, %v: the go line is enough", p, got)
		}
		dir := path.Dir(p)
		if dir != "." {
			dir = "./" + dir
		}
		if p != "go.work" && !slices.Contains(mods["go.work"]["use"], dir) {
			complain("%s is not in the workspace: add %s to go.work", p, dir)
		}
	}
	for _, required := range mods["go.mod"]["require"] {
		if !strings.HasPrefix(required, scanner) {
			complain("go.mod requires %s, which importers would have to pin: what needs it belongs in cmd, or proof if it is a test", required)
		}
	}
	for _, replaced := range mods["go.mod"]["replace"] {
		complain("go.mod replaces %s: importers do not see a replacement", replaced)
	}
	return complaints
}

func TestModules_bite(t *testing.T) {
	const work = "go 1.26.0\nuse (\n\t.\n\t./cmd\n)\n"
	const library = "module " + module + "\n\ngo 1.26.0\n\nrequire (\n\tgithub.com/tidwall/gjson v1.18.0\n\tgithub.com/tidwall/match v1.1.1 // indirect\n)\n"
	const command = "module " + module + "/cmd\ngo 1.26.0\nrequire github.com/spf13/cobra v1.10.2\nreplace " + module + " => ../\n"
	tests := []struct {
		reason, path, source string
		want                 []string
	}{
		{reason: "nothing to complain about"},
		{"a floor too high", "cmd/go.mod", strings.Replace(command, floor, "1.27.0", 1), []string{`cmd/go.mod says go "1.27.0"`}},
		{"a floor too high for the workspace", "go.work", strings.Replace(work, floor, "1.26.3", 1), []string{`go.work says go "1.26.3"`}},
		{"a toolchain", "cmd/go.mod", command + "toolchain go1.26.8\n", []string{"cmd/go.mod names a toolchain"}},
		{"a module that nothing tests", "fleet/go.mod", "module fleet\ngo 1.26.0\n", []string{"add ./fleet to go.work"}},
		{"a module of a package manager is not ours", "proof/node_modules/go.mod", "module x\ngo 1.12\n", nil},
		{"a requirement on one line", "go.mod", library + "require github.com/spf13/cobra v1.10.2\n", []string{"go.mod requires github.com/spf13/cobra"}},
		{"a requirement in a block", "go.mod", library + "require (\n\tgolang.org/x/sync v0.24.0 // indirect\n)\n", []string{"go.mod requires golang.org/x/sync"}},
		{"a replacement", "go.mod", library + "replace github.com/tidwall/gjson => ../gjson\n", []string{"go.mod replaces"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			sources := map[string]string{"go.work": work, "go.mod": library, "cmd/go.mod": command}
			if tt.path != "" {
				sources[tt.path] = tt.source
			}
			wantComplaints(t, badModules(readMods(t, inMemory(sources))), tt.want...)
		})
	}
}

// TestImporters_compileAndPinAScannerOnly builds nothing: it asks the go
// command what a program outside of the workspace that imports all of the
// library would compile, and what it would have to pin.
func TestImporters_compileAndPinAScannerOnly(t *testing.T) {
	dir := importer(t)
	compiled := goWords(t, dir, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	pinned := goWords(t, dir, "mod", "graph")
	if !slices.Contains(compiled, module) {
		t.Fatalf("the program compiles %v, want %s among them: the test imports nothing", compiled, module)
	}
	for _, m := range compiled {
		if m != module && m != "importer" && !strings.HasPrefix(m, scanner) {
			t.Errorf("importers compile %s, want the standard library and %s… only", m, scanner)
		}
	}
	for _, m := range pinned {
		name, _, _ := strings.Cut(m, "@")
		// The floor of each module is in the graph as go and toolchain.
		if !slices.Contains([]string{module, "importer", "go", "toolchain"}, name) && !strings.HasPrefix(name, scanner) {
			t.Errorf("importers pin %s, want %s… only", m, scanner)
		}
	}
}

// importer writes a program that imports every package of the library's own
// module that may be imported, and returns its folder.
func importer(t *testing.T) string {
	t.Helper()
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	source.WriteString("package main\n\nimport (\n")
	for _, p := range libraryPackages(repository(t), readMods(t, os.DirFS(root))) {
		fmt.Fprintf(&source, "\t_ %q\n", p)
	}
	source.WriteString(")\n\nfunc main() {}\n")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), source.String())
	write(t, filepath.Join(dir, "go.mod"), fmt.Sprintf(
		"module importer\n\ngo %s\n\nrequire %s v0.0.0\n\nreplace %s => %q\n", floor, module, module, abs))
	if sums, err := os.ReadFile(filepath.Join(root, "go.sum")); err == nil {
		write(t, filepath.Join(dir, "go.sum"), string(sums))
	}
	return dir
}

// libraryPackages lists the import paths of the root module, without its
// commands and what is internal to it.
func libraryPackages(files []file, mods map[string]modfile) []string {
	var paths []string
	for _, f := range files {
		if f.test() || f.ast.Name.Name == "main" || inOtherModule(f.dir(), mods) ||
			slices.Contains(strings.Split(f.dir(), "/"), "internal") {
			continue
		}
		paths = append(paths, path.Join(module, f.dir()))
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// inOtherModule reports whether a folder lies in a module other than the root.
func inOtherModule(dir string, mods map[string]modfile) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := mods[path.Join(dir, "go.mod")]; ok {
			return true
		}
	}
	return false
}

// goWords runs the go command as someone outside of this repository would,
// with no network, and returns the different words it prints.
func goWords(t *testing.T, dir string, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off", "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, stderr.String())
	}
	words := strings.Fields(string(out))
	slices.Sort(words)
	return slices.Compact(words)
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
