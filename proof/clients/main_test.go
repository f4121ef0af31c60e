package clients

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/evenkeel-dev/evenkeel/proof/internal/binary"
)

func TestMain(m *testing.M) {
	waitTogether()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		binary.Remove()
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
