package call_test

import (
	"testing"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/call/calltest"
)

func TestMemory_conforms(t *testing.T) {
	calltest.Run(t, func(_ *testing.T, c calltest.Config) call.Admission {
		return call.NewMemory(call.MemoryConfig{Breaker: c.Breaker, RetryBudget: c.Budget, Limits: c.Limits, QueueDepth: c.Depth})
	})
}
