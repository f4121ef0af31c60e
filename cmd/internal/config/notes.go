package config

import (
	"reflect"
	"strings"
)

// idle notes the keys that were set and have no effect in this version, so that
// nobody relies on them. Those at their defaults change nothing for anyone, and
// are kept apart: a copy of the example sets them all.
func (r *Resolved) idle() {
	dflt := Default()
	defaults := leaves(&dflt)
	var changed []string
	for i, l := range leaves(&r.Config) {
		switch {
		case !l.rules.later || r.Origin(l.path) == DefaultOrigin:
		case reflect.DeepEqual(l.value.Interface(), defaults[i].value.Interface()):
			r.Unused = append(r.Unused, l.path)
		default:
			changed = append(changed, l.path)
		}
	}
	if len(changed) > 0 {
		r.Notes = append(r.Notes, Note{
			At:   strings.Join(changed, ", "),
			Text: "checked, but without effect: this version behaves as if it were not set",
		})
	}
}

// risky notes what is allowed and deserves a second look.
func (r *Resolved) risky(listens bool) []Note {
	var notes []Note
	if listens && !Loopback(r.Admin) {
		notes = append(notes, Note{At: "admin", Text: r.Admin + " is open to the network and asks nobody who they are; keep it behind a firewall"})
	}
	if strings.HasPrefix(r.Upstream.URL, "http://") {
		if u, err := ParseUpstream(r.Upstream.URL); err == nil && !ours(u.Hostname()) {
			notes = append(notes, Note{At: "upstream.url", Text: "is not encrypted: prompts and credentials cross the network in the clear"})
		}
	}
	if r.Store.Kind == "memory" && r.Store.Redis.URL != "" {
		notes = append(notes, Note{At: "store.redis.url", Text: "is used with store.kind: redis only"})
	}
	if len(r.Limits.Models) > 0 && r.Upstream.APIKey == "" {
		notes = append(notes, Note{At: "limits.models", Text: "are those of upstream.api_key, which is not set: they limit nobody; limits.organizations limit keys that callers bring"})
	}
	return notes
}
