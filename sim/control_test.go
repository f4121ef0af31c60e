package sim_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// mistake is what /sim/ says about one.
type mistake struct {
	Problem, Suggestion string
	Line, Column        int
}

func TestControl_namedRules(t *testing.T) {
	api := sim.New(sim.Config{})
	ask := func(method, path, body string) (int, []sim.Rule, []mistake) {
		t.Helper()
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		var got struct {
			Faults []sim.Rule
			Errors []mistake
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s %s got %d %s: %v", method, path, w.Code, w.Body, err)
		}
		return w.Code, got.Faults, got.Errors
	}
	if code, rules, _ := ask("PUT", "/sim/faults/one", "overload 60% for 20s\n"); code != 200 || len(rules) != 1 || rules[0].Name != "one" || rules[0].Rate != 0.6 {
		t.Errorf("a line got %d %+v", code, rules)
	}
	if code, rules, _ := ask("PUT", "/sim/faults/two", ` {"kind":"slow_bytes","pace":"10ms"}`); code != 200 || len(rules) != 2 || rules[1].Pace != 1e7 {
		t.Errorf("a rule as JSON got %d %+v", code, rules)
	}
	if code, rules, _ := ask("PUT", "/sim/faults/one", "503 named one"); code != 200 || len(rules) != 2 || rules[0].Status != 503 {
		t.Errorf("the same name again got %d %+v", code, rules)
	}
	for _, c := range []struct {
		method, path, body string
		code               int
		want               []mistake
	}{
		{"PUT", "/sim/faults/x", "10s overlod 60%", 400, []mistake{{`no failure is called "overlod"`, "overload", 1, 5}}},
		{"PUT", "/sim/faults/x", "hang 3 events 150%", 400, []mistake{{"hang has no events", "", 1, 6}, {"a share is", "", 1, 15}}},
		{"PUT", "/sim/faults/x", "hang\nrefuse", 400, []mistake{{"want one rule, not 2", "", 0, 0}}},
		{"PUT", "/sim/faults/x", "", 400, []mistake{{"want one rule, not 0", "", 0, 0}}},
		{"PUT", "/sim/faults/x", "hang named y", 400, []mistake{{`the rule is named "y"`, "", 0, 0}}},
		{"PUT", "/sim/faults/x", `{"kind":"hagn","rate":2}`, 400, []mistake{{`kind is "hagn"`, "hang", 0, 0}, {"rate is 2", "", 0, 0}}},
		{"PUT", "/sim/faults/x%20y", "hang", 400, []mistake{{`name is "x y"`, "", 0, 0}}},
		{"PUT", "/sim/story", "hang\n 1m hang until 30s", 400, []mistake{{"until 30s is not later", "", 2, 16}}},
		{"POST", "/sim/faults", `{"faults":[{"status":529},{"kind":"hagn","rate":-1}]}`, 400, []mistake{{`faults[1]: kind is "hagn"`, "hang", 0, 0}, {"faults[1]: rate is -1", "", 0, 0}}},
		{"POST", "/sim/faults", `{"profile":"strom"}`, 400, []mistake{{`no profile "strom"`, "storm", 0, 0}}},
		{"DELETE", "/sim/faults/tow", "", 404, []mistake{{`no rule is named "tow"`, "two", 0, 0}}},
		{"GET", "/sim/faults/two", "", 404, []mistake{{"there is no GET", "", 0, 0}}},
		{"PUT", "/sim/story", strings.Repeat("#", 2<<20), 400, []mistake{{"http: request body too large", "", 0, 0}}},
	} {
		code, _, got := ask(c.method, c.path, c.body)
		same := code == c.code && len(got) == len(c.want)
		for i := range c.want {
			same = same && strings.HasPrefix(got[i].Problem, c.want[i].Problem) && got[i].Suggestion == c.want[i].Suggestion &&
				got[i].Line == c.want[i].Line && got[i].Column == c.want[i].Column
		}
		if !same {
			t.Errorf("%s %s %.60s got %d %+v, want %d %+v", c.method, c.path, c.body, code, got, c.code, c.want)
		}
	}
	if got := len(api.Faults()); got != 2 {
		t.Errorf("mistakes have left %d rules, want the 2 there were", got)
	}
	if code, rules, _ := ask("DELETE", "/sim/faults/two", ""); code != 200 || len(rules) != 1 {
		t.Errorf("removing one got %d %+v", code, rules)
	}
	if code, rules, _ := ask("PUT", "/sim/story", "hang 5%\nrefuse 5%\n# both"); code != 200 || len(rules) != 2 || rules[0].Kind != sim.Hang {
		t.Errorf("a story got %d %+v", code, rules)
	}
}

func TestControl_report(t *testing.T) {
	api := sim.New(sim.Config{})
	do(t, api, "https://api.test", call{})
	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/sim/report", nil))
	want, err := json.Marshal(sim.Judge(api.Attempts()))
	if err != nil || w.Code != 200 || strings.TrimSpace(w.Body.String()) != string(want) {
		t.Errorf("got %d %s, want %s (%v)", w.Code, w.Body, want, err)
	}
}

// A page somewhere must not be able to steer a simulation on this machine.
func TestControl_otherSitesAreRefused(t *testing.T) {
	for _, c := range []struct {
		site, origin string
		want         int
	}{
		{"", "", 200},
		{"same-origin", "http://example.com", 200},
		{"none", "", 200},
		{"", "http://example.com", 200},
		{"", "http://evil.test", 403},
		{"", "null", 403},
		{"cross-site", "", 403},
		{"same-site", "http://example.com", 403},
	} {
		api := sim.New(sim.Config{Faults: []sim.Rule{{Fault: sim.Fault{Status: 529}, Rate: 1}}})
		r := httptest.NewRequest(http.MethodDelete, "/sim/faults", nil) // to example.com
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if cleared := len(api.Faults()) == 0; w.Code != c.want || cleared != (c.want == 200) {
			t.Errorf("%+v: got %d, cleared %v", c, w.Code, cleared)
		}
	}
}
