package sim

import (
	"hash/fnv"
	"slices"
	"strconv"
)

// limiter is the value of one kind of limit, as the Rate Limits API shows it.
type limiter struct {
	Type  string `json:"type"`
	Value int    `json:"value"`
}

// limitGroup is what limits are about.
type limitGroup struct {
	Type groupType `json:"type"`
	ID   string    `json:"id"`
	Name string    `json:"display_name,omitempty"` // of models only
}

// limitEntry is an entry of GET /v1/organizations/rate_limits.
type limitEntry struct {
	ID     string     `json:"id"`
	Type   string     `json:"type"`
	Group  limitGroup `json:"group"`
	Models []string   `json:"models"` // null unless the group is one of models
	Limits []limiter  `json:"limits"`
}

// workspaceEntry is an entry of GET
// /v1/organizations/workspaces/{id}/rate_limits.
type workspaceEntry struct {
	RateLimitID string             `json:"rate_limit_id"`
	Type        string             `json:"type"`
	WorkspaceID string             `json:"workspace_id"`
	Group       limitGroup         `json:"group"`
	Models      []string           `json:"models"`
	Limits      []workspaceLimiter `json:"limits"`
}

type workspaceLimiter struct {
	limiter
	OrgLimit *int `json:"org_limit"`
	Source   struct {
		Type string `json:"type"`
	} `json:"source"`
}

// configured returns the limits an organisation has for a model, or with a
// workspace the ones that this has beside them. It is all that is known here of
// how limits are kept.
func (a *API) configured(organization, workspace, model string) []limiter {
	a.mu.Lock()
	usual, _ := a.limitOf(organization, workspace, model, false)
	fast, _ := a.limitOf(organization, workspace, model, true)
	a.mu.Unlock()
	input := "input_tokens_per_minute_cache_aware"
	if usual.CacheReads {
		input = "input_tokens_per_minute"
	}
	return set([]limiter{
		{"requests_per_minute", usual.RPM},
		{input, usual.ITPM},
		{"output_tokens_per_minute", usual.OTPM},
		{"fast_itpmca", fast.ITPM},
		{"fast_otpm", fast.OTPM},
	})
}

// set returns the limits that are any.
func set(list []limiter) []limiter {
	return slices.DeleteFunc(list, func(l limiter) bool { return l.Value <= 0 })
}

// groups returns the groups of limits, without values: the classes of models
// in the order of the catalogue, then the others.
func (a *API) groups(organization string) []limitEntry {
	var list []limitEntry
	for _, id := range a.cfg.Models {
		if a.forbids(id) {
			continue
		}
		s := specOf(id)
		groupID := "rlg_" + hashID(s.class)
		at := slices.IndexFunc(list, func(e limitEntry) bool { return e.Group.ID == groupID })
		if at < 0 {
			list = append(list, limitEntry{Group: limitGroup{groupModels, groupID, s.name}})
			at = len(list) - 1
		}
		if e := &list[at]; e.Group.Name != s.name {
			e.Group.Name = displayName("claude-"+s.class) + ".x" // several are one class
		}
		list[at].Models = append(list[at].Models, id)
	}
	for _, group := range []groupType{groupBatch, groupTokenCount, groupFiles} {
		list = append(list, limitEntry{Group: limitGroup{Type: group, ID: "rlg_" + hashID(string(group))}})
	}
	for i := range list {
		list[i].Type, list[i].ID = "rate_limit", "rl_"+hashID(organization, list[i].Group.ID)
	}
	return list
}

// hashID makes the distinguishing part of an id from words.
func hashID(words ...string) string {
	hash := fnv.New64a()
	for _, word := range words {
		_, _ = hash.Write([]byte(word + "\n")) // a hash never fails
	}
	return "sim" + strconv.FormatUint(hash.Sum64(), 36)
}

// limitsOf returns what an organisation, or one of its workspaces, has for a
// group.
func (a *API) limitsOf(organization, workspace string, e limitEntry) []limiter {
	switch {
	case e.Group.Type == groupModels:
		return a.configured(organization, workspace, e.Models[0])
	case workspace != "":
		return nil
	}
	other := a.cfg.Other
	list := []limiter{{"requests_per_minute", other.rpm(e.Group.Type)}}
	if e.Group.Type == groupBatch { // the name is that of “Rate Limits API”, platform.claude.com
		list = append(list, limiter{"enqueued_batch_requests", other.BatchQueue})
	}
	return set(list)
}

// groupTypes are what group_type may ask for.
var groupTypes = []groupType{groupModels, groupBatch, groupTokenCount, groupFiles, "skills", "web_search"}

// asked returns the groups that a request asks for with group_type and model.
func (t *attempt) asked(q ask) ([]limitEntry, *reject) {
	query := q.r.URL.Query()
	list := t.api.groups(t.organization())
	if kind := groupType(query.Get("group_type")); kind != "" {
		if !slices.Contains(groupTypes, kind) {
			return nil, invalid("group_type: must be one of %v", groupTypes)
		}
		list = slices.DeleteFunc(list, func(e limitEntry) bool { return e.Group.Type != kind })
	}
	if id := query.Get("model"); id != "" {
		list = slices.DeleteFunc(list, func(e limitEntry) bool { return !slices.Contains(e.Models, id) })
		if len(list) == 0 {
			return nil, missing("model: " + id)
		}
	}
	return list, nil
}

// organizationLimits answers GET /v1/organizations/rate_limits with the groups
// that have limits.
func (t *attempt) organizationLimits(q ask) outcome {
	list, bad := t.asked(q)
	if bad != nil {
		return t.rejected(bad)
	}
	for i := range list {
		list[i].Limits = t.api.limitsOf(t.organization(), "", list[i])
	}
	list = slices.DeleteFunc(list, func(e limitEntry) bool { return len(e.Limits) == 0 })
	if model := q.r.URL.Query().Get("model"); model != "" && len(list) == 0 {
		return t.rejected(missing("model: " + model + " has no rate limits"))
	}
	p, bad := cut(q.r.URL.Query(), list, func(e limitEntry) string { return e.ID }, wholeList)
	if bad != nil {
		return t.rejected(bad)
	}
	return t.ok(cursorOf(p, each(p.data, func(e limitEntry) limitEntry { return e })))
}

// workspaceLimits answers GET /v1/organizations/workspaces/{id}/rate_limits
// with the limits of the workspace itself, and with include_inherited those of
// its organisation too.
func (t *attempt) workspaceLimits(q ask) outcome {
	groups, bad := t.asked(q)
	if bad != nil {
		return t.rejected(bad)
	}
	inherit := q.r.URL.Query().Get("include_inherited") == "true"
	var list []workspaceEntry
	for _, e := range groups {
		w := workspaceEntry{RateLimitID: e.ID, Type: "workspace_rate_limit", WorkspaceID: q.id, Group: e.Group, Models: e.Models}
		w.Limits = beside(t.api.limitsOf(t.organization(), q.id, e), t.api.limitsOf(t.organization(), "", e), inherit)
		if len(w.Limits) > 0 {
			list = append(list, w)
		}
	}
	p, bad := cut(q.r.URL.Query(), list, func(w workspaceEntry) string { return w.RateLimitID }, wholeList)
	if bad != nil {
		return t.rejected(bad)
	}
	return t.ok(cursorOf(p, each(p.data, func(w workspaceEntry) workspaceEntry { return w })))
}

// beside shows a workspace's own limits beside those of its organisation.
func beside(own, organization []limiter, inherit bool) []workspaceLimiter {
	var list []workspaceLimiter
	add := func(l limiter, source string) {
		w := workspaceLimiter{limiter: l}
		w.Source.Type = source
		if at := slices.IndexFunc(organization, func(o limiter) bool { return o.Type == l.Type }); at >= 0 {
			w.OrgLimit = &organization[at].Value
		}
		list = append(list, w)
	}
	for _, l := range own {
		add(l, "workspace")
	}
	for _, l := range organization {
		if inherit && !slices.ContainsFunc(own, func(o limiter) bool { return o.Type == l.Type }) {
			add(l, "organization")
		}
	}
	return list
}
