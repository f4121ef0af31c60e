package limit

import "github.com/evenkeel-dev/evenkeel/claude"

// Rates are limits per minute. 0 says nothing.
type Rates struct {
	RPM, ITPM, OTPM int64
	// CountsReads tells that ITPM counts what is read from the prompt cache,
	// as the limit of a workspace may.
	CountsReads bool
}

// Classes that are no models.
const (
	ClassAny         = "*"             // what has no rates of its own
	ClassCountTokens = "/count_tokens" // requests only
	ClassBatches     = "/batches"      // requests that create a batch
)

// Config configures a [Book]. The zero Config learns everything from answers.
//
// Rates are by model or class; models of one class share a bucket, so that of
// two that are named the lower rates hold for both. A configured limit that is
// above the upstream's has no effect.
type Config struct {
	// Fixed turns learning from answers off, but for pauses. Where nothing is
	// configured nothing is limited then.
	Fixed bool

	// Headroom is the share of a limit that is left unused for a minute after
	// a sign that others use it too. 0 means 0.05; less than 0 means none.
	Headroom float64

	Models        map[string]Rates            // of our own credential
	Organizations map[string]map[string]Rates // by organisation id
	Clients       map[string]map[string]Rates // by the name of the caller
}

// Source says who told a limit.
type Source uint8

// The sources.
const (
	Headers Source = iota
	API
	Configured
	sources
	Nobody
)

// String returns the source as snapshots spell it.
func (s Source) String() string {
	return [...]string{Headers: "headers", API: "api", Configured: "config", sources: "", Nobody: ""}[min(s, Nobody)]
}

func (b *Book) headroom() float64 {
	if b.cfg.Headroom == 0 {
		return defaultHeadroom
	}
	return max(0, b.cfg.Headroom)
}

// classed returns a copy with classes for models.
func (c Config) classed() Config {
	c.Models = classed(c.Models)
	c.Organizations = eachClassed(c.Organizations)
	c.Clients = eachClassed(c.Clients)
	return c
}

func eachClassed(in map[string]map[string]Rates) map[string]map[string]Rates {
	out := make(map[string]map[string]Rates, len(in))
	for name, rates := range in {
		out[name] = classed(rates)
	}
	return out
}

func classed(in map[string]Rates) map[string]Rates {
	out := make(map[string]Rates, len(in))
	for model, r := range in {
		class := claude.ModelClass(model)
		if have, ok := out[class]; ok {
			r = Rates{lower(r.RPM, have.RPM), lower(r.ITPM, have.ITPM), lower(r.OTPM, have.OTPM), r.CountsReads || have.CountsReads}
		}
		out[class] = r
	}
	return out
}

// lower is the lower of two limits, of which 0 is none.
func lower(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// ratesOf looks a class up. Rates for any model are not for other paths.
func ratesOf(m map[string]Rates, class string) Rates {
	r, ok := m[class]
	if !ok && class != ClassCountTokens && class != ClassBatches {
		r = m[ClassAny]
	}
	return r
}

// configure applies what is configured, and what the Rate Limits API has told.
func (b *Book) configure(t tick, g *group) {
	g.silent = g.silent || b.cfg.Fixed
	switch g.key.role {
	case ofClient:
		g.know(t, Configured, ratesOf(b.cfg.Clients[g.key.owner], g.key.class))
	case ofOrganization:
		r, ok := b.cfg.Organizations[g.key.owner]
		if !ok && g.ours {
			r = b.cfg.Models
		}
		b.usually(t, g, ratesOf(r, g.key.class))
	case ofCredential:
		if g.ours {
			b.usually(t, g, ratesOf(b.cfg.Models, g.key.class))
		}
	}
	if g.key.role == ofOrganization || g.key.role == ofWorkspace {
		g.know(t, API, b.api[g.key.owner][toldKey{g.key.workspace, g.key.class, g.key.fast}])
	}
}

// usually applies configured rates, which are not those of fast mode.
func (b *Book) usually(t tick, g *group, r Rates) {
	if !g.key.fast {
		g.know(t, Configured, r)
	}
}
