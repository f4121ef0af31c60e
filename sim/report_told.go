package sim

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Told keeps what a client says became of a call, which it has named by the
// header sim-call or evenkeel-id: whether it uses the answer as a whole one.
// The word counts for the last attempt of the call. As many calls can be told
// of as attempts are kept; the oldest word is forgotten first.
func (a *API) Told(call string, ok bool) {
	a.mu.Lock()
	a.log.tell(call, says(ok))
	a.mu.Unlock()
	if a.cfg.Record != nil {
		a.record.add(append(marshal(outcomeLine{call, &ok}), '\n'))
	}
}

func says(ok bool) Told {
	if ok {
		return ToldOK
	}
	return ToldFailed
}

// outcomeLine is what a client says of a call.
type outcomeLine struct {
	Call string `json:"call"`
	OK   *bool  `json:"ok"`
}

// outcomes answers POST /sim/outcomes. The lines before one that is wrong are
// taken.
func (a *API) outcomes(w http.ResponseWriter, r *http.Request) {
	lines := bufio.NewScanner(r.Body)
	for n := 1; lines.Scan(); n++ {
		line, err := parseOutcome(lines.Bytes())
		if err != nil {
			http.Error(w, fmt.Sprintf("line %d: %v", n, err), http.StatusBadRequest)
			return
		}
		a.Told(line.Call, *line.OK)
	}
	if err := lines.Err(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func parseOutcome(data []byte) (outcomeLine, error) {
	var line outcomeLine
	if err := unmarshalStrict(data, &line); err != nil {
		return line, err
	}
	if line.Call == "" || line.OK == nil {
		return line, errors.New(`want {"call":"…","ok":true}`)
	}
	return line, nil
}

// Report returns the verdict on the attempts that are kept.
func (a *API) Report() Report { return Judge(a.Attempts()) }

// showReport answers GET /sim/report.
func (a *API) showReport(w http.ResponseWriter, r *http.Request) {
	report := a.Report()
	if strings.Contains(r.Header.Get("Accept"), "text/plain") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(report.Text())) // the reader may have left
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(marshal(report), '\n')) // the reader may have left
}
