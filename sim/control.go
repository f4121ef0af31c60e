package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// settings is the body of POST /sim/faults.
type settings struct {
	Faults  []Rule `json:"faults"`
	Profile string `json:"profile,omitempty"`
	RPM     *int   `json:"rpm,omitempty"`
}

// control answers what is asked under /sim/.
func (a *API) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /sim/faults":
		a.showFaults(w)
	case "POST /sim/faults":
		if err := a.change(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.showFaults(w)
	case "DELETE /sim/faults":
		a.ClearFaults()
		a.showFaults(w)
	case "GET /sim/attempts":
		w.Header().Set("Content-Type", "application/jsonl")
		out := json.NewEncoder(w)
		for _, attempt := range a.Attempts() {
			if out.Encode(attempt) != nil {
				return // the reader has left
			}
		}
	case "POST /sim/reset":
		a.Reset()
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "unknown: want GET, POST or DELETE /sim/faults, GET /sim/attempts or POST /sim/reset", http.StatusNotFound)
	}
}

func (a *API) showFaults(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	rules := a.Faults()
	if rules == nil {
		rules = []Rule{}
	}
	_, _ = w.Write(append(marshal(settings{Faults: rules}), '\n')) // the reader may have left
}

// change applies the settings in body: all of them, or none.
func (a *API) change(body io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(body, 1<<20))
	if err != nil {
		return err
	}
	var s settings
	if err := unmarshalStrict(data, &s); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if s.Profile != "" {
		rules, err := Profile(s.Profile)
		if err != nil {
			return err
		}
		s.Faults = append(rules, s.Faults...)
	}
	for i, rule := range s.Faults {
		if err := rule.Validate(); err != nil {
			return fmt.Errorf("faults[%d]: %w", i, err)
		}
	}
	if s.RPM != nil {
		a.SetRPM(*s.RPM)
	}
	if s.RPM == nil || s.Faults != nil {
		a.SetFaults(s.Faults...)
	}
	return nil
}
