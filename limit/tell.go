package limit

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Told is what the Rate Limits API tells of one class.
type Told struct {
	Class     string
	Workspace string // "" for a limit of the organisation
	Rates     Rates
	Fast      Rates // of fast mode, which has tokens only
}

// ParseTold reads an answer to GET /v1/organizations/rate_limits, or to
// /v1/organizations/workspaces/{id}/rate_limits: what it tells, and the value
// of the query's page for what follows, "" if that was all. Groups that are
// not limited here, and kinds of limits that are not known, are left out.
//
// Groups come as an object, in older answers as a flat group_type; both are
// read (“Rate Limits API”, platform.claude.com, 2026-08-22; SDK
// organizationratelimit.go).
func ParseTold(body []byte) (list []Told, page string, err error) {
	var in struct {
		Data []entry `json:"data"`
		Next *string `json:"next_page"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, "", fmt.Errorf("limit: rate limits cannot be read: %w", err)
	}
	for _, e := range in.Data {
		list = e.append(list)
	}
	if in.Next != nil {
		page = *in.Next
	}
	return list, page, nil
}

// entry is one group of limits.
type entry struct {
	Group struct {
		Type string `json:"type"`
	} `json:"group"`
	GroupType string   `json:"group_type"`
	Workspace string   `json:"workspace_id"`
	Models    []string `json:"models"` // ids and aliases; null if it is about something else
	Limits    []struct {
		Type  string      `json:"type"`
		Value json.Number `json:"value"`
	} `json:"limits"`
}

// append adds what an entry tells, once for each class it is about.
func (e *entry) append(list []Told) []Told {
	told := Told{Workspace: e.Workspace}
	told.Rates, told.Fast = e.rates()
	if told.Rates == (Rates{}) && told.Fast == (Rates{}) {
		return list
	}
	kind := e.Group.Type
	if kind == "" {
		kind = e.GroupType
	}
	switch kind {
	case "batch":
		told.Class = ClassBatches
		return append(list, told)
	case "token_count":
		told.Class = ClassCountTokens
		return append(list, told)
	case "model_group":
	default:
		return list
	}
	for _, id := range e.Models {
		told.Class = claude.ModelClass(id)
		if told.Class != "" && !slices.Contains(list, told) {
			list = append(list, told)
		}
	}
	return list
}

// rates reads the limits of an entry. Where input is limited twice, the limit
// that cache reads do not count against is the one that is kept here.
func (e *entry) rates() (usual, fast Rates) {
	aware := false
	for _, l := range e.Limits {
		n, err := l.Value.Int64()
		if err != nil || n <= 0 || n > 1<<52 {
			continue
		}
		switch l.Type {
		case "requests_per_minute":
			usual.RPM = n
		case "input_tokens_per_minute_cache_aware":
			usual.ITPM, usual.CountsReads, aware = n, false, true
		case "input_tokens_per_minute":
			if !aware {
				usual.ITPM, usual.CountsReads = n, true
			}
		case "output_tokens_per_minute":
			usual.OTPM = n
		case "fast_itpmca":
			fast.ITPM = n
		case "fast_otpm":
			fast.OTPM = n
		}
	}
	return usual, fast
}

// maxTold bounds the organisations of which the Rate Limits API's answers are
// kept: it needs an Admin key of each.
const maxTold = 1000

// Tell takes over what the Rate Limits API told of an organisation. Limits
// that headers show go before it; they are what is enforced.
func (b *Book) Tell(now time.Time, organization string, list []Told) {
	if organization == "" || b.cfg.Fixed {
		return
	}
	t := b.tick(now)
	if b.api[organization] == nil {
		if len(b.api) >= maxTold {
			return
		}
		b.api[organization] = map[toldKey]Rates{}
	}
	for _, told := range list {
		b.api[organization][toldKey{told.Workspace, told.Class, false}] = told.Rates
		b.api[organization][toldKey{told.Workspace, told.Class, true}] = told.Fast
		if told.Workspace != "" && told.Rates != (Rates{}) {
			k := groupKey{role: ofWorkspace, owner: organization, workspace: told.Workspace, class: told.Class}
			b.group(t, k, &scope{}, "")
		}
	}
	b.groups.all(func(g *group) bool {
		if g.key.owner == organization {
			b.configure(t, g)
		}
		return true
	})
}

// toldKey is what the Rate Limits API tells limits of.
type toldKey struct {
	workspace, class string
	fast             bool
}
