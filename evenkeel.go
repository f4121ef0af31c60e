// Package evenkeel keeps an application's Claude calls working when the API
// is overloaded, when a limit is near, and when a stream breaks.
//
// A [Transport] is an [http.RoundTripper]. Put it where the HTTP client of a
// Claude SDK (or of anything else that speaks to the API) has its transport,
// switch the SDK's own retries off, and a 529, a 429, a 5xx, a hang or a reset
// costs a delay instead of a failure. What cannot succeed is not retried, and
// what is retried ends: attempts, waits, a retry budget and the caller's
// deadline bound it.
//
// A call is what the caller asked for; an attempt is one request sent
// upstream for it. What happens next in a call is decided in package call;
// the Transport performs it.
package evenkeel

import "net/http"

// Header fields that a caller may set on a request. They are removed before
// it is sent upstream.
const (
	HeaderPriority = "Evenkeel-Priority" // interactive, normal or batch
	HeaderMaxWait  = "Evenkeel-Max-Wait" // how long the call may wait before and between attempts, as 20s or 2m
	HeaderDeadline = "Evenkeel-Deadline" // how long the caller waits for an answer, as 2m
	HeaderTag      = "Evenkeel-Tag"      // [a-z0-9._-]{1,64}: names the route in logs
)

// Header fields that every response carries.
const (
	HeaderID       = "Evenkeel-Id"        // names the call in logs
	HeaderAttempts = "Evenkeel-Attempts"  // attempts made
	HeaderQueued   = "Evenkeel-Queued-Ms" // time the call waited in all
	HeaderTrail    = "Evenkeel-Trail"     // where there was more than one attempt: 529@0ms 200@2.1s
	HeaderModel    = "Evenkeel-Model"     // the model that was asked, on an answer of another than the request names
	HeaderReason   = "Evenkeel-Reason"    // EK- code, on answers of our own and where we gave up
	HeaderResumed  = "Evenkeel-Resumed"   // trailer: 1 after a stream that broke and was gone on with
)

// Client returns an HTTP client over t. It has no timeout of its own: the
// Transport's apply, and [http.Client.Timeout] would cut healthy streams.
func (t *Transport) Client() *http.Client { return &http.Client{Transport: t} }
