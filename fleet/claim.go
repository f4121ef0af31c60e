package fleet

import (
	"math/rand/v2"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// How what package limit knows is said to the store, and back.

// kindsOf are the kinds of the buckets of a group, in order: a group is always
// asked for with the same.
func kindsOf(p *limit.Part) []limit.Kind {
	switch {
	case !p.Messages:
		return []limit.Kind{limit.Requests}
	case p.Of == "workspace":
		return []limit.Kind{limit.Requests, limit.Input, limit.Output, limit.Tokens}
	default:
		return []limit.Kind{limit.Requests, limit.Input, limit.Output}
	}
}

// kindOf is a kind in the store's words.
func kindOf(k limit.Kind) Kind { return Kind(k) + 1 }

// nameOf names a group, within those of its owner.
func nameOf(p *limit.Part) string {
	name := p.Class
	if p.Fast {
		name += "+fast"
	}
	switch p.Of {
	case "workspace":
		name = p.Workspace + "/" + name
	case "client":
		name = "client:" + p.Owner + "/" + name
	}
	return clean(name)
}

func groupsOf(c limit.Claim) []Group {
	groups := make([]Group, 0, len(c.Parts))
	for i := range c.Parts {
		p := &c.Parts[i]
		g := Group{Name: nameOf(p), Pace: p.Pace}
		for _, k := range kindsOf(p) {
			a := &p.Asks[k]
			g.Buckets = append(g.Buckets, Bucket{
				Kind: kindOf(k), Cost: a.Cost, Cap: a.Cap, Keep: a.Keep, Limit: a.Limit, Depth: a.Depth, Level: a.Level,
			})
		}
		groups = append(groups, g)
	}
	return groups
}

// news is what a reply tells. What this process's own share holds is nobody's
// level.
func (t *attempt) news(r *Reply) (n limit.News) {
	if r.Local {
		return n
	}
	n.Sharers = r.Live
	for i := range t.claim.Parts {
		if i >= len(r.Groups) {
			break
		}
		g := &r.Groups[i]
		var levels [4]limit.Heard
		for _, b := range g.Buckets {
			if b.Kind >= Requests && b.Kind <= Tokens {
				levels[b.Kind-1] = limit.Heard{Limit: b.Limit, Depth: b.Depth, Level: b.Level}
			}
		}
		n.Levels, n.Paused = append(n.Levels, levels), append(n.Paused, g.Paused)
	}
	return n
}

// views is what an answer has shown, in the order of the request.
func (t *attempt) views(s limit.Shown) (views [][]View, any bool) {
	for i := range t.claim.Parts {
		var vs []View
		for _, k := range kindsOf(&t.claim.Parts[i]) {
			w := s[i][k]
			any = any || w.Limit > 0
			vs = append(vs, View{Limit: w.Limit, Remaining: w.Remaining, Low: w.Low, High: w.High, Early: w.Early, Late: w.Late})
		}
		views = append(views, vs)
	}
	return views, any
}

func purseOf(n call.Need) Purse {
	if n.Price > 0 && n.Purse == classify.ScopePurse {
		return ScopePurse
	}
	return LanePurse
}

func random() float64 { return rand.Float64() } //nolint:gosec // a place in a ramp
