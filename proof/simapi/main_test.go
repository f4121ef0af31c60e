package simapi

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests are all of them, and what they leave running.
type tests struct{ *testing.M }

// Run implements goleak.TestingM.
func (m tests) Run() int {
	defer endProcesses()
	return m.M.Run()
}
