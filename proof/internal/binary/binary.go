// Package binary builds the real evenkeel for tests that run it as a process.
package binary

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

var asked atomic.Bool

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "evenkeel-proof-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "evenkeel")
	args := append([]string{"build", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, "github.com/evenkeel-dev/evenkeel/cmd/evenkeel")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// Path returns the path of the binary, built once per test process, with the
// race detector if the test has it.
func Path(t testing.TB) string {
	t.Helper()
	asked.Store(true)
	path, err := build()
	if err != nil {
		t.Fatalf("go build: %v", err)
	}
	return path
}

// Remove deletes what Path has built, if it has. Call it when all tests have
// ended.
func Remove() {
	if !asked.Load() {
		return
	}
	if path, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
}
