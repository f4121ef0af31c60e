// Package binary builds the real evenkeel for tests that run it as a process.
package binary

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built is one way to build, done once.
type built func() (string, error)

func building(flags ...string) built {
	return sync.OnceValues(func() (string, error) { return build(flags) })
}

var made struct {
	sync.Mutex
	dirs []string
}

var (
	asTested = building(flags...)
	plain    = building()
)

func build(flags []string) (string, error) {
	dir, err := os.MkdirTemp("", "evenkeel-proof-")
	if err != nil {
		return "", err
	}
	made.Lock()
	made.dirs = append(made.dirs, dir)
	made.Unlock()
	path := filepath.Join(dir, "evenkeel")
	args := append([]string{"build", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, "github.com/evenkeel-dev/evenkeel/cmd/evenkeel")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

// Path returns the path of the binary, built once per test process, with the
// race detector if the test has it.
func Path(t testing.TB) string {
	t.Helper()
	return asTested.path(t)
}

// Plain is Path without the race detector, whatever the test has: for many
// processes at once, of which it matters how fast they are.
func Plain(t testing.TB) string {
	t.Helper()
	return plain.path(t)
}

func (b built) path(t testing.TB) string {
	t.Helper()
	path, err := b()
	if err != nil {
		t.Fatalf("go build: %v", err)
	}
	return path
}

// Remove deletes what has been built. Call it when all tests have ended.
func Remove() {
	made.Lock()
	defer made.Unlock()
	for _, dir := range made.dirs {
		_ = os.RemoveAll(dir)
	}
}
