package retry

import "time"

// Defaults of a [Budget]. 500 tokens at 5 a retry are those of the AWS SDKs'
// standard retry mode (aws-sdk-go-v2, aws/ratelimit): a steady one in five of
// calls may be retried, and a total outage costs a hundred retries. Ten
// seconds are a guess: often enough to notice that the upstream is back.
const (
	DefaultTokens = 500
	DefaultFloor  = 10 * time.Second
)

// Config sizes a [Budget]. The zero value is the default.
type Config struct {
	// Tokens is what the budget holds when full, and at first. 0 means 500;
	// less than 0 means none: then only Floor allows retries.
	Tokens int

	// Floor is the time after which one retry is allowed however empty the
	// budget is. 0 means 10s; less than 0 means never.
	Floor time.Duration
}

// A Budget bounds how many retries the calls that share it make together. It
// is a bucket of tokens: retries take tokens out, successes put tokens in, and
// nothing else does. Time does not fill it, so an outage has no income.
//
// The floor is the exception. When the bucket cannot pay, a retry is allowed
// all the same if none was allowed for Config.Floor: otherwise a budget
// emptied by an outage of clients that only ever retry would stay empty.
//
// Over any time T: retries · price ≤ Tokens + deposits + price · (T/Floor + 1).
//
// The zero value is full and ready. A Budget is not safe for concurrent use:
// whoever owns it serialises.
type Budget struct {
	cfg   Config
	spent int // capacity − level, so that the zero value is full
	floor Floor
}

// New returns a full Budget.
func New(cfg Config) *Budget {
	return &Budget{cfg: cfg, floor: Floor{Every: cfg.Floor}}
}

// Withdraw pays for one retry at time now, or says that it must not be made.
// When less than price is left and the floor allows the retry, it costs what
// is left. A price of 0 or less is free.
func (b *Budget) Withdraw(now time.Time, price int) bool {
	return b.WithdrawFor(&b.floor, now, price)
}

// WithdrawFor is [Budget.Withdraw] with a floor of the caller's choice, for
// those who share the tokens but are each owed a retry now and then: one Floor
// per credential keeps an unlucky one from living off another's.
func (b *Budget) WithdrawFor(f *Floor, now time.Time, price int) bool {
	if price <= 0 {
		return true
	}
	if price > b.Level() && !f.allows(now) {
		return false
	}
	b.spent += min(price, b.Level())
	f.last = now
	return true
}

// Deposit puts n tokens in: 1 for a first try that succeeded, the price of a
// retry that did, or of one that was paid for and never sent. What does not
// fit is lost. n below 1 does nothing.
func (b *Budget) Deposit(n int) {
	b.spent -= min(max(n, 0), b.spent)
}

// Take takes back an early deposit whose reason has turned out wrong. It
// stops at 0. n below 1 does nothing.
func (b *Budget) Take(n int) {
	b.spent += min(max(n, 0), b.Level())
}

// Next is the earliest time from now on at which the floor allows a retry;
// the zero Time if it never does.
func (b *Budget) Next(now time.Time) time.Time { return b.floor.Next(now) }

// Level is the number of tokens left, from 0 to the capacity.
func (b *Budget) Level() int { return b.capacity() - b.spent }

func (b *Budget) capacity() int {
	if b.cfg.Tokens == 0 {
		return DefaultTokens
	}
	return max(b.cfg.Tokens, 0)
}

// A Floor allows one retry if none was made for Every. Retries that tokens
// paid for count: while those go on, nobody is stuck.
//
// The zero value is ready. It is not safe for concurrent use.
type Floor struct {
	Every time.Duration // 0 means 10s; less than 0 means never
	last  time.Time     // of the last retry, paid for or not; zero if none
}

// Next is the earliest time from now on at which a retry is allowed without
// tokens; the zero Time if never.
func (f *Floor) Next(now time.Time) time.Time {
	every := f.Every
	switch {
	case every < 0:
		return time.Time{}
	case every == 0:
		every = DefaultFloor
	}
	if at := f.last.Add(every); !f.last.IsZero() && at.After(now) {
		return at
	}
	return now
}

func (f *Floor) allows(now time.Time) bool { return f.Every >= 0 && !f.Next(now).After(now) }
