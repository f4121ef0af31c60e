//go:build !linux

package servertest

import (
	"os/exec"
	"syscall"
	"time"
)

func attributes() *syscall.SysProcAttr { return nil }

func start(cmd *exec.Cmd) error { return cmd.Start() }

// frozen cannot be seen here: it takes moments.
func frozen(int) bool {
	time.Sleep(20 * time.Millisecond)
	return true
}
