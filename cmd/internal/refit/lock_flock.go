//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package refit

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the file for this process until it is closed. The kernel gives it
// back however the process ends.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}
