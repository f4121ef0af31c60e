package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel"
)

// Header fields in which a credential arrives; both API versions accept both.
const (
	headerKey           = "X-Api-Key"
	headerAuthorization = "Authorization"
)

// client is a Client, checked.
type client struct {
	name   string
	sum    [sha256.Size]byte
	class  class
	weight int
	paths  []string
}

// class is a priority, the higher the more urgent.
type class uint8

const (
	batch class = iota + 1
	normal
	interactive
)

// classOf reads a priority; "" is normal.
func classOf(priority string) (class, bool) {
	switch priority {
	case "interactive":
		return interactive, true
	case "normal", "":
		return normal, true
	case "batch":
		return batch, true
	}
	return normal, false
}

func (c class) String() string {
	return [...]string{batch: "batch", normal: "normal", interactive: "interactive"}[c]
}

// identify returns the client whose token the header holds, or nil. Every
// hash is compared, in constant time, so that the time taken tells nothing
// about which client, or how much of a token, was right.
func (s *settings) identify(h http.Header) *client {
	var found *client
	try := func(token string) {
		sum := sha256.Sum256([]byte(token))
		for i := range s.clients {
			if subtle.ConstantTimeCompare(sum[:], s.clients[i].sum[:]) == 1 {
				found = &s.clients[i]
			}
		}
	}
	for _, token := range h[headerKey] {
		try(token)
	}
	for _, v := range h[headerAuthorization] {
		if scheme, token, ok := strings.Cut(v, " "); ok && strings.EqualFold(scheme, "Bearer") {
			try(strings.TrimSpace(token))
		}
	}
	return found
}

// may tells whether path, as sent, is one of those allowed. With wildcards
// the rest of a path must be plain: upstream might resolve what looks like
// one model into a path above it.
func may(allowed []string, path string) bool {
	for _, p := range allowed {
		below, wild := strings.CutSuffix(p, "*")
		if !wild && path == p {
			return true
		}
		if rest, ok := strings.CutPrefix(path, below); wild && ok && plain(rest) {
			return true
		}
	}
	return false
}

// plain tells whether no server could read rest, the decoded end of a path,
// as anything but names below a directory.
func plain(rest string) bool {
	if strings.ContainsAny(rest, "\\%;\x00") {
		return false
	}
	for name := range strings.SplitSeq(rest, "/") {
		if name == "." || name == ".." || name == "" && rest != "" {
			return false
		}
	}
	return true
}

// readable refuses headers that lower could not hold the client to.
func (c *client) readable(h http.Header) *refusal {
	if _, ok := classOf(h.Get(evenkeel.HeaderPriority)); !ok {
		return refuseHeader(evenkeel.HeaderPriority, "interactive, normal or batch")
	}
	if wait := h.Get(evenkeel.HeaderMaxWait); wait != "" {
		if _, err := time.ParseDuration(wait); err != nil {
			return refuseHeader(evenkeel.HeaderMaxWait, "a duration such as 20s or 2m")
		}
	}
	return nil
}

// lower writes into h what the client may have of what it asks for: a class
// up to its own, and waits up to those of that class.
func (c *client) lower(h http.Header, maxWait time.Duration) {
	given := c.class
	if asked := h.Get(evenkeel.HeaderPriority); asked != "" {
		wanted, _ := classOf(asked)
		given = min(wanted, given)
	}
	h.Set(evenkeel.HeaderPriority, given.String())
	asked := h.Get(evenkeel.HeaderMaxWait)
	if asked == "" {
		return
	}
	wait, _ := time.ParseDuration(asked)
	if given == interactive {
		wait = min(wait, maxWait) // the others wait as long as their deadline allows: any limit is less
	}
	h.Set(evenkeel.HeaderMaxWait, wait.String())
}
