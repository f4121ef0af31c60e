// Package claude holds facts of the Claude API: paths, headers, error types
// and codes, events, model classes and usage. It has no behaviour beyond
// reading those facts from bytes; what to do about them is decided elsewhere.
//
// Facts are cited where they stand. “SDK” means the official Go SDK,
// github.com/anthropics/anthropic-sdk-go/v2 v2.13.0 (2026-11-20); pages of
// platform.claude.com and code.claude.com are named with the date of the copy
// that was read.
package claude

import "net/http"

// Path is what a request path means for retries and limits.
type Path uint8

// The classes of paths. Each has a request limit of its own
// (“Rate limits”, platform.claude.com, 2026-08-22).
const (
	Other       Path = iota // everything below / that is none of the following
	Messages                // POST /v1/messages, with any query
	CountTokens             // POST /v1/messages/count_tokens
	Batches                 // POST /v1/messages/batches: creates one
)

// String returns the class as it appears in logs, metrics and breaker keys.
func (p Path) String() string {
	switch p {
	case Messages:
		return "messages"
	case CountTokens:
		return "count_tokens"
	case Batches:
		return "batches"
	default:
		return "other"
	}
}

// PathOf classifies a request by its method and URL path.
func PathOf(method, path string) Path {
	if method != http.MethodPost {
		return Other
	}
	switch path {
	case "/v1/messages":
		return Messages
	case "/v1/messages/count_tokens":
		return CountTokens
	case "/v1/messages/batches":
		return Batches
	}
	return Other
}
