//go:build prove

package streams

const (
	count    = 10_000
	sdkEvery = 1
)
