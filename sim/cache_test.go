package sim_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

func TestCache_livesAsLongAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{})
		long, more := strings.Repeat("tide ", 1000), strings.Repeat("moon ", 1000) // 2,000 tokens each
		mark := func(ttl string) body { return body{"type": "ephemeral", "ttl": ttl} }
		block := func(text string, ttl string) body {
			b := body{"type": "text", "text": text}
			if ttl != "" {
				b["cache_control"] = mark(ttl)
			}
			return b
		}
		check := func(name, key string, model string, fields body, turns []body, input, write, read, hour int) {
			t.Helper()
			r := do(t, api, "https://api.test", call{body: ask(model, fields, turns...), header: map[string]string{"x-api-key": key}})
			var a answer
			if err := json.Unmarshal([]byte(r.body), &a); err != nil || r.status != 200 {
				t.Fatalf("%s: got %d %s", name, r.status, r.body)
			}
			if u := a.Usage; u.Input != input || u.Write != write || u.Read != read || u.Created.Long != hour || u.Created.Short != write-hour {
				t.Errorf("%s: got %+v, want input %d, written %d (%d for an hour), read %d", name, u, input, write, hour, read)
			}
			rec := last(api)
			if rec.InputTokens != input || rec.CacheWriteTokens != write || rec.CacheReadTokens != read {
				t.Errorf("%s: recorded %d, %d, %d", name, rec.InputTokens, rec.CacheWriteTokens, rec.CacheReadTokens)
			}
		}
		system := func(ttl string) body { return body{"system": []body{block(long, ttl)}} }
		hi := []body{user("hello")}
		check("without a mark", "k", newer, system(""), hi, 2002, 0, 0, 0)
		check("first", "k", newer, system("5m"), hi, 2, 2000, 0, 0)
		check("again, and the mark need not be the same", "k", newer, system("1h"), hi, 2, 0, 2000, 0)
		check("another organisation", "other", newer, system("5m"), hi, 2, 2000, 0, 0)
		check("another model", "k", "claude-opus-4-8", system("5m"), hi, 2, 2000, 0, 0)
		time.Sleep(4 * time.Minute)
		check("each use is another life", "k", newer, system("5m"), hi, 2, 0, 2000, 0)
		time.Sleep(5 * time.Minute)
		check("expired", "k", newer, system("5m"), hi, 2, 2000, 0, 0)
		check("a conversation that grows", "k", newer, system(""), []body{user([]body{block(more, "5m")})}, 0, 2000, 2000, 0)
		check("too short", "k", newer, body{"system": []body{block("tide", "5m")}}, hi, 3, 0, 0, 0)
		check("two lives", "k", newer, body{"system": []body{block("two"+long, "1h")}}, []body{user([]body{block(more, "5m"), block("tide", "")})}, 1, 4001, 0, 2001)
		check("as a whole", "k", newer, body{"cache_control": mark("1h"), "system": "s" + long}, hi, 0, 2002, 0, 2002)
		time.Sleep(59 * time.Minute)
		grown := append(hi, assistant("Hm."), user("What now?"))
		check("as a whole, and the mark moves on", "k", newer, body{"cache_control": mark("1h"), "system": "s" + long}, grown, 0, 5, 2002, 5)
	})
}

func TestCache_isNotWrittenByWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{Limits: []sim.Limit{{RPM: 6, Burst: 10 * time.Second}}})
		marked := ask(newer, body{"system": []body{{"type": "text", "text": strings.Repeat("tide ", 1000), "cache_control": body{"type": "ephemeral"}}}}, user("hi"))
		other := ask(newer, nil, user("hi"))
		for _, c := range []struct {
			body         string
			status, read int
		}{{other, 200, 0}, {marked, 429, 0}, {marked, 200, 0}, {marked, 200, 2000}} {
			r := do(t, api, "https://api.test", call{body: c.body})
			if got := last(api); r.status != c.status || got.CacheReadTokens != c.read || c.status == 429 && got.InputTokens != 0 {
				t.Errorf("got %d, read %d, input %d, want %+v", r.status, got.CacheReadTokens, got.InputTokens, c)
			}
			if r.status == 429 || c.body == marked {
				time.Sleep(10 * time.Second)
			}
		}
	})
}

func TestUsage_echoesWhatWasAskedFor(t *testing.T) {
	u := told(t, sim.New(sim.Config{}), ask(newer, body{"inference_geo": "us", "speed": "fast", "service_tier": "auto"}, user("hi"))).Usage
	if u.Geo != "us" || u.Speed != "fast" || u.Tier != "standard" {
		t.Errorf("got %+v", u)
	}
}
