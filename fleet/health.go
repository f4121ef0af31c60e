package fleet

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Health is how it stands with the store, for whoever looks.
type Health struct {
	Local   bool      // calls are decided by this process's own share
	Cause   Cause     // of the last failure, while there is one
	Error   string    // its words
	Since   time.Time // local; zero if not
	NextTry time.Time // when somebody looks whether it is back

	Owners   int      // that are local, though the server answers: see Cause of each in the log
	Live     int      // processes that share the most used owner, as far as is known
	Errors   int      // ever
	Locals   int      // questions that the local share has answered, ever
	Pending  int      // ends that the store has yet to hear of
	Lost     int      // ends that it will never hear of, ever
	Open     int      // reservations of this process
	Warnings []string // about how the server is set up
}

type counts struct {
	errors, local, lost int
	swept               time.Time
}

// Health returns how it stands.
func (s *Store) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := Health{
		Errors: s.counts.errors, Locals: s.counts.local, Lost: s.counts.lost, Pending: len(s.pending), Open: len(s.open),
		Warnings: append([]string(nil), s.warned...),
	}
	show := func(g *guard) {
		h.Cause, h.Error = g.cause, g.text
		if g.down {
			h.Local, h.Since, h.NextTry = true, g.since, g.retry
		}
	}
	if s.server.errors > 0 || s.server.down {
		show(&s.server)
	}
	for _, g := range s.owners {
		if !g.down {
			continue
		}
		h.Owners++
		if !h.Local {
			show(g)
			h.Local = false
		}
	}
	var latest time.Time
	for _, m := range s.memos {
		if m.known && m.used.After(latest) {
			latest, h.Live = m.used, m.state.Live
		}
	}
	return h
}

// inspect looks how the server is set up, where it lets us.
func (s *Store) inspect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	text, err := s.client.Info(ctx, "memory").Result()
	if err != nil {
		return
	}
	var warnings []string
	policy, most := infoField(text, "maxmemory_policy"), infoField(text, "maxmemory")
	if most != "0" && most != "" && policy != "noeviction" && policy != "" {
		warnings = append(warnings, "maxmemory-policy is "+policy+": limits may be evicted while they are in use; set it to noeviction")
	}
	s.mu.Lock()
	fresh := !slices.Equal(warnings, s.warned)
	s.warned = warnings
	s.mu.Unlock()
	for _, w := range warnings {
		if fresh {
			s.o.Log.LogAttrs(ctx, slog.LevelWarn, "store is set up badly", slog.String("warning", w))
		}
	}
}

// infoField finds a field in what INFO answers.
func infoField(text, name string) string {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && k == name {
			return v
		}
	}
	return ""
}
