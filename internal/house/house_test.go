package house

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// The root of the repository, seen from the folder of this package.
const root = "../.."

// The module path of the library; every other module is a folder below it.
const module = "github.com/evenkeel-dev/evenkeel"

// A file is one Go file of the repository.
type file struct {
	path    string // from the root, with slashes
	lines   int
	imports []string
	ast     *ast.File
	fset    *token.FileSet
}

func (f file) dir() string  { return path.Dir(f.path) }
func (f file) name() string { return path.Base(f.path) }
func (f file) test() bool   { return strings.HasSuffix(f.path, "_test.go") }

// at is the line of n, in the form editors jump to.
func (f file) at(n ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.fset.Position(n.Pos()).Line)
}

// ours reports whether a folder holds files of this repository: not those of
// version control, of a package manager, or data of tests.
func ours(name string) bool {
	return name == "." || !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "_") &&
		!slices.Contains([]string{"node_modules", "testdata", "bin"}, name)
}

// load parses every Go file below the root of fsys.
func load(t *testing.T, fsys fs.FS) []file {
	t.Helper()
	var files []file
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && !ours(d.Name()) {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(p) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		f := file{path: p, lines: bytes.Count(src, []byte("\n")), fset: token.NewFileSet()}
		f.ast, err = parser.ParseFile(f.fset, p, src, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, spec := range f.ast.Imports {
			f.imports = append(f.imports, strings.Trim(spec.Path.Value, `"`))
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("found no Go files")
	}
	return files
}

// repository is every Go file of this repository.
func repository(t *testing.T) []file {
	t.Helper()
	return load(t, os.DirFS(root))
}

// madeUp is a repository of the given files.
func madeUp(t *testing.T, sources map[string]string) []file {
	t.Helper()
	return load(t, inMemory(sources))
}

func inMemory(sources map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for p, src := range sources {
		fsys[p] = &fstest.MapFile{Data: []byte(src)}
	}
	return fsys
}

// report fails the test once for every complaint.
func report(t *testing.T, complaints []string) {
	t.Helper()
	for _, c := range complaints {
		t.Error(c)
	}
}

// wantComplaints compares complaints by a part of their text, in order.
func wantComplaints(t *testing.T, got []string, want ...string) {
	t.Helper()
	same := func(got, want string) bool { return strings.Contains(got, want) }
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("complaints:\n got %q\nwant %q", got, want)
	}
}
