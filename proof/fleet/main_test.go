package fleet

import (
	"os"
	"testing"

	"github.com/evenkeel-dev/evenkeel/proof/internal/binary"
)

func TestMain(m *testing.M) {
	code := m.Run()
	binary.Remove()
	os.Exit(code)
}
