package sim

import (
	"strconv"
	"time"
)

// usage is what an answer has cost (“Streaming messages”, platform.claude.com,
// 2026-09-02).
type usage struct {
	Input, CacheWrite, CacheRead int
	FiveMinutes, OneHour         int // the parts of CacheWrite
	Output, Thinking             int // Thinking is a part of Output
	Searches, Fetches            int // by server tools
	thinks                       bool
	tier, geo, speed             string

	uses []prefix // of the cache, if the call is served
}

// prefix is the beginning of a prompt as the cache knows it.
type prefix struct {
	key  uint64
	life time.Duration
}

// all is the whole prompt in tokens, cached or not.
func (u usage) all() int { return u.Input + u.CacheWrite + u.CacheRead }

// tokens estimates the size of a text in tokens: at 2.5 bytes per token, and
// 3.4 for models before 4.7 (“Token counting”, platform.claude.com,
// 2026-08-22).
func (s spec) tokens(bytes int) int {
	if s.oldTokens {
		return bytes * 5 / 17
	}
	return bytes * 2 / 5
}

// inputTokens estimates the size of a prompt.
func (r request) inputTokens() int {
	bytes := len(r.Prompt)
	for p := range r.prompt() {
		bytes += p.size
	}
	return max(1, specOf(r.Model).tokens(bytes))
}

// prompt yields all that the model is shown, in the order in which it is
// cached: tools, system, messages (“Prompt caching”, platform.claude.com).
func (r request) prompt() func(yield func(part) bool) {
	return func(yield func(part) bool) {
		for i := range r.tools {
			if !yield(r.tools[i].part) {
				return
			}
		}
		for i := range r.system {
			if !yield(r.system[i]) {
				return
			}
		}
		for i := range r.turns {
			for j := range r.turns[i].parts {
				if !yield(r.turns[i].parts[j]) {
					return
				}
			}
		}
	}
}

// usage returns the input side of an answer's usage. It looks into the cache,
// but leaves no trace there; see served.
func (t *attempt) usage(in input) usage {
	u := usage{tier: "standard", geo: in.Geo, speed: in.Speed}
	if in.marks == 0 && in.cache == 0 {
		u.Input = in.inputTokens()
		return u
	}
	t.cache(in, &u)
	return u
}

// point is a place in a prompt, after one of its blocks.
type point struct {
	prefix
	tokens int
}

// lookback is how many blocks before a breakpoint are looked at for a prefix
// that was cached earlier (“Prompt caching”, platform.claude.com).
const lookback = 20

// cache splits the input of a prompt that has breakpoints into what is read
// from the cache, what is written there, and the rest. Caches belong to an
// organisation and a model.
func (t *attempt) cache(in input, u *usage) {
	s := specOf(in.Model)
	points := t.points(in, s)
	last := 0 // the point up to which the cache is used
	for b := len(points); b > 0 && u.CacheRead == 0; b-- {
		if points[b-1].life == 0 {
			continue
		}
		for i := b; i > 0 && i > b-lookback && u.CacheRead == 0; i-- {
			if p := points[i-1]; p.tokens >= s.minCache && t.api.memory.read(p.key, t.began) {
				u.CacheRead, last = p.tokens, i
				u.uses = append(u.uses, prefix{key: p.key})
			}
		}
	}
	before := u.CacheRead
	for _, p := range points[last:] {
		if p.life == 0 || p.tokens < s.minCache {
			continue
		}
		if p.life == time.Hour {
			u.OneHour += p.tokens - before
		} else {
			u.FiveMinutes += p.tokens - before
		}
		before = p.tokens
		u.uses = append(u.uses, p.prefix)
	}
	u.CacheWrite = u.FiveMinutes + u.OneHour
	u.Input = max(1, s.tokens(t.size(in))) - u.CacheRead - u.CacheWrite
}

func (t *attempt) size(in input) (bytes int) {
	for p := range in.prompt() {
		bytes += p.size
	}
	return bytes
}

// points returns the places in a prompt where it may have been cached, with
// the lives of its breakpoints. One for the request as a whole is at its end.
func (t *attempt) points(in input, s spec) []point {
	h := mix(hashBytes([]byte(t.organization())), hashBytes([]byte(in.Model)))
	bytes := 0
	var points []point
	for p := range in.prompt() {
		bytes += p.size
		h = mix(h, p.hash)
		points = append(points, point{prefix{h, p.cache}, s.tokens(bytes)})
	}
	if n := len(points); n > 0 && points[n-1].life == 0 {
		points[n-1].life = in.cache
	}
	return points
}

// served keeps in the cache what a call that was let in has used of it.
func (t *attempt) served(u usage) {
	for _, p := range u.uses {
		t.api.memory.use(p.key, p.life, t.began)
	}
}

// append appends the usage as JSON: in message_delta without what message_start
// has said for good.
func (u usage) append(b []byte, inDelta bool) []byte {
	number := func(name string, n int) {
		b = append(append(append(b, '"'), name...), '"', ':')
		b = append(strconv.AppendInt(b, int64(n), 10), ',')
	}
	b = append(b, '{')
	number("input_tokens", u.Input)
	number("cache_creation_input_tokens", u.CacheWrite)
	number("cache_read_input_tokens", u.CacheRead)
	if !inDelta {
		b = append(b, `"cache_creation":{`...)
		number("ephemeral_5m_input_tokens", u.FiveMinutes)
		number("ephemeral_1h_input_tokens", u.OneHour)
		b[len(b)-1] = '}'
		b = append(append(append(b, `,"service_tier":"`...), u.tier...), `",`...)
		for _, asked := range []struct{ name, value string }{{"inference_geo", u.geo}, {"speed", u.speed}} {
			if asked.value != "" {
				b = append(append(append(b, '"'), asked.name...), '"', ':')
				b = append(appendString(b, asked.value), ',')
			}
		}
	}
	if u.Searches+u.Fetches > 0 {
		b = append(b, `"server_tool_use":{`...)
		number("web_search_requests", u.Searches)
		number("web_fetch_requests", u.Fetches)
		b[len(b)-1] = '}'
		b = append(b, ',')
	}
	if u.thinks {
		b = append(b, `"output_tokens_details":{`...)
		number("thinking_tokens", u.Thinking)
		b[len(b)-1] = '}'
		b = append(b, ',')
	}
	number("output_tokens", u.Output)
	b[len(b)-1] = '}'
	return b
}
