package tokens

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// sample is a text of the corpus with its counts.
type sample struct {
	ID, Category, Text string
	tokens             [families]int // Claude's
}

// tuning and scoring are the halves of the corpus: constants may be chosen by
// the first, and errors are told of the second only.
var halves = sync.OnceValues(func() (tuning, scoring []sample) {
	for _, s := range readCorpus() {
		h := fnv.New32a()
		_, _ = h.Write([]byte(s.ID))
		if h.Sum32()%2 == 0 {
			tuning = append(tuning, s)
		} else {
			scoring = append(scoring, s)
		}
	}
	return tuning, scoring
})

// readCorpus reads testdata/corpus; its README has format and origin.
func readCorpus() []sample {
	counts := map[string][families]int{}
	c, err := os.Open("testdata/corpus/counts.csv")
	must(err)
	defer c.Close()
	rows, err := csv.NewReader(c).ReadAll()
	must(err)
	column := func(name string) int { return slices.Index(rows[0], name) }
	for _, row := range rows[1:] {
		v3, err := strconv.Atoi(row[column("claude_v3")])
		must(err)
		v47, err := strconv.Atoi(row[column("claude_v47")])
		must(err)
		counts[row[0]] = [families]int{Claude3: v3, Claude47: v47}
	}
	f, err := os.Open("testdata/corpus/corpus.jsonl.gz")
	must(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(err)
	var samples []sample
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s sample
		must(json.Unmarshal(lines.Bytes(), &s))
		s.tokens = counts[s.ID]
		samples = append(samples, s)
	}
	must(lines.Err())
	return samples
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// traffics are kinds of requests, by the categories of the corpus in them; the
// last one has all.
var traffics = []struct{ name, categories string }{
	{"agent", "code_ts code_go code_js code_c code_py code_rust diff css html markdown terminal json_api tool_schema transcript_json min_js"},
	{"chat", "en_prose en_prose_modern emoji_chat markdown rst lang_ui"},
	{"data", "csv json json_api log sql yaml numbers hex_uuid urls xml_svg"},
	{"multi", "lang_udhr lang_ui"},
	{"mixed", ""},
}

// inTraffic are the samples of a kind of traffic.
func inTraffic(samples []sample, categories string) []sample {
	if categories == "" {
		return samples
	}
	all := strings.Fields(categories)
	return slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return !slices.Contains(all, s.Category) })
}

// call is a request with its true count.
type call struct {
	body   []byte
	tokens [families]int // texts and frame
}

// modelOf is a model of each family, by whose frame calls are counted.
var modelOf = [families]string{Claude3: "claude-sonnet-4-5", Claude47: "claude-opus-5-5"}

// turn is a message.
type turn struct {
	Role    string  `json:"role"`
	Content []block `json:"content"`
	tokens  [families]int
}

type block struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// say adds a text to a message.
func (m *turn) say(s sample) {
	m.Content = append(m.Content, block{"text", s.Text})
	for f := range m.tokens {
		m.tokens[f] += s.tokens[f]
	}
}

// request makes a request of messages.
func request(system turn, turns []turn) call {
	c := call{tokens: system.tokens}
	for i := range turns {
		turns[i].Role = [...]string{"user", "assistant"}[i%2]
		for f := range c.tokens {
			c.tokens[f] += turns[i].tokens[f]
		}
	}
	for f := range c.tokens {
		frame := parse(modelOf[f]).frame()
		c.tokens[f] += frame.first + (len(turns)-1)*frame.further
	}
	body, err := json.Marshal(struct {
		MaxTokens int     `json:"max_tokens"`
		Messages  []turn  `json:"messages"`
		System    []block `json:"system,omitempty"`
	}{1024, turns, system.Content})
	must(err)
	c.body = body
	return c
}

// someSorts picks the samples that a request or a conversation is made of: of
// two to five categories, since nobody sends everything at once.
func someSorts(r *rand.Rand, samples []sample) []sample {
	var sorts []string
	for range 2 + r.IntN(4) {
		sorts = append(sorts, samples[r.IntN(len(samples))].Category)
	}
	return inTraffic(samples, strings.Join(sorts, " "))
}

// compose makes a request of 2 to 300 KB, its size drawn from a log scale, in
// one to nine messages.
func compose(r *rand.Rand, samples []sample) call {
	size := int(2000 * math.Exp(r.Float64()*math.Log(150)))
	some := someSorts(r, samples)
	turns := make([]turn, 1+2*r.IntN(5))
	n := 0
	for i := 0; n < size || i < len(turns); i++ {
		s := some[r.IntN(len(some))]
		n += len(s.Text)
		turns[i%len(turns)].say(s)
	}
	return request(turn{}, turns)
}

// errs are relative errors of estimates, in percent.
type errs []float64

func (e *errs) add(estimate, truth float64) { *e = append(*e, 100*(estimate/truth-1)) }

// at is a quantile of the absolute errors.
func (e errs) at(q float64) float64 {
	a := make([]float64, len(e))
	for i := range e {
		a[i] = math.Abs(e[i])
	}
	slices.Sort(a)
	return a[min(len(a)-1, int(q*float64(len(a))))]
}

func (e errs) median() float64 { return e.at(0.5) }
func (e errs) p95() float64    { return e.at(0.95) }
