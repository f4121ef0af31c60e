//go:build !race

package binary

var flags []string
