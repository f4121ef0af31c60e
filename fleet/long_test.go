//go:build prove

package fleet

const (
	rehearsals = 40
	draws      = "400"
)
