package evenkeel

import (
	"context"

	"github.com/evenkeel-dev/evenkeel/call"
)

// Caller is who a request is made for, where one Transport serves several: a
// gateway tells it with [WithCaller]. What waits is shared fairly between the
// callers of one class, by weight.
type Caller struct {
	Name    string  // as configured: its own limits are found by it; "" if it has none
	Address string  // tells callers apart that have neither name nor credential
	Weight  float64 // 0 means 1
	Own     bool    // the credential is that of whoever runs this: Limits.Models counts. Without a Caller it does
}

type callerKey struct{}

// WithCaller returns a context for a request that is made for c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// describeCaller says who is one party in what is fair: who has a name by that,
// others by their credential, and where there is none by their address.
func (d *description) describeCaller(ctx context.Context) {
	c, told := ctx.Value(callerKey{}).(Caller)
	if !told {
		c.Own = true // a program that uses the library calls for itself
	}
	d.caller = call.Caller{Name: c.Name, Weight: c.Weight, Own: c.Own, Workspace: d.workspace}
	switch {
	case c.Name != "":
		d.caller.Flow = "client " + c.Name
	case d.scope != "":
		d.caller.Flow = d.scope
	default:
		d.caller.Flow = c.Address
	}
}
