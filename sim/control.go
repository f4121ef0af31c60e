package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// settings is the body of POST /sim/faults.
type settings struct {
	Faults  []Rule  `json:"faults"`
	Profile string  `json:"profile,omitempty"`
	Limits  []Limit `json:"limits,omitempty"`
	RPM     *int    `json:"rpm,omitempty"` // short for one limit of so many requests, on everything
}

// maxControl bounds the body of a request under /sim/, in bytes (guess).
const maxControl = 1 << 20

// control answers what is asked under /sim/.
func (a *API) control(w http.ResponseWriter, r *http.Request) {
	if isForeign(r) {
		refuse(w, http.StatusForbidden, errors.New("a page of another site may not steer the simulation"))
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/sim/faults/"); ok && name != "" {
		a.controlFault(w, r, name)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /sim/faults":
		a.showFaults(w)
	case "POST /sim/faults":
		a.set(w, r, a.change)
	case "DELETE /sim/faults":
		a.ClearFaults()
		a.showFaults(w)
	case "PUT /sim/story":
		a.set(w, r, func(body []byte) error { return a.Tell(string(body)) })
	case "GET /sim/attempts":
		w.Header().Set("Content-Type", "application/jsonl")
		out := json.NewEncoder(w)
		for _, attempt := range a.Attempts() {
			if out.Encode(attempt) != nil {
				return // the reader has left
			}
		}
	case "POST /sim/outcomes":
		a.outcomes(w, r)
	case "GET /sim/report":
		a.showReport(w, r)
	case "POST /sim/reset":
		a.Reset()
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, http.StatusNotFound, fmt.Errorf("there is no %s %s: want GET, POST or DELETE /sim/faults, "+
			"PUT or DELETE /sim/faults/{name}, PUT /sim/story, GET /sim/attempts, POST /sim/outcomes, GET /sim/report or POST /sim/reset", r.Method, r.URL.Path))
	}
}

// controlFault sets or removes one rule.
func (a *API) controlFault(w http.ResponseWriter, r *http.Request, name string) {
	switch r.Method {
	case http.MethodPut:
		a.set(w, r, func(body []byte) error {
			rule, err := oneRule(body)
			if err != nil {
				return err
			}
			if rule.Name != "" && rule.Name != name {
				return fmt.Errorf("the rule is named %q, and its place %q", rule.Name, name)
			}
			rule.Name = name
			return a.SetFault(rule)
		})
	case http.MethodDelete:
		if !a.ClearFault(name) {
			refuse(w, http.StatusNotFound, &StoryError{
				Problem: fmt.Sprintf("no rule is named %q", name), Suggestion: nearest(name, a.ruleNames()),
			})
			return
		}
		a.showFaults(w)
	default:
		refuse(w, http.StatusNotFound, fmt.Errorf("there is no %s %s: want PUT or DELETE", r.Method, r.URL.Path))
	}
}

// oneRule reads a rule that is written as JSON, or told. No story begins with a
// brace.
func oneRule(body []byte) (Rule, error) {
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		var rule Rule
		return rule, json.Unmarshal(body, &rule)
	}
	rules, err := ParseStory(string(body))
	if err == nil && len(rules) != 1 {
		err = fmt.Errorf("want one rule, not %d", len(rules))
	}
	if err != nil {
		return Rule{}, err
	}
	return rules[0], nil
}

func (a *API) ruleNames() []string {
	var out []string
	for _, rule := range a.Faults() {
		out = append(out, rule.Name)
	}
	return out
}

// set applies the body of a request, and answers with the rules then in force,
// or with what is wrong.
func (a *API) set(w http.ResponseWriter, r *http.Request, apply func(body []byte) error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControl))
	if err == nil {
		err = apply(body)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	a.showFaults(w)
}

// isForeign reports whether a browser asks on behalf of another site. What is
// no browser sends neither header.
func isForeign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

// mistake is a StoryError as JSON.
type mistake struct {
	Problem    string `json:"problem"`
	Line       int    `json:"line,omitempty"`
	Column     int    `json:"column,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
}

// refuse answers with all that is wrong.
func refuse(w http.ResponseWriter, status int, err error) {
	out := struct {
		Errors []mistake `json:"errors"`
	}{}
	for _, err := range unjoined(err) {
		e := asStoryError(err)
		out.Errors = append(out.Errors, mistake{e.Problem, e.Line, e.Column, e.Suggestion})
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(marshal(out), '\n')) // the reader may have left
}

// unjoined returns the errors that were joined into err. It looks at the outermost
// one alone: what has context of its own is one mistake.
func unjoined(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, err := range joined.Unwrap() {
		out = append(out, unjoined(err)...)
	}
	return out
}

func (a *API) showFaults(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(marshal(settings{Faults: a.Faults()}), '\n')) // the reader may have left
}

// change applies the settings in body: all of them, or none.
func (a *API) change(body []byte) error {
	var s settings
	if err := unmarshalStrict(body, &s); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if s.Profile != "" {
		rules, err := Profile(s.Profile)
		if err != nil {
			return err
		}
		s.Faults = append(rules, s.Faults...)
	}
	var errs []error
	for i, rule := range s.Faults {
		if err := rule.Validate(); err != nil {
			for _, err := range unjoined(err) {
				e := asStoryError(err)
				e.Problem = fmt.Sprintf("faults[%d]: %s", i, e.Problem)
				errs = append(errs, e)
			}
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if s.RPM != nil {
		s.Limits = append(s.Limits, Limit{RPM: *s.RPM})
	}
	if s.Limits != nil {
		if err := a.SetLimits(s.Limits...); err != nil {
			return err
		}
	}
	if s.Limits == nil || s.Faults != nil {
		a.SetFaults(s.Faults...)
	}
	return nil
}
