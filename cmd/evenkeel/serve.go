package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/gateway"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway. Point ANTHROPIC_BASE_URL at it, and every Claude SDK, Claude
Code included, gets retries, pauses after a 429, and a breaker without a code
change. GET /api/v1/state on the admin port shows breakers, budgets and what
waits.

SIGTERM or Ctrl-C drains: calls in flight finish within drain.grace. A second
one ends at once. SIGHUP reads the configuration again; a broken one changes
nothing.`,
		Example: `  evenkeel serve
  evenkeel serve -c evenkeel.yaml
  evenkeel serve --listen 127.0.0.1:0 --upstream http://127.0.0.1:5290`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd) },
	}
	configFlag(cmd.Flags(), "listen", "listen", "where callers connect")
	configFlag(cmd.Flags(), "admin", "admin", "where probes and operators connect")
	configFlag(cmd.Flags(), "upstream", "upstream.url", "the API that answers")
	return cmd
}

func serve(cmd *cobra.Command) error {
	resolved, err := load(cmd)
	if err != nil {
		return err
	}
	log := newLogger(cmd.ErrOrStderr(), resolved.Log)
	defer log.close()
	s, err := newService(resolved.Config, log.Logger)
	if err != nil {
		return err
	}
	defer s.close()
	front, admin, err := openPorts(resolved.Config)
	if err != nil {
		return err
	}
	s.store.ready(cmd.Context())
	announce(log, resolved, front, admin)

	p := &process{service: s, log: log, resolved: resolved, reload: func() (*config.Resolved, error) { return load(cmd) }}
	return p.run(cmd.Context(), front, admin)
}

// openPorts opens both listeners or none.
func openPorts(c config.Config) (front, admin net.Listener, err error) {
	if front, err = listen("listen", c.Listen); err != nil {
		return nil, nil, err
	}
	if admin, err = listen("admin", c.Admin); err == nil {
		err = refuseLoop(c.Upstream.URL, front, admin)
	}
	if err != nil {
		_ = front.Close() // the error is why
		if admin != nil {
			_ = admin.Close()
		}
		return nil, nil, err
	}
	return front, admin, nil
}

// announce says where the gateway is, in the form its reader expects.
func announce(log *logger, r *config.Resolved, front, admin net.Listener) {
	export := "export ANTHROPIC_BASE_URL=" + urlOf(front)
	if log.text {
		fmt.Fprintf(log.w, "evenkeel %s\n  gateway   %s  →  %s\n  admin     %s\n  %s\n",
			buildVersion().Version, urlOf(front), r.Upstream.URL, urlOf(admin), export)
	} else {
		log.Info("listening", slog.String("gateway", urlOf(front)), slog.String("admin", urlOf(admin)),
			slog.String("upstream", r.Upstream.URL), slog.String("use", export), slog.String("version", buildVersion().Version))
	}
	log.notes(r.Notes)
}

// process is a gateway that is being served.
type process struct {
	*service
	log      *logger
	resolved *config.Resolved // in force; the goroutine of run only
	reload   func() (*config.Resolved, error)
}

// run serves until a signal comes, drains, and closes both listeners.
func (p *process) run(ctx context.Context, front, admin net.Listener) error {
	signals, stop := untilSignal(ctx)
	defer stop()
	serving, drain := context.WithCancel(ctx)
	defer drain()

	adminServer := &http.Server{Handler: p.gateway.Admin(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 2)
	go func() { failed <- adminServer.Serve(admin) }()
	done := make(chan error, 1)
	go func() { done <- p.gateway.Serve(serving, front) }()
	asking := p.askLimits(serving, p.resolved.Config)

	err := p.watch(signals, drain, done, failed)
	drain()
	asking.Wait()
	_ = adminServer.Close() // probes may ask until the end; whoever asks now finds nobody
	return p.ended(err)
}

// watch returns how serving has ended.
func (p *process) watch(signals context.Context, drain func(), done, failed chan error) error {
	reloads, stop := notify(reloadSignals)
	defer stop()
	stopped := signals.Done()
	for {
		select {
		case err := <-done:
			return err
		case err := <-failed:
			drain()
			return errors.Join(ekerr.Wrap(ekerr.Failed, err, "the admin port has failed"), <-done)
		case <-reloads:
			p.reloadNow(signals)
		case <-stopped:
			stopped = nil
			p.hurry(signalOf(signals))
			drain()
			now := p.transport.Snapshot()
			p.log.Info("draining", slog.Int("calls", len(now.Calls)), slog.String("grace", p.resolved.Drain.Grace.String()))
		}
	}
}

// hurry leaves out drain.delay for someone who has pressed Ctrl-C: no load
// balancer has to notice anything.
func (p *process) hurry(sig os.Signal) {
	if sig != os.Interrupt || !p.log.text {
		return
	}
	c := p.resolved.Config
	c.Drain.Delay = 0
	if err := p.reconfigure(p.resolved.Config, c, p.log.Logger); err == nil {
		p.resolved.Config = c
	}
}

// ended gives codes to what the gateway says when it has stopped.
func (p *process) ended(err error) error {
	if err == nil {
		p.log.Info("stopped")
		return nil
	}
	if cut, ok := errors.AsType[*gateway.CutError](err); ok {
		return ekerr.Wrap(ekerr.DrainCut, err, "cut off after %v of draining: %s", cut.Grace, counted(cut.Calls, "call")).
			Hint("raise drain.grace")
	}
	return configOrFailed(err)
}

func configOrFailed(err error) error {
	if _, ok := errors.AsType[*gateway.OpenError](err); ok {
		return configError(err)
	}
	if _, ok := errors.AsType[*ekerr.Error](err); ok {
		return err
	}
	return ekerr.Wrap(ekerr.Failed, err, "the gateway has stopped")
}

// rejected is e for the log: what there is of it.
func rejected(e *ekerr.Error) []slog.Attr {
	attrs := []slog.Attr{slog.String("code", string(e.Code))}
	for _, a := range []slog.Attr{
		slog.String("at", e.At), slog.String("error", e.What), slog.String("why", e.Why), slog.String("do", strings.Join(e.Do, "; ")),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	return attrs
}

// reloadNow takes a new configuration, or says why the old one stays.
func (p *process) reloadNow(ctx context.Context) {
	fresh, err := p.reload()
	if err == nil {
		err = p.reconfigure(p.resolved.Config, fresh.Config, p.log.Logger)
	}
	if err != nil {
		for _, e := range ekerr.All(err) {
			p.log.LogAttrs(ctx, slog.LevelError, "reload rejected, the old configuration stays", rejected(e)...)
		}
		return
	}
	if fresh.Listen != p.resolved.Listen || fresh.Admin != p.resolved.Admin {
		p.log.Warn("listen and admin change at the next start", slog.String("listen", fresh.Listen), slog.String("admin", fresh.Admin))
		fresh.Listen, fresh.Admin = p.resolved.Listen, p.resolved.Admin
	}
	if names := p.store.fixed(p.resolved.Config, fresh.Config); len(names) > 0 {
		p.log.Warn("what the fleet shares changes at the next start", slog.String("keys", strings.Join(names, ", ")), slog.String("store", fresh.Store.Kind))
	}
	p.log.setLevel(fresh.Log)
	p.resolved = fresh
	p.log.notes(fresh.Notes)
	p.log.Info("configuration reloaded", slog.String("file", fresh.File))
}
