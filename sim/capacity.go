package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Capacity is how much of a model the API can serve at once, to all its users
// together. Of those in Config.Capacity the first that matches counts; each
// model has slots of its own.
type Capacity struct {
	Models string `json:"models,omitempty"` // a glob as of [path.Match] on the id, or a class such as opus-4; empty is all

	// Slots is how many attempts are served at once; 0 is no bound. Queue is
	// how many more may wait for one, for at most QueueTime. Whoever finds no
	// place is answered 529.
	Slots     int           `json:"slots,omitempty"`
	Queue     int           `json:"queue,omitempty"`
	QueueTime time.Duration `json:"-"`

	// Refusal is how long a refused attempt keeps a slot busy. With it a
	// stampede can hold down what has recovered: refusing is work too.
	Refusal time.Duration `json:"-"`

	// FirstToken and TokenTime replace those of Config if not 0.
	FirstToken time.Duration `json:"-"`
	TokenTime  time.Duration `json:"-"`
}

// Validate reports every mistake in the capacity.
func (c Capacity) Validate() error {
	var errs []error
	if _, err := path.Match(c.Models, ""); err != nil {
		errs = append(errs, fmt.Errorf("models is %q: %w", c.Models, err))
	}
	if c.Slots < 0 || c.Queue < 0 {
		errs = append(errs, fmt.Errorf("slots and queue are %d and %d, want 0 or more", c.Slots, c.Queue))
	}
	if c.QueueTime < 0 || c.Refusal < 0 || c.FirstToken < 0 || c.TokenTime < 0 {
		errs = append(errs, errors.New("times must not be negative"))
	}
	return errors.Join(errs...)
}

// capacityOf returns the capacity of a model; the zero Capacity has no bound.
func capacityOf(list []Capacity, model string) Capacity {
	if i := slices.IndexFunc(list, func(c Capacity) bool { return covers(c.Models, model) }); i >= 0 {
		return list[i]
	}
	return Capacity{}
}

// server is the slots of one model. Guarded by API.mu.
type server struct {
	api   *API
	model string
	cap   Capacity

	busy    int         // slots that serve
	refused []time.Time // until when slots are busy refusing, in order
	queue   []*waiter   // first come, first served
}

// waiter is an attempt that waits for a slot. Its channel, which holds one
// signal, tells that it has become the first, or that a slot is free.
type waiter struct{ look chan struct{} }

// recheck is how often the first in a queue looks whether slots are back that
// were taken by a condition: nobody tells it. A guess between haste and cost.
const recheck = 50 * time.Millisecond

// refusing is the most of its slots, in percent, that a model spends on
// refusals: a server that is hammered still serves some (guess).
const refusing = 80

// serverOf returns the slots of a model. a.mu is held.
func (a *API) serverOf(model string) *server {
	s := a.servers[model]
	if s == nil {
		s = &server{api: a, model: model, cap: capacityOf(a.cfg.Capacity, model)}
		a.servers[model] = s
	}
	return s
}

// enter takes a slot of a model, and waits for one where it may; nil without
// an error means that there is none. What is told takes one whether or not it
// is free. The error is the cause of ctx's end.
func (a *API) enter(ctx context.Context, model, organization string, told bool) (*server, error) {
	if capacityOf(a.cfg.Capacity, model).Slots == 0 {
		return &server{api: a}, nil // has no bound
	}
	now := time.Now()
	a.mu.Lock()
	s := a.serverOf(model)
	if told || s.free(now, organization) && len(s.queue) == 0 {
		s.busy++
		a.mu.Unlock()
		return s, nil
	}
	if len(s.queue) >= s.cap.Queue || s.cap.QueueTime <= 0 {
		s.refuse(now)
		a.mu.Unlock()
		return nil, nil
	}
	w := &waiter{look: make(chan struct{}, 1)}
	s.queue = append(s.queue, w)
	a.mu.Unlock()
	return s.wait(ctx, w, organization, now.Add(s.cap.QueueTime))
}

// wait waits in the queue until there is a slot, the time is over, or ctx
// ends.
func (s *server) wait(ctx context.Context, w *waiter, organization string, until time.Time) (*server, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.api.mu.Lock()
		now := time.Now()
		first := s.queue[0] == w
		if first && s.free(now, organization) {
			s.busy++
			s.drop(w)
			s.api.mu.Unlock()
			return s, nil
		}
		if !now.Before(until) {
			s.drop(w)
			s.refuse(now)
			s.api.mu.Unlock()
			return nil, nil
		}
		s.api.mu.Unlock()
		next := until.Sub(now)
		if first {
			next = min(next, recheck)
		}
		timer.Reset(next)
		select {
		case <-w.look:
		case <-timer.C:
		case <-ctx.Done():
			s.api.mu.Lock()
			s.drop(w)
			s.api.mu.Unlock()
			return nil, context.Cause(ctx)
		}
	}
}

// free reports whether a slot is free. API.mu is held.
func (s *server) free(now time.Time, organization string) bool {
	done, _ := slices.BinarySearchFunc(s.refused, now, func(until, now time.Time) int {
		if until.After(now) {
			return 1
		}
		return -1
	})
	s.refused = slices.Delete(s.refused, 0, done)
	left := s.api.condition(Slots, now, claude.Messages, s.model, organization)
	slots := int(math.Round(float64(s.cap.Slots) * left))
	return s.busy+min(len(s.refused), slots*refusing/100) < slots
}

// refuse notes the work of refusing. API.mu is held.
func (s *server) refuse(now time.Time) {
	if s.cap.Refusal > 0 {
		s.refused = append(s.refused, now.Add(s.cap.Refusal))
	}
}

// drop takes a waiter out of the queue and lets the next look. API.mu is held.
func (s *server) drop(w *waiter) {
	at := slices.Index(s.queue, w)
	s.queue = slices.Delete(s.queue, at, at+1)
	s.signal()
}

// signal lets the first in the queue look. API.mu is held.
func (s *server) signal() {
	if len(s.queue) == 0 {
		return
	}
	select {
	case s.queue[0].look <- struct{}{}:
	default: // it will look anyway
	}
}

// leave gives a slot back.
func (s *server) leave() {
	s.api.mu.Lock()
	defer s.api.mu.Unlock()
	s.busy--
	s.signal()
}
