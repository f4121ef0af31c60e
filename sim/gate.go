package sim

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// OtherLimits are the limits of an organisation on what is not messages. Each
// is a bucket of its own; 0 is no limit. Their published values are 2,000,
// 1,000, 200,000 and 500 for an organisation that starts (“Rate limits”,
// platform.claude.com, 2026-08-22).
type OtherLimits struct {
	CountTokensRPM int `json:"count_tokens_rpm,omitempty"` // counts per minute
	BatchesRPM     int `json:"batches_rpm,omitempty"`      // requests per minute to all endpoints of batches
	BatchQueue     int `json:"batch_queue,omitempty"`      // requests in batches that nobody has worked on yet
	FilesRPM       int `json:"files_rpm,omitempty"`        // requests per minute to all endpoints of files
}

// groupType is a group of limits, as the Rate Limits API names it.
type groupType string

// The groups that are simulated.
const (
	groupModels     groupType = "model_group"
	groupBatch      groupType = "batch"
	groupTokenCount groupType = "token_count"
	groupFiles      groupType = "files"
)

// rpm returns the requests per minute of a group that is not of models.
func (l OtherLimits) rpm(group groupType) int {
	switch group {
	case groupBatch:
		return l.BatchesRPM
	case groupTokenCount:
		return l.CountTokensRPM
	case groupFiles:
		return l.FilesRPM
	}
	return 0
}

// gateKey is whose requests to what are counted together.
type gateKey struct {
	organization string
	group        groupType
}

// gate lets a number of requests pass per minute. It holds a minute of them
// (guess) and fills continuously. Guarded by API.mu.
type gate struct {
	level float64
	at    time.Time
}

// pass counts a request against the limit of its group. If it is over that,
// the answer is returned.
func (t *attempt) pass(group groupType) *outcome {
	rpm := t.api.cfg.Other.rpm(group)
	if rpm <= 0 {
		return nil
	}
	wait := t.api.wait(gateKey{t.organization(), group}, float64(rpm), time.Now())
	if wait <= 0 {
		return nil
	}
	o := t.problem(http.StatusTooManyRequests, claude.RateLimit, "", fmt.Sprintf(
		"This request would exceed the rate limit for your organization (%s) of %d requests per minute", t.organization(), rpm))
	o.header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return &o
}

// wait takes one request from a gate and returns 0, or how long until there is
// one.
func (a *API) wait(key gateKey, rpm float64, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.gates[key]
	if g == nil {
		if len(a.gates) >= keepPools {
			forgetOne(a.gates)
		}
		g = &gate{level: rpm, at: now}
		a.gates[key] = g
	}
	if past := now.Sub(g.at); past > 0 {
		g.level, g.at = min(rpm, g.level+past.Minutes()*rpm), now
	}
	const slack = 1e-9 // of rounding
	if g.level < 1-slack {
		return time.Duration((1 - g.level) / rpm * float64(time.Minute))
	}
	g.level--
	return 0
}
