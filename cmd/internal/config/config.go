// Package config reads the configuration of the binary: flags over environment
// over a file over defaults.
//
// Everything starts from the struct [Config]. Its fields are the keys of the
// file (yaml tag), their environment variables (EVENKEEL_ and the path), their
// ranges (min, max, oneof tags) and the JSON schema. A new key is one field
// here and one paragraph in example.yaml; tests hold the two together.
//
// The package knows values, not what is done with them: it opens no port and
// makes no call.
package config

import "time"

// Config is the whole configuration, as the file spells it. [Default] has the
// defaults; the zero value has no meaning.
//
// Tags: min and max bound a value, oneof lists the choices, later marks keys
// that are read and checked but have no effect in this version.
type Config struct {
	Version     int         `yaml:"version" min:"1" max:"1"`
	Listen      string      `yaml:"listen"`
	Admin       string      `yaml:"admin"`
	Hosts       []string    `yaml:"hosts"`
	Origins     []string    `yaml:"origins"`
	Upstream    Upstream    `yaml:"upstream"`
	Timeouts    Timeouts    `yaml:"timeouts"`
	Retry       Retry       `yaml:"retry"`
	Breaker     Breaker     `yaml:"breaker"`
	Limits      Limits      `yaml:"limits"`
	Concurrency Concurrency `yaml:"concurrency"`
	Queue       Queue       `yaml:"queue"`
	Stream      Stream      `yaml:"stream"`
	Fallback    []Fallback  `yaml:"fallback"`
	Memory      Memory      `yaml:"memory"`
	Store       Store       `yaml:"store"`
	Clients     []Client    `yaml:"clients"`
	Drain       Drain       `yaml:"drain"`
	Log         Log         `yaml:"log"`
	Telemetry   Telemetry   `yaml:"telemetry" later:"true"`
}

// Upstream is the API that answers.
type Upstream struct {
	URL         string `yaml:"url"`
	APIKey      Secret `yaml:"api_key"`
	StreamPlain bool   `yaml:"stream_plain"`
}

// Timeouts bounds the phases of a call.
type Timeouts struct {
	Connect   Duration `yaml:"connect" min:"10ms" max:"10m"`
	FirstByte Duration `yaml:"first_byte" min:"10ms" max:"24h"`
	Idle      Duration `yaml:"idle" min:"10ms" max:"24h"`
	Total     Duration `yaml:"total" min:"10ms" max:"24h"`
}

// Retry says how often and how late a call is tried again.
type Retry struct {
	MaxAttempts int      `yaml:"max_attempts" min:"1" max:"100"`
	Base        Duration `yaml:"base" min:"1ms" max:"1h"`
	Max         Duration `yaml:"max" min:"1ms" max:"1h"`
	LongestWait Duration `yaml:"longest_wait" min:"1ms" max:"24h"`
	Budget      int      `yaml:"budget" min:"0" max:"1000000"`
}

// Breaker configures the circuit breakers.
type Breaker struct {
	ErrorRate  Percent  `yaml:"error_rate" min:"1%" max:"99%"`
	Window     Duration `yaml:"window" min:"1s" max:"1h"`
	MinCalls   int      `yaml:"min_calls" min:"1" max:"1000000"`
	OpenFor    Duration `yaml:"open_for" min:"100ms" max:"24h"`
	ProbeEvery Duration `yaml:"probe_every" min:"0" max:"24h"`
	Probes     int      `yaml:"probes" min:"1" max:"1000"`
	Ramp       Duration `yaml:"ramp" min:"0" max:"1h"`
	WhenOpen   string   `yaml:"when_open" oneof:"wait refuse"`
}

// Limits are the rates that the upstream allows.
type Limits struct {
	Learn         bool                        `yaml:"learn"`
	AdminKey      Secret                      `yaml:"admin_key"`
	Headroom      Percent                     `yaml:"headroom" min:"0%" max:"90%"`
	Models        map[string]Limit            `yaml:"models"`
	Organizations map[string]map[string]Limit `yaml:"organizations"`
}

// Limit is the allowance of one model class per minute; 0 means it is learned.
type Limit struct {
	RPM  Count `yaml:"rpm" min:"0" max:"1000000000"`
	ITPM Count `yaml:"itpm" min:"0" max:"1000000000000"`
	OTPM Count `yaml:"otpm" min:"0" max:"1000000000000"`
}

// Concurrency bounds how many calls are at the upstream at once.
type Concurrency struct {
	Mode string `yaml:"mode" oneof:"adaptive fixed"`
	Max  int    `yaml:"max" min:"0" max:"1000000"`
}

// Queue bounds the calls that are held by a breaker, a budget or a pause.
type Queue struct {
	Depth   int      `yaml:"depth" min:"1" max:"1000000"`
	MaxWait Duration `yaml:"max_wait" min:"1ms" max:"24h"`
}

// Stream says what becomes of a stream that breaks.
type Stream struct {
	Resume string `yaml:"resume" oneof:"off continue"`
}

// Fallback names the model that answers where another cannot in time.
type Fallback struct {
	From string `yaml:"from"`
	To   string `yaml:"to"`
}

// Memory bounds the request bodies kept for retries.
type Memory struct {
	Body   Size `yaml:"body" min:"1kB" max:"2GB"`
	Bodies Size `yaml:"bodies" min:"1MB" max:"1TB"`
}

// Store is where limits, breakers and budgets are kept.
type Store struct {
	Kind  string `yaml:"kind" oneof:"memory redis"`
	Redis Redis  `yaml:"redis"`
}

// Redis is the store that a fleet shares.
type Redis struct {
	URL               StoreURL `yaml:"url"`
	OnFailure         string   `yaml:"on_failure" oneof:"local_share"`
	ExpectedInstances int      `yaml:"expected_instances" min:"1" max:"100000"`
}

// Client is a caller that the gateway knows by its token.
type Client struct {
	Name        string           `yaml:"name"`
	TokenSHA256 string           `yaml:"token_sha256"`
	Priority    string           `yaml:"priority" oneof:"interactive normal batch"`
	Weight      int              `yaml:"weight" min:"1" max:"1000"`
	Paths       []string         `yaml:"paths"`
	Limits      map[string]Limit `yaml:"limits"`
}

// defaults implements defaulter: an entry of a list starts from these.
func (c *Client) defaults() { c.Priority, c.Weight = "normal", 1 }

// Drain says how the gateway goes away.
type Drain struct {
	Delay Duration `yaml:"delay" min:"0" max:"10m"`
	Grace Duration `yaml:"grace" min:"0" max:"24h"`
}

// Log says what is written to stderr, and how.
type Log struct {
	Level  string `yaml:"level" oneof:"debug info warn error"`
	Format string `yaml:"format" oneof:"auto text json"`
}

// Telemetry names the conventions of metrics and traces.
type Telemetry struct {
	Semconv string `yaml:"semconv" oneof:"latest compat"`
}

// DefaultUpstream is the API itself.
const DefaultUpstream = "https://api.anthropic.com"

// Default returns the configuration of a binary that was told nothing. The
// reason of each number is in example.yaml.
func Default() Config {
	return Config{
		Version:  1,
		Listen:   "127.0.0.1:4290",
		Admin:    "127.0.0.1:4291",
		Upstream: Upstream{URL: DefaultUpstream},
		Timeouts: Timeouts{
			Connect:   Duration(5 * time.Second),
			FirstByte: Duration(2 * time.Minute),
			Idle:      Duration(3 * time.Minute),
			Total:     Duration(10 * time.Minute),
		},
		Retry: Retry{
			MaxAttempts: 6,
			Base:        Duration(time.Second),
			Max:         Duration(time.Minute),
			LongestWait: Duration(time.Minute),
			Budget:      500,
		},
		Breaker: Breaker{
			ErrorRate:  0.20,
			Window:     Duration(time.Minute),
			MinCalls:   20,
			OpenFor:    Duration(5 * time.Minute),
			ProbeEvery: Duration(30 * time.Second),
			Probes:     3,
			Ramp:       Duration(30 * time.Second),
			WhenOpen:   "wait",
		},
		Limits:      Limits{Learn: true, Headroom: 0.05},
		Concurrency: Concurrency{Mode: "adaptive"},
		Queue:       Queue{Depth: 1000, MaxWait: Duration(30 * time.Second)},
		Stream:      Stream{Resume: "off"},
		Memory:      Memory{Body: 32 << 20, Bodies: 512 << 20},
		Store:       Store{Kind: "memory", Redis: Redis{OnFailure: "local_share", ExpectedInstances: 1}},
		Drain:       Drain{Delay: Duration(5 * time.Second), Grace: Duration(10 * time.Minute)},
		Log:         Log{Level: "info", Format: "auto"},
		Telemetry:   Telemetry{Semconv: "latest"},
	}
}
