package fleet

import (
	"context"
	_ "embed" // the scripts
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed lua/core.lua
	coreLua string
	//go:embed lua/results.lua
	resultsLua string
	//go:embed lua/fast.lua
	fastLua string
	//go:embed lua/line.lua
	lineLua string
	//go:embed lua/acquire.lua
	acquireLua string
	//go:embed lua/settle.lua
	settleLua string
	//go:embed lua/learn.lua
	learnLua string
	//go:embed lua/look.lua
	lookLua string
)

// scripted is the [engine] in Redis or Valkey: one script, one round trip per
// question.
type scripted struct {
	client                       redis.Scripter
	p                            policy
	keys                         keyspace
	acquiring, settling, looking *redis.Script
	learning                     *redis.Script
}

func newScripted(client redis.Scripter, p policy, keys keyspace) *scripted {
	t, constants := templates(), p.constants(keys.channel())
	return &scripted{
		client: client, p: p, keys: keys,
		acquiring: t.acquire.with(constants), settling: t.settle.with(constants),
		learning: t.learn.with(constants), looking: t.look.with(constants),
	}
}

// templates of the four scripts. What is not needed as a rule is a function of
// its own, which costs nothing until it is called: all of acquire but the fast
// way, and in it what results do.
var templates = sync.OnceValue(func() (t struct{ acquire, settle, learn, look template }) {
	t.acquire = newTemplate("local function general()\n", coreLua, "local function results()\n", resultsLua,
		"load_ring()\nturn()\nripen()\nsave_ring()\nreturn forget_ripe\nend\n", lineLua, acquireLua, "end\n", fastLua)
	t.settle = newTemplate(coreLua, resultsLua, settleLua)
	t.learn = newTemplate(coreLua, learnLua)
	t.look = newTemplate(coreLua, lookLua)
	return t
})

// template is a script in which constants are left open: text, and by turns
// their names.
type template []string

func newTemplate(parts ...string) (t template) {
	text, end := strings.Join(parts, ""), 0
	for _, at := range regexp.MustCompile(names).FindAllStringIndex(text, -1) {
		t = append(t, text[end:at[0]], text[at[0]:at[1]])
		end = at[1]
	}
	return append(t, text[end:])
}

func (t template) with(constants map[string]string) *redis.Script {
	filled := slices.Clone(t)
	for i := 1; i < len(filled); i += 2 {
		filled[i] = constants[filled[i]]
	}
	return redis.NewScript(strings.Join(filled, ""))
}

// names are those that the scripts have for the policy.
const names = `\b(CHANNEL|OFF|RATE|WINDOW|LEAST|OPEN|EVERY|PROBES|LEASE|RAMP|BUDGET|FLOOR|HEADROOM|KEEP)\b`

// constants is the policy as it is written into the scripts: it is the same for
// all of a fleet. Sent each time it would cost more than anything else that is
// sent, and as variables of Lua that functions refer to five microseconds a call.
func (p *policy) constants(channel string) map[string]string {
	n := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	return map[string]string{
		"CHANNEL": "'" + channel + "'", "OFF": strconv.FormatBool(p.off), "RATE": n(p.rate), "WINDOW": n(p.window), "LEAST": n(p.least),
		"OPEN": n(p.open), "EVERY": n(p.every), "PROBES": n(p.probes), "LEASE": n(p.lease), "RAMP": n(p.ramp), "BUDGET": n(p.budget),
		"FLOOR": n(p.floor), "HEADROOM": n(p.headroom), "KEEP": n(p.keepReservations),
	}
}

// load tells the server the scripts, so that the first who ask need not send
// them. A Cluster is told by those who ask.
func (s *scripted) load(ctx context.Context) {
	if _, cluster := s.client.(*redis.ClusterClient); cluster {
		return
	}
	for _, script := range []*redis.Script{s.acquiring, s.settling, s.learning, s.looking} {
		_ = script.Load(ctx, s.client).Err() // as above: it is sent along where it is not known
	}
}

// args collects what a script is told.
type args []any

func (a *args) num(v ...float64) {
	for _, x := range v {
		*a = append(*a, x) // is sent without an exponent, which not every Lua reads
	}
}

func (a *args) str(v ...string) {
	for _, s := range v {
		*a = append(*a, s)
	}
}

func (a *args) flag(v ...bool) {
	for _, b := range v {
		if b {
			*a = append(*a, "1")
		} else {
			*a = append(*a, "0")
		}
	}
}

// flags is a string of ones and zeros: each argument costs the server something.
func flags(v ...bool) string {
	b := make([]byte, len(v))
	for i, set := range v {
		b[i] = '0'
		if set {
			b[i] = '1'
		}
	}
	return string(b)
}

// words are numbers in one argument, without exponents.
func words(v ...float64) string {
	s := make([]byte, 0, 64)
	for i, x := range v {
		if i > 0 {
			s = append(s, ' ')
		}
		s = strconv.AppendFloat(s, x, 'f', -1, 64)
	}
	return string(s)
}

// holds is what a reservation holds of every bucket: cost, and pace.
func holds(groups []Group) string {
	all := make([]float64, 0, 16)
	for i := range groups {
		for _, b := range groups[i].Buckets {
			pace := 0.0
			if b.Kind == Output {
				pace = groups[i].Pace
			}
			all = append(all, b.Cost, pace)
		}
	}
	return words(all...)
}

// kinds spells what a group's buckets are, and their configured limits, as it is
// stored: it is compared whole.
func kinds(buckets []Bucket) string {
	s := make([]byte, 0, 64)
	for i, b := range buckets {
		if i > 0 {
			s = append(s, ' ')
		}
		s = append(append(s, b.Kind.String()...), ':')
		s = strconv.AppendFloat(s, b.Cap, 'f', -1, 64)
	}
	return string(s)
}

func (a *args) now(now float64) {
	if now == 0 {
		a.str("")
		return
	}
	a.str(strconv.FormatFloat(now, 'f', 0, 64))
}

func (s *scripted) acquire(ctx context.Context, now float64, a *acquisition) (Reply, error) {
	r, err := s.run(ctx, s.acquiring, append(s.keys.of(a.Request, s.keys.held(a.Request, a.id)), s.keys.line(a.Request)), acquireArgs(now, a))
	if r.Known && r.Reason == Granted {
		r.ID, r.Known = a.id, false
	}
	return r, err
}

func acquireArgs(now float64, a *acquisition) args {
	v := make(args, 0, 32)
	v.now(now)
	plain := !a.touch && a.hints == nil && a.Price == 0
	v.str(string(a.id), a.instance, flags(plain, a.touch, a.hints != nil, !a.NoProbe, a.Waited, a.Placed, a.Paid)+a.Class.digit())
	v.str(words(micros(a.Horizon), a.Random, float64(a.Price), float64(a.Purse)+1))
	v.num(a.income())
	v.str(holds(a.Groups))
	v.num(float64(len(a.Groups)))
	for i, g := range a.Groups {
		v.num(g.Pace, float64(len(g.Buckets)))
		v.str(kinds(g.Buckets))
		v.num(float64(1 + slices.IndexFunc(g.Buckets, func(b Bucket) bool { return b.Kind == Output })))
		for j, b := range g.Buckets {
			v.num(b.Cost, b.Keep)
			if a.hints == nil {
				continue
			}
			h := a.hints[i][j]
			v.num(h.limit, h.depth)
			if h.levelled {
				v.num(h.level)
			} else {
				v.str("")
			}
		}
	}
	return v
}

func (s *scripted) settle(ctx context.Context, now float64, t *settlement) (Reply, error) {
	v := make(args, 0, 40)
	v.now(now)
	v.str(string(t.mode), string(t.id))
	v.flag(t.Succeeded, t.Failure, t.Continues, t.Counted, t.Lost, t.Retry)
	v.num(float64(t.Price), float64(t.Purse)+1, micros(t.Pause), float64(t.Empty), float64(len(t.req.Groups)))
	for i, g := range t.req.Groups {
		v.num(float64(len(g.Buckets)))
		for _, b := range g.Buckets {
			v.num(float64(b.Kind))
			switch n, known, ran := t.actual(i, b.Kind); {
			case ran:
				v.str("r" + strconv.FormatFloat(n, 'f', -1, 64))
			case known:
				v.num(n)
			default:
				v.str("-")
			}
		}
	}
	keys := s.keys.of(t.req, s.keys.held(t.req, t.id))
	if t.flow != "" {
		v.str(t.flow)
		keys = append(keys, s.keys.line(t.req))
	}
	return s.run(ctx, s.settling, keys, v)
}

func (s *scripted) learn(ctx context.Context, now float64, t *lesson) (Reply, error) {
	v := make(args, 0, 40)
	v.now(now)
	v.str(string(t.id))
	v.flag(t.Refused)
	v.num(micros(t.Age), micros(t.Lesson.Pause), float64(len(t.Groups)))
	for i, g := range t.Groups {
		v.num(float64(len(g.Buckets)))
		for j, b := range g.Buckets {
			w := t.view(i, j)
			v.num(float64(b.Kind), w.Limit, w.Remaining, w.Low, w.High, w.when())
			if w.Known {
				v.num(w.Actual)
			} else {
				v.str("-")
			}
		}
	}
	return s.run(ctx, s.learning, s.keys.of(t.Request, s.keys.held(t.Request, t.id)), v)
}

func (s *scripted) look(ctx context.Context, now float64, t *glimpse) (Reply, error) {
	v := make(args, 0, 40)
	v.now(now)
	v.str(t.instance)
	id := ID("none")
	if t.bill != nil {
		id = t.bill.id
	}
	v.flag(t.bill != nil)
	v.num(float64(len(t.Groups)))
	for i, g := range t.Groups {
		v.num(float64(len(g.Buckets)))
		for j, b := range g.Buckets {
			e := t.bill.of(i, j)
			v.num(float64(b.Kind), e.used, e.left, e.rate, e.ran)
		}
	}
	return s.run(ctx, s.looking, s.keys.of(t.Request, s.keys.charge(t.Request, id)), v)
}

// run asks once. A script that the server has forgotten, after a restart, a
// failover or SCRIPT FLUSH, is sent along with the question; nothing else is
// asked twice.
func (s *scripted) run(ctx context.Context, script *redis.Script, keys []string, v args) (Reply, error) {
	text, err := script.EvalSha(ctx, s.client, keys, v...).Text()
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		text, err = script.Eval(ctx, s.client, keys, v...).Text()
	}
	if err != nil {
		return Reply{}, err
	}
	return decode(text)
}

// fields reads a reply word by word.
type fields struct {
	rest string
	bad  bool
}

func (f *fields) word() string {
	w, rest, _ := strings.Cut(f.rest, " ")
	f.rest, f.bad = rest, f.bad || w == ""
	return w
}

func (f *fields) num() float64 {
	n, err := strconv.ParseFloat(f.word(), 64)
	f.bad = f.bad || err != nil || math.IsNaN(n) || math.IsInf(n, 0)
	return n
}

// count reads a number of things.
func (f *fields) count() int {
	n := f.num()
	if n < 0 || n > 1e15 || n != math.Trunc(n) {
		f.bad = true
		return 0
	}
	return int(n)
}

// numbers reads n of them: packed, as servers store them, or as words.
func (f *fields) numbers(n int) []float64 {
	all := make([]float64, n)
	form, rest, _ := strings.Cut(f.rest, " ")
	switch {
	case len(f.rest) > 8*n && f.rest[0] == 'd':
		for i := range all {
			all[i] = math.Float64frombits(binary.LittleEndian.Uint64([]byte(f.rest[1+8*i : 9+8*i])))
			f.bad = f.bad || math.IsNaN(all[i]) || math.IsInf(all[i], 0)
		}
		var sep string
		sep, f.rest = f.rest[1+8*n:], ""
		if sep != "" {
			f.rest, f.bad = sep[1:], f.bad || sep[0] != ' '
		}
	case form == "t":
		f.rest = rest
		for i := range all {
			all[i] = f.num()
		}
	default:
		f.bad = true
	}
	return all
}

// buckets reads kinds and numbers of a group.
func (f *fields) buckets(n int) []BucketState {
	all := make([]BucketState, n)
	for i := range all {
		name, limit, _ := strings.Cut(f.word(), ":")
		k, ok := kindNamed[name]
		cap := fields{rest: limit}
		all[i].Kind, all[i].Cap = k, cap.num()
		f.bad = f.bad || !ok || cap.bad || cap.rest != ""
	}
	v := f.numbers(4 + 6*n) // of time, and output a second, to come, and when the next of it ends, and the buckets
	for i := range all {
		b := v[4+6*i:] // level, charged, what is in force, its seconds, what headers show, when that was
		all[i].Level, all[i].Depth, all[i].Limit = b[0], b[3], b[4]
	}
	return all
}

// kindNamed reads a kind.
var kindNamed = map[string]Kind{Requests.String(): Requests, Input.String(): Input, Output.String(): Output, Tokens.String(): Tokens}

// decode reads the one line that every script answers with.
func decode(text string) (r Reply, err error) {
	f := &fields{rest: text}
	status := f.num()
	why := f.word()
	reason, ok := reasons[why]
	f.bad = f.bad || !ok
	r.Reason, r.Wait = reason, duration(f.num())
	r.Known = status == 1
	if status == 2 {
		r.Reason = missing
	}
	r.Group = max(0, f.count()-1)
	r.Kind = Kind(min(f.count(), int(Tokens)+1))
	f.bad = f.bad || r.Kind > Tokens
	r.Probe = f.num() != 0
	r.Paid, r.Counted = f.num() != 0, f.num() != 0
	switch f.word() {
	case "closed":
	case "open":
		r.Breaker = Open
	case "half-open":
		r.Breaker = HalfOpen
	default:
		f.bad = true
	}
	r.Epoch = uint64(f.count())
	r.Moved = f.num() != 0
	r.NextProbe, r.Ramp, r.Budget = duration(f.num()), duration(f.num()), f.num()
	r.Live = f.count()
	for range f.count() {
		if f.bad {
			break
		}
		g := GroupState{born: f.num(), Paused: duration(f.num()), Wary: duration(f.num()), Budget: f.num()}
		if n := f.count(); n > 0 && n <= int(Tokens) {
			g.Buckets = f.buckets(n)
		}
		r.Groups = append(r.Groups, g)
	}
	if f.bad || f.rest != "" || r.Group > 0 && r.Group >= len(r.Groups) {
		return Reply{}, fmt.Errorf("fleet: the store answers %.80q, which is no reply of these scripts", text)
	}
	return r, nil
}
