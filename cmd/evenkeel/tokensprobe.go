package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/refit"
	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

// probe cuts the texts and lets the upstream count the pieces.
func (f refitFlags) probe(cmd *cobra.Command, result *refitResult) ([]fit.Sample, error) {
	resolved, err := loadCaller(cmd)
	if err != nil {
		return nil, err
	}
	key, err := credentialOf(resolved.Config, os.Getenv)
	if err != nil {
		return nil, err
	}
	talk := cmd.ErrOrStderr()
	pieces, err := f.pieces(talk)
	if err != nil {
		return nil, err
	}
	result.Model, result.Upstream = f.model, strings.TrimRight(resolved.Upstream.URL, "/")
	log := newLogger(talk, quiet(resolved))
	defer log.close()
	log.notes(resolved.Notes)
	transport, err := evenkeel.New(transportConfig(resolved.Config, log.Logger))
	if err != nil {
		return nil, configError(err)
	}
	defer transport.Close() // writes the last lines of the log

	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	asker := asker{transport: transport, target: result.Upstream + "/v1/messages/count_tokens", key: key, model: f.model}
	return f.ask(ctx, asker, pieces, result, talk)
}

// ask counts the pieces, with a ledger.
func (f refitFlags) ask(ctx context.Context, a asker, pieces []fit.Piece, result *refitResult, talk io.Writer) ([]fit.Sample, error) {
	ledger, err := refit.OpenLedger(f.ledger, result.Upstream, f.model)
	if err != nil {
		return nil, ledgerError(err, f.ledger)
	}
	if ledger.Broken > 0 {
		fmt.Fprintf(talk, "note  %s: %s cannot be read and will be asked again\n", f.ledger, counted(ledger.Broken, "line"))
	}
	line := newProgress(talk)
	prober := &refit.Prober{Count: a.count, Ledger: ledger, Concurrency: f.concurrency, RPM: f.rpm, Progress: line.show}
	samples, err := askAll(ctx, prober, pieces, result)
	line.clear()
	closed := ledger.Close()
	switch {
	case err != nil:
		return nil, f.unfinished(explainProbe(ctx, err, f.ledger), ledger, pieces)
	case closed != nil:
		return nil, ledgerError(closed, f.ledger)
	}
	return samples, nil
}

func (f refitFlags) pieces(talk io.Writer) ([]fit.Piece, error) {
	texts, skipped, err := refit.ReadTexts(f.texts)
	if err != nil {
		return nil, inputError(err)
	}
	if skipped > 0 {
		fmt.Fprintf(talk, "note  %s left out: not UTF-8 text\n", counted(skipped, "file"))
	}
	pieces := fit.Choose(texts, f.budget-refit.FrameProbes, refitSeed)
	if len(pieces) == 0 {
		return nil, ekerr.New(ekerr.TokensInput, "the texts have no piece of 20 bytes")
	}
	return pieces, nil
}

// askAll measures the frame and counts the pieces.
func askAll(ctx context.Context, prober *refit.Prober, pieces []fit.Piece, result *refitResult) ([]fit.Sample, error) {
	frame, err := prober.Frame(ctx)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(pieces))
	for i, p := range pieces {
		texts[i] = p.Text
	}
	counts, err := prober.Ask(ctx, texts)
	if err != nil {
		return nil, err
	}
	if counts.Refused == len(texts) {
		return nil, counts.Refusal
	}
	asked := frame.Asked + counts.Asked
	result.Probes = &refitProbes{
		Asked: asked, FromLedger: refit.FrameProbes + len(texts) - asked, Refused: counts.Refused,
		Frame: frame.Tokens, FrameSure: frame.Sure,
	}
	var samples []fit.Sample
	for i, p := range pieces {
		if counts.Tokens[i] >= 0 {
			samples = append(samples, fit.Sample{Text: p.Text, Tokens: max(0, counts.Tokens[i]-frame.Tokens), Source: p.Source})
		}
	}
	return samples, nil
}

// asker sends probes.
type asker struct {
	transport     http.RoundTripper
	target, model string
	key           credential
}

// count asks how many tokens a message of one text has.
func (a asker) count(ctx context.Context, text string) (refit.Answer, error) {
	req, err := a.request(ctx, text)
	if err != nil {
		return refit.Answer{}, err
	}
	return a.send(req)
}

func (a asker) request(ctx context.Context, text string) (*http.Request, error) {
	body, err := json.Marshal(struct {
		Model    string `json:"model"`
		Messages []turn `json:"messages"`
	}{a.model, []turn{{Role: "user", Content: text}}})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set("User-Agent", "evenkeel/"+buildVersion().Version)
	req.Header.Set(a.key.name, a.key.value)
	req.Header.Set(evenkeel.HeaderPriority, "batch") // nobody waits for a single one
	return req, nil
}

func (a asker) send(req *http.Request) (refit.Answer, error) {
	resp, err := a.transport.RoundTrip(req)
	if err != nil {
		return refit.Answer{}, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		tokens, err := countOf(resp.Body)
		return refit.Answer{Tokens: tokens, TooFast: strings.Contains(resp.Header.Get(evenkeel.HeaderTrail), "429@")}, err
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return refit.Answer{}, &refit.RefusedError{Err: refusedBy(resp)}
	case http.StatusTooManyRequests:
		if tooFast(resp) {
			return refit.Answer{}, &refit.BusyError{Err: refusedBy(resp)}
		}
	}
	return refit.Answer{}, refusedBy(resp)
}

// tooFast tells a 429 that a slower pace would have avoided from one for which
// trying again is useless, or not for a long time: a cap on spending, a limit
// by the day.
func tooFast(resp *http.Response) bool {
	seconds, err := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64)
	return resp.Header.Get(evenkeel.HeaderReason) == string(evenkeel.CodeGaveUp) && (err != nil || seconds <= 60)
}

func countOf(body io.Reader) (int, error) {
	data, err := io.ReadAll(io.LimitReader(body, 64<<10))
	if err != nil {
		return 0, err
	}
	var answer struct {
		InputTokens *int `json:"input_tokens"`
	}
	if json.Unmarshal(data, &answer) != nil || answer.InputTokens == nil || *answer.InputTokens < 0 {
		return 0, ekerr.New(ekerr.Failed, "the upstream's answer is no count of tokens").Hint("is it the Claude API?")
	}
	return *answer.InputTokens, nil
}

// explainProbe says in words of the command line why a probe has ended the run.
func explainProbe(ctx context.Context, err error, ledger string) error {
	if e, ok := errors.AsType[*refit.LedgerError](err); ok {
		return ledgerError(e.Err, ledger)
	}
	return explainCall(ctx, err)
}

// unfinished adds what has been done, and how to go on.
func (f refitFlags) unfinished(err error, ledger *refit.Ledger, pieces []fit.Piece) error {
	done := 0
	for _, p := range pieces {
		if _, ok := ledger.Tokens(p.Text); ok {
			done++
		}
	}
	if e, ok := errors.AsType[*ekerr.Error](err); ok && done > 0 {
		return e.Hint("%d of %s are in %s: the same command asks for the rest", done, counted(len(pieces), "piece"), f.ledger)
	}
	return err
}

// ledgerError gives a code to what is wrong with a ledger.
func ledgerError(err error, name string) error {
	if other, ok := errors.AsType[*refit.OtherError](err); ok {
		return ekerr.New(ekerr.LedgerOther, "%s belongs to another model or upstream", name).
			Because("%v", other).Hint("name another file with --ledger")
	}
	switch {
	case errors.Is(err, refit.ErrInUse):
		return ekerr.New(ekerr.LedgerInUse, "%s is in use", name).Because("%v", refit.ErrInUse)
	case errors.Is(err, refit.ErrNoLedger):
		return ekerr.New(ekerr.Ledger, "%s is no ledger", name).Hint("name another file with --ledger")
	}
	return ekerr.Wrap(ekerr.Ledger, rootCause(err), "cannot read and write %s", name)
}

// progress is a line on a terminal that says how far a run is; elsewhere
// nothing is shown.
type progress struct {
	out   io.Writer // nil if there is no terminal
	began time.Time
	first int // what was done when it began
	last  time.Time
}

func newProgress(talk io.Writer) *progress {
	p := &progress{began: time.Now()}
	if isTerminal(talk) {
		p.out = talk
	}
	return p
}

// show is called by one goroutine at a time.
func (p *progress) show(done, of int) {
	now := time.Now()
	if p.last.IsZero() || done < p.first {
		p.first = done
	}
	if p.out == nil || now.Sub(p.last) < 200*time.Millisecond && done < of {
		return
	}
	p.last = now
	perMinute := float64(done-p.first) / max(now.Sub(p.began).Minutes(), 1.0/60)
	fmt.Fprintf(p.out, "\r%d of %d probes, %.0f a minute \x1b[K", done, of, perMinute)
}

// clear takes the line away.
func (p *progress) clear() {
	if p.out != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
