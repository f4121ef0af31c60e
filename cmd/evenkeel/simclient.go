package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// defaultSim is where `evenkeel sim serve` listens.
const defaultSim = "http://127.0.0.1:5290"

// simFlag defines the flag that names a running simulated API.
func simFlag(flags *pflag.FlagSet, into *string) {
	flags.StringVar(into, "sim", "", "URL of the simulated API; or "+config.EnvSim+" (default "+defaultSim+")")
}

// simAPI is a running simulated API, as seen by those who steer it.
type simAPI struct {
	url    string
	client *http.Client
}

// dialSim returns the API that the flag names, else the variable, else the
// default. Nothing is sent yet.
func dialSim(flag string) (*simAPI, error) {
	text, at := flag, "--sim"
	if text == "" {
		text, at = os.Getenv(config.EnvSim), config.EnvSim
	}
	text = strings.TrimRight(cmp.Or(text, defaultSim), "/")
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		e := ekerr.New(ekerr.Usage, "%q is no URL", text).Hint("such as %s", defaultSim)
		e.At = at
		return nil, e
	}
	return &simAPI{url: text, client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		// No proxy: it is this machine, or one beside it. A simulated API
		// answers what steers it at once, so 10 s is a guess on the safe side.
		ResponseHeaderTimeout: 10 * time.Second,
	}}}, nil
}

// ask sends a request to a path and returns the body of the answer, which the
// caller closes.
func (s *simAPI) ask(ctx context.Context, method, path, body string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return nil, ekerr.Wrap(ekerr.Usage, err, "cannot ask %s", s.url)
	}
	if body != "" {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, ekerr.Wrap(ekerr.SimUnreachable, rootCause(err), "no simulated API answers at %s", s.url).
			Hint("evenkeel sim serve starts one").Hint("--sim or %s names another address", config.EnvSim)
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // the status is the answer
	return nil, s.refusal(method+" "+path, resp.Status, said)
}

// refusal is the error of an answer that is none of success.
func (s *simAPI) refusal(asked, status string, said []byte) error {
	var told struct {
		Errors []struct{ Problem, Suggestion string }
	}
	e := ekerr.New(ekerr.SimRefused, "%s answered %s with %s", s.url, asked, status)
	if json.Unmarshal(said, &told) != nil || len(told.Errors) == 0 {
		line, _, _ := strings.Cut(string(bytes.TrimSpace(said)), "\n")
		return e.Because("%s", clip(line)).Hint("is it evenkeel sim serve that listens there?")
	}
	var problems []string
	for _, m := range told.Errors {
		problems = append(problems, clip(m.Problem))
		if m.Suggestion != "" {
			e = e.Hint("did you mean %q?", clip(m.Suggestion))
		}
	}
	return e.Because("%s", strings.Join(problems, "\n"))
}

// json asks for an answer in JSON.
func (s *simAPI) json(ctx context.Context, method, path string, into any) error {
	body, err := s.ask(ctx, method, path, "")
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return ekerr.Wrap(ekerr.SimRefused, err, "%s answered %s with something else than JSON", s.url, path).
			Hint("is it evenkeel sim serve that listens there?")
	}
	return nil
}

// clip keeps what somebody else says to one line.
func clip(s string) string {
	if r := []rune(s); len(r) > 200 {
		return string(r[:199]) + "…"
	}
	return s
}
