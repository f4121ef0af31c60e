package clients

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "evenkeel-clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	waitTogether()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// waitTogether lets parallel tests be more than there are processors: what
// they do most is wait, for retries and for half a minute of overload. A
// -parallel that was asked for stands.
func waitTogether() {
	const together = "16"
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if asked {
		return
	}
	if err := flag.Set("test.parallel", together); err != nil {
		panic(err) // the flag is the testing package's own
	}
}

// binDir is where the binary under test goes.
var binDir string

// build makes the real binary, once, the first time a test asks for it.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binDir, "evenkeel")
	args := append([]string{"build", "-o", path}, raceFlags...)
	cmd := exec.Command("go", append(args, "./evenkeel")...)
	cmd.Dir = filepath.Join("..", "..", "cmd")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./evenkeel: %w\n%s", err, out)
	}
	return path, nil
})

func binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
