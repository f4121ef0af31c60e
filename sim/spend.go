package sim

import (
	"fmt"
	"strings"
	"time"
)

// account is what an organisation has used beside its limits per minute.
// Guarded by API.mu.
type account struct {
	minute time.Time // of the clock; used counts in it
	used   int       // input tokens
	before int       // in the minute before
	month  time.Time // spent counts in it
	spent  float64   // billionths of a US dollar
}

// accountOf returns the account of an organisation as of now. a.mu is held.
func (a *API) accountOf(organization string, now time.Time) *account {
	c := a.accounts[organization]
	if c == nil {
		if len(a.accounts) >= keepPools {
			forgetOne(a.accounts)
		}
		c = &account{}
		a.accounts[organization] = c
	}
	if minute := now.UTC().Truncate(time.Minute); minute.After(c.minute) {
		c.before = 0
		if minute.Sub(c.minute) == time.Minute {
			c.before = c.used
		}
		c.minute, c.used = minute, 0
	}
	if month := monthOf(now); month.After(c.month) {
		c.month, c.spent = month, 0
	}
	return c
}

func monthOf(t time.Time) time.Time {
	year, month, _ := t.UTC().Date()
	return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
}

// allowed is how much input may be used in this minute.
func (r Ramp) allowed(c *account) int { return max(r.Start, c.before+r.Step) }

// ramped is the message of a call that grows faster than the ramp; "" if it
// does not. The wording is of a message seen in the field.
func (r Ramp) ramped(c *account, input int) string {
	limit := r.allowed(c)
	if r == (Ramp{}) || c.used+input <= limit {
		return ""
	}
	return fmt.Sprintf("This request would exceed your organization's maximum usage increase rate for input tokens per minute (acceleration limit). "+
		"The current limit is %d input tokens per minute and can increase to %d at the next minute boundary. Grow traffic more slowly.",
		limit, max(r.Start, limit+r.Step))
}

// overspent is the message of a call after the cap on spending was reached; ""
// before (“Rate limits”, platform.claude.com, 2026-08-22).
func overspent(c *account, dollars float64) string {
	if dollars <= 0 || c.spent < dollars*1e9 {
		return ""
	}
	return "You have reached your API usage limits. You will regain access on " +
		c.month.AddDate(0, 1, 0).Format(time.DateOnly) + " at 00:00 UTC."
}

// haikuStep is from how many prompt tokens on Haiku 5.5 costs five times as
// much, for the whole request (model page of Claude Haiku 5.5, 2026-10-09).
const haikuStep = 100_000

// inputPrice is what the prompt of a call costs in billionths of a dollar.
// Writing to the cache costs 1.25 times the input for five minutes, and twice
// for an hour (“Pricing”, platform.claude.com, 2026-08).
func (s spec) inputPrice(use charge) float64 {
	price := float64(s.price.input)*(float64(use.input)+1.25*float64(use.write-use.hour)+2*float64(use.hour)) +
		float64(s.price.cacheRead)*float64(use.read)
	return price * s.step(use)
}

// outputPrice is what a token of output costs after such a prompt.
func (s spec) outputPrice(use charge) float64 { return float64(s.price.output) * s.step(use) }

func (s spec) step(use charge) float64 {
	if strings.HasPrefix(s.id, "claude-haiku-5-5") && use.input+use.write+use.read > haikuStep {
		return 5
	}
	return 1
}
