package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
)

// limitsEvery is how often the Rate Limits API is asked: limits change when
// somebody changes them, and answers to calls show that at once.
const limitsEvery = 10 * time.Minute

// maxPages and maxLimits bound what its answers may take.
const (
	maxPages  = 100
	maxLimits = 8 << 20 // bytes of one
)

// askLimits asks for the limits of the Admin key's organisation, now and every
// limitsEvery until ctx ends, if there is such a key. Failing to is told in the
// log, and nothing else: limits are learned from answers all the same.
func (p *process) askLimits(ctx context.Context, c config.Config) *sync.WaitGroup {
	var asking sync.WaitGroup
	if c.Limits.AdminKey == "" {
		return &asking
	}
	asking.Go(func() {
		for {
			n, err := p.limitsNow(ctx, c)
			switch {
			case err == nil:
				p.log.Info("limits asked for", slog.Int("pages", n))
			case ctx.Err() == nil:
				p.log.Warn("limits could not be asked for", slog.Any("error", err))
			}
			select {
			case <-time.After(limitsEvery):
			case <-ctx.Done():
				return
			}
		}
	})
	return &asking
}

// limitsNow asks once, page by page, and returns how many there were.
func (p *process) limitsNow(ctx context.Context, c config.Config) (pages int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	next := ""
	for pages < maxPages {
		if next, err = p.limitsPage(ctx, c, next); err != nil {
			return pages, err
		}
		if pages++; next == "" {
			return pages, nil
		}
	}
	return pages, errors.New("there is no end to the pages")
}

func (p *process) limitsPage(ctx context.Context, c config.Config, page string) (next string, err error) {
	target, err := upstreamURL(c)
	if err != nil {
		return "", err
	}
	target = target.JoinPath("v1", "organizations", "rate_limits")
	if page != "" {
		target.RawQuery = url.Values{"page": {page}}.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("X-Api-Key", string(c.Limits.AdminKey))
	r.Header.Set("Anthropic-Version", "2023-06-01")
	resp, err := p.transport.RoundTrip(r) //nolint:contextcheck // the request carries it
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxLimits))
	switch {
	case err != nil:
		return "", err
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("the Rate Limits API answered %s: it takes an Admin key, limits.admin_key", resp.Status)
	}
	return p.transport.TellLimits(resp.Header.Get(claude.HeaderOrganizationID), answer)
}
