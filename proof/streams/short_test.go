//go:build !prove

package streams

// Fewer than in make prove: the SDK takes a millisecond for a stream, and ten
// of them under the race detector.
const (
	count    = 3000
	sdkEvery = 6
)
