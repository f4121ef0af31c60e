package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// load resolves a file given as text.
func load(file string, env []string, flags ...Flag) (*Resolved, error) {
	return resolve(Sources{File: "evenkeel.yaml", Env: env, Flags: flags}, []byte(file))
}

func mustLoad(t *testing.T, file string, env []string, flags ...Flag) *Resolved {
	t.Helper()
	r, err := load(file, env, flags...)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return r
}

func TestLoad_nothingIsTheDefaults(t *testing.T) {
	for name, file := range map[string]string{
		"no file":                        "",
		"comments only":                  "# nothing here\n",
		"sections with every line out":   "retry:\nclients:\nlimits:\n  models:\n",
		"a version and nothing else":     "version: 1\n",
		"an explicit document start":     "---\n",
		"empty flow mappings and a list": "retry: {}\nclients: []\n",
		"the example":                    string(Example),
	} {
		t.Run(name, func(t *testing.T) {
			// What the SDKs read is not read here unless the file says so.
			for _, env := range [][]string{nil, {"ANTHROPIC_API_KEY=" + someKey, "ANTHROPIC_AUTH_TOKEN=" + someKey}} {
				if got, want := mustLoad(t, file, env).Config, Default(); !reflect.DeepEqual(got, want) {
					t.Errorf("with %d variables: got  %+v\nwant %+v", len(env), got, want)
				}
			}
		})
	}
}

// someKey looks like a key of the API.
const someKey = "sk-ant-api03-verysecretverysecret-x9Qa"

func TestExample_tellsHowToUseOurKey(t *testing.T) {
	const line, way = "  api_key: \"\"\n", "api_key: ${ANTHROPIC_API_KEY}\n"
	if !strings.Contains(string(Example), "#   "+way) {
		t.Fatalf("example.yaml does not show %q", way)
	}
	file := strings.Replace(string(Example), line, "  "+way, 1)
	env := []string{"ANTHROPIC_API_KEY=" + someKey}
	if got := string(mustLoad(t, file, env).Upstream.APIKey); got != someKey {
		t.Errorf("key is %q, want that of the variable", got)
	}
	if _, err := load(file, nil); len(ekerr.All(err)) != 1 || ekerr.All(err)[0].Code != ekerr.ConfigEnv {
		t.Errorf("without the variable: got %v, want EK-CONFIG-ENV", err)
	}
	open := strings.Replace(file, "listen: 127.0.0.1:4290", "listen: :4290", 1)
	if _, err := load(open, env); len(ekerr.All(err)) != 1 || ekerr.All(err)[0].Code != ekerr.ConfigOpen {
		t.Errorf("beyond this machine, without clients: got %v, want EK-CONFIG-OPEN", err)
	}
}

// However the configuration is printed, and wherever a key came from, no more
// of it shows than its last four characters; of a short one nothing does.
func TestResolved_showsNoKey(t *testing.T) {
	for _, tc := range []struct{ name, key, shown string }{
		{"a key", someKey, "(hidden, ends in x9Qa)"},
		{"a short one", "sk-x9Qa", "(hidden)"},
	} {
		for source, r := range map[string]*Resolved{
			"file":      mustLoad(t, "upstream: {api_key: "+tc.key+"}", nil),
			"reference": mustLoad(t, "upstream:\n  api_key: ${KEY}\n", []string{"KEY=" + tc.key}),
			"variable":  mustLoad(t, "", []string{"EVENKEEL_UPSTREAM_API_KEY=" + tc.key}),
			"flag":      mustLoad(t, "", nil, Flag{Name: "key", Path: "upstream.api_key", Value: tc.key}),
		} {
			r.Store.Redis.URL = StoreURL("redis://user:" + tc.key + "@host/1")
			text, err := r.YAML(true)
			if err != nil {
				t.Fatal(err)
			}
			tree, err := json.Marshal(r.Tree())
			if err != nil {
				t.Fatal(err)
			}
			for form, out := range map[string]string{
				"YAML": string(text), "JSON": string(tree),
				"%v": fmt.Sprintf("%v", r.Config), "%+v": fmt.Sprintf("%+v", r.Config), "%#v": fmt.Sprintf("%#v", r.Config),
			} {
				if strings.Contains(out, tc.key) || strings.Contains(out, "verysecret") || strings.Contains(out, tc.key[len(tc.key)-5:]) {
					t.Errorf("%s from %s: %s shows it:\n%s", tc.name, source, form, out)
				}
				if !strings.Contains(out, tc.shown) {
					t.Errorf("%s from %s: %s does not say %q", tc.name, source, form, tc.shown)
				}
			}
		}
	}
}

// The example is the manual: a key that is missing from it does not exist for
// its readers.
func TestExample_namesEveryKey(t *testing.T) {
	r := mustLoad(t, string(Example), nil)
	for _, l := range leaves(&r.Config) {
		if r.Origin(l.path) == DefaultOrigin && l.path != "store.redis.url" {
			t.Errorf("example.yaml does not set %s", l.path)
		}
	}
}

func TestLoad_precedence(t *testing.T) {
	file := "retry: {max_attempts: 3, budget: 50, base: 2s}\n"
	env := []string{"EVENKEEL_RETRY_MAX_ATTEMPTS=4", "EVENKEEL_RETRY_BASE=3s", "EVENKEEL_RETRY_MAX="}
	r := mustLoad(t, file, env, Flag{Name: "attempts", Path: "retry.max_attempts", Value: "5"})
	for _, tc := range []struct {
		path, got, want string
		from            Origin
	}{
		{"retry.max_attempts", Count(r.Retry.MaxAttempts).String(), "5", "--attempts"},
		{"retry.base", r.Retry.Base.String(), "3s", "EVENKEEL_RETRY_BASE"},
		{"retry.budget", Count(r.Retry.Budget).String(), "50", "evenkeel.yaml:1:34"},
		{"retry.max", r.Retry.Max.String(), "1m", DefaultOrigin},
	} {
		if tc.got != tc.want {
			t.Errorf("%s = %s, want %s", tc.path, tc.got, tc.want)
		}
		if got := r.Origin(tc.path); got != tc.from {
			t.Errorf("origin of %s = %s, want %s", tc.path, got, tc.from)
		}
	}
}

func TestLoad_listsAndMapsFromTheEnvironment(t *testing.T) {
	r := mustLoad(t, "", []string{
		"EVENKEEL_HOSTS=a.internal, b.internal",
		`EVENKEEL_ORIGINS=["https://a.example"]`,
		"EVENKEEL_LIMITS_MODELS={claude-opus-5-5: {rpm: 1k, itpm: 2M, otpm: 400k}}",
		"EVENKEEL_UPSTREAM_API_KEY=  ${NOT_A_REFERENCE}  ",
	})
	if got, want := r.Hosts, []string{"a.internal", "b.internal"}; !slices.Equal(got, want) {
		t.Errorf("hosts = %q, want %q", got, want)
	}
	if got, want := r.Origins, []string{"https://a.example"}; !slices.Equal(got, want) {
		t.Errorf("origins = %q, want %q", got, want)
	}
	if got, want := r.Limits.Models["claude-opus-5-5"], (Limit{RPM: 1000, ITPM: 2e6, OTPM: 4e5}); got != want {
		t.Errorf("limit = %+v, want %+v", got, want)
	}
	if got, want := string(r.Upstream.APIKey), "${NOT_A_REFERENCE}"; got != want {
		t.Errorf("key = %q, want %q: a variable's value is not expanded again", got, want)
	}
}

func TestLoad_expandsVariables(t *testing.T) {
	env := []string{"KEY=sk-ant-0123456789abcdefghij", "EMPTY=", "N=7", "HOST=h"}
	file := `
listen: ${HOST:-x}:4290
upstream:
  api_key: ${KEY}
  url: "http://${UNSET:-fallback}/$${literal}"
retry:
  max_attempts: ${N}
  base: ${EMPTY:-250ms}
clients:
  - {name: a, token_sha256: "` + strings.Repeat("a", 64) + `"}
`
	r := mustLoad(t, file, env)
	if got, want := string(r.Upstream.APIKey), "sk-ant-0123456789abcdefghij"; got != want {
		t.Errorf("api_key = %q, want %q", got, want)
	}
	if got, want := r.Upstream.URL, "http://fallback/${literal}"; got != want {
		t.Errorf("url = %q, want %q", got, want)
	}
	if r.Retry.MaxAttempts != 7 || r.Retry.Base != Duration(250*time.Millisecond) || r.Listen != "h:4290" {
		t.Errorf("got %d, %v, %s", r.Retry.MaxAttempts, r.Retry.Base, r.Listen)
	}
	if c := r.Clients[0]; c.Priority != "normal" || c.Weight != 1 {
		t.Errorf("client = %+v, want priority normal and weight 1 where none is given", c)
	}
}

func TestLoad_errors(t *testing.T) {
	hash := strings.Repeat("a", 64)
	for name, tc := range map[string]struct {
		file string
		env  []string
		want []string // code, place and a part of the text of every error, in order
	}{
		"misspelt key": {
			file: "version: 1\nretry:\n  max_attemps: 3\n",
			want: []string{`EK-CONFIG-KEY  evenkeel.yaml:3:3  unknown key "max_attemps" under retry`},
		},
		"key of another section": {
			file: "max_attempts: 3\n",
			want: []string{`EK-CONFIG-KEY  evenkeel.yaml:1:1  unknown key "max_attempts"`},
		},
		"key twice": {
			file: "retry:\n  budget: 10\n  budget: 20\n",
			want: []string{`EK-CONFIG-KEY  evenkeel.yaml:3:3  key "budget" appears twice`},
		},
		"fallback to nowhere": {
			file: "fallback:\n  - {from: '[', to: claude-opus-5}\n  - {from: claude-opus-5}\n  - {from: a, to: a}\n",
			want: []string{
				"EK-CONFIG-VALUE  evenkeel.yaml:2:5  fallback[0].from", "EK-CONFIG-VALUE  evenkeel.yaml:3:5  fallback[1].to",
				"EK-CONFIG-VALUE  evenkeel.yaml:4:5  fallback[2].to is \"a\", which is from",
			},
		},
		"word for a number": {
			file: "retry: {max_attempts: six}\n",
			want: []string{`EK-CONFIG-TYPE  evenkeel.yaml:1:23  retry.max_attempts is "six": want a whole number`},
		},
		"duration without a unit": {
			file: "timeouts: {connect: 5}\n",
			want: []string{`EK-CONFIG-TYPE  evenkeel.yaml:1:21  timeouts.connect is "5": want a duration`},
		},
		"share without a sign": {
			file: "breaker: {error_rate: 20}\n",
			want: []string{`EK-CONFIG-TYPE  evenkeel.yaml:1:23  breaker.error_rate is "20": want a percentage`},
		},
		"list for a value, value for a section, value for a list": {
			file: "listen: [a]\nretry: 6\nclients: web\n",
			want: []string{"EK-CONFIG-TYPE  evenkeel.yaml:1:9", "EK-CONFIG-TYPE  evenkeel.yaml:2:8", "EK-CONFIG-TYPE  evenkeel.yaml:3:10"},
		},
		"key without a value": {
			file: "listen:\n",
			want: []string{"EK-CONFIG-TYPE  evenkeel.yaml:1:8  listen has no value"},
		},
		"out of range, both ends": {
			file: "retry: {max_attempts: 0}\nbreaker: {error_rate: 101%}\n",
			want: []string{"EK-CONFIG-VALUE  evenkeel.yaml:1:23", "EK-CONFIG-VALUE  evenkeel.yaml:2:23"},
		},
		"not one of the choices": {
			file: "log: {level: inof}\n",
			want: []string{`EK-CONFIG-VALUE  evenkeel.yaml:1:14  log.level is "inof": want debug or info or warn or error; did you mean "info"?`},
		},
		"unset variable": {
			file: "upstream:\n  api_key: ${NOPE}\n",
			want: []string{"EK-CONFIG-ENV  evenkeel.yaml:2:12  ${NOPE} is not set"},
		},
		"malformed reference": {
			file: "listen: ${NOPE\n",
			want: []string{`EK-CONFIG-ENV  evenkeel.yaml:1:9  "${NOPE" is no reference`},
		},
		"not YAML": {
			file: "retry: {base: 1s\nlisten: x\n",
			want: []string{"EK-CONFIG-SYNTAX  evenkeel.yaml:"},
		},
		"two documents": {
			file: "version: 1\n---\nversion: 1\n",
			want: []string{"EK-CONFIG-SYNTAX  evenkeel.yaml"},
		},
		"an alias": {
			file: "retry: &r {base: 1s}\nbreaker: *r\n",
			want: []string{"EK-CONFIG-SYNTAX  evenkeel.yaml:1:8", "EK-CONFIG-SYNTAX  evenkeel.yaml:2:10"},
		},
		"a bad variable is named": {
			env:  []string{"EVENKEEL_RETRY_MAX_ATTEMPTS=six"},
			want: []string{"EK-CONFIG-TYPE  EVENKEEL_RETRY_MAX_ATTEMPTS  retry.max_attempts"},
		},
		"a list in a variable that is not YAML": {
			env:  []string{"EVENKEEL_CLIENTS={{"},
			want: []string{"EK-CONFIG-SYNTAX  EVENKEEL_CLIENTS"},
		},
		"address without a port": {
			file: "listen: localhost\n",
			want: []string{`EK-CONFIG-VALUE  evenkeel.yaml:1:9  listen is "localhost": want host:port`},
		},
		"both servers on one port": {
			file: "listen: 127.0.0.1:5000\nadmin: 127.0.0.1:5000\n",
			want: []string{"EK-CONFIG-VALUE  evenkeel.yaml:2:8  admin is the address of listen"},
		},
		"upstream without a scheme": {
			file: "upstream: {url: api.anthropic.com}\n",
			want: []string{"EK-CONFIG-VALUE  evenkeel.yaml:1:17  upstream.url"},
		},
		"upstream that is the gateway, by another name": {
			file: "upstream: {url: 'http://localhost:4290'}\n",
			want: []string{"EK-CONFIG-LOOP  evenkeel.yaml:1:17"},
		},
		"own key on an open port": {
			file: "listen: :4290\nupstream: {api_key: sk-ant-secret}\n",
			want: []string{"EK-CONFIG-OPEN  evenkeel.yaml:1:9"},
		},
		"backoff that would never be waited": {
			file: "retry: {max: 5m}\n",
			want: []string{"EK-CONFIG-VALUE  evenkeel.yaml:1:14  retry.max is 5m, longer than retry.longest_wait"},
		},
		"clients: no name, short hash, same name, same token": {
			file: "clients:\n- {token_sha256: " + hash + "}\n- {name: a, token_sha256: ab}\n- {name: a, token_sha256: " + hash + "}\n",
			want: []string{
				"EK-CONFIG-VALUE  evenkeel.yaml:2:3  clients[0].name", "EK-CONFIG-VALUE  evenkeel.yaml:3:3  clients[1].token_sha256",
				"EK-CONFIG-VALUE  evenkeel.yaml:4:10  clients[2].name", "EK-CONFIG-VALUE  evenkeel.yaml:4:27  clients[2].token_sha256",
			},
		},
		"a store, and nobody says where": {
			file: "store: {kind: redis}\n",
			want: []string{"EK-CONFIG-VALUE  evenkeel.yaml:1:15  store.kind is redis, and store.redis.url is not set"},
		},
		"a store's URL with a space, and a password": {
			file: "store: {kind: redis, redis: {url: 'redis://u:se cret@h'}}\n",
			want: []string{"EK-CONFIG-TYPE  evenkeel.yaml:1:35  store.redis.url is not usable: a URL has no spaces"},
		},
		"assembling needs a second attempt": {
			file: "upstream: {stream_plain: true}\nretry: {max_attempts: 1}\n",
			want: []string{"EK-CONFIG-VALUE  evenkeel.yaml:1:26  upstream.stream_plain is true, and retry.max_attempts is 1"},
		},
		"everything at once, in all sources": {
			file: "nope: 1\nretry: {base: x}\n",
			env:  []string{"EVENKEEL_QUEUE_DEPTH=-1"},
			want: []string{"EK-CONFIG-KEY  evenkeel.yaml:1:1", "EK-CONFIG-TYPE  evenkeel.yaml:2:15", "EK-CONFIG-VALUE  EVENKEEL_QUEUE_DEPTH"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(tc.file, tc.env)
			got := ekerr.All(err)
			if len(got) != len(tc.want) {
				t.Fatalf("got %d errors, want %d:\n%v", len(got), len(tc.want), err)
			}
			for i, e := range got {
				if !strings.HasPrefix(e.Error(), tc.want[i]) {
					t.Errorf("error %d:\ngot  %s\nwant %s…", i, e, tc.want[i])
				}
				if ekerr.Exit(e) != 10 {
					t.Errorf("exit code of %s = %d, want 10", e.Code, ekerr.Exit(e))
				}
			}
		})
	}
}

func TestLoad_suggests(t *testing.T) {
	for file, want := range map[string]string{
		"retry: {max_attemps: 3}": `did you mean "max_attempts"?`,
		"max_attempts: 3":         "did you mean retry.max_attempts?",
		"retyr: {}":               `did you mean "retry"?`,
		"queue: {zzzzzzzzz: 3}":   "known here: depth, max_wait",
	} {
		_, err := load(file, nil)
		if got := ekerr.All(err)[0].Do; !slices.Contains(got, want) {
			t.Errorf("%s: hints %q, want %q among them", file, got, want)
		}
	}
}

func TestLoad_anotherKindOfFile(t *testing.T) {
	var file strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&file, "k%d: 1\n", i)
	}
	_, err := load(file.String(), nil)
	if got, want := len(ekerr.All(err)), maxErrors; got != want {
		t.Errorf("told %d errors, want %d at most", got, want)
	}
}

// Whoever asks for the port of a gateway with a broken file still gets it.
func TestLoad_keepsWhatCouldBeRead(t *testing.T) {
	r, err := load("admin: 127.0.0.1:9999\nnope: 1\n", nil)
	if err == nil || r == nil || r.Admin != "127.0.0.1:9999" {
		t.Errorf("got %v, %v; want the admin address and an error", r, err)
	}
}

func TestLoad_file(t *testing.T) {
	name := filepath.Join(t.TempDir(), "evenkeel.yaml")
	if _, err := Load(Sources{File: name}); ekerr.All(err)[0].Code != ekerr.ConfigFile {
		t.Errorf("missing file: %v, want EK-CONFIG-FILE", err)
	}
	if err := os.WriteFile(name, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Sources{File: name}); ekerr.All(err)[0].Code != ekerr.ConfigFile {
		t.Errorf("file too large: %v, want EK-CONFIG-FILE", err)
	}
	if err := os.WriteFile(name, []byte("retry: {max_attempts: 2}"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Load(Sources{File: name})
	if err != nil || r.Retry.MaxAttempts != 2 {
		t.Errorf("got %v, %v; want 2 attempts", r, err)
	}
}

func TestLoad_secretsStayOutOfErrors(t *testing.T) {
	const secret = "sk-ant-api03-verysecretverysecret"
	for _, file := range []string{
		"upstream: {api_key: '" + secret + " x'}",
		"upstream: {url: 'https://user:" + secret + "@host'}",
		"upstream: {url: '://" + secret + "'}",
		"listen: :1\nupstream: {api_key: " + secret + "}",
	} {
		_, err := load(file, nil)
		if err == nil {
			t.Errorf("%s: no error", file)
		}
		var out strings.Builder
		ekerr.Print(&out, err)
		if strings.Contains(out.String(), "verysecret") {
			t.Errorf("the secret is printed:\n%s", out.String())
		}
	}
}

func TestLoad_notes(t *testing.T) {
	hash := strings.Repeat("a", 64)
	for name, tc := range map[string]struct {
		file string
		env  []string
		want []string
	}{
		"nothing worth a note":                    {file: "retry: {budget: 10}"},
		"a key without effect yet":                {file: "telemetry: {semconv: compat}", want: []string{"telemetry.semconv"}},
		"a key without effect, at its default":    {file: "telemetry: {semconv: latest}"},
		"limits of a client":                      {file: "clients: [{name: a, token_sha256: " + hash + ", limits: {m: {rpm: 1}}}]"},
		"limits of a key that is not set":         {file: "limits: {models: {m: {rpm: 1}}}", want: []string{"limits.models"}},
		"a variable that is nearly ours":          {env: []string{"EVENKEEL_RETRY_MAX_ATTEMPS=3"}, want: []string{"EVENKEEL_RETRY_MAX_ATTEMPS"}},
		"variables that Kubernetes sets":          {env: []string{"EVENKEEL_PORT=tcp://10.0.0.1:4290", "EVENKEEL_SERVICE_HOST=10.0.0.1", "EVENKEEL_PORT_4290_TCP=x"}},
		"admin open to the network":               {file: "admin: :4291", want: []string{"admin"}},
		"prompts in the clear":                    {file: "upstream: {url: 'http://gw.example'}", want: []string{"upstream.url"}},
		"an unencrypted upstream on this machine": {file: "upstream: {url: 'http://127.0.0.1:5290'}"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, n := range mustLoad(t, tc.file, tc.env).Notes {
				got = append(got, n.At)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("notes on %q, want %q", got, tc.want)
			}
		})
	}
}

func TestLoad_unused(t *testing.T) {
	got := mustLoad(t, "telemetry: {semconv: latest}\nretry: {budget: 500}\n", nil).Unused
	if want := []string{"telemetry.semconv"}; !slices.Equal(got, want) {
		t.Errorf("unused keys %q, want %q", got, want)
	}
}

func TestEnvNamesAreUnique(t *testing.T) {
	cfg, seen := Default(), map[string]string{}
	for _, l := range leaves(&cfg) {
		if other, ok := seen[EnvName(l.path)]; ok {
			t.Errorf("%s and %s share %s", other, l.path, EnvName(l.path))
		}
		seen[EnvName(l.path)] = l.path
	}
}

// Every bound and choice in a tag can be read, and the defaults obey them.
func TestDefault_isWithinItsOwnRules(t *testing.T) {
	cfg := Default()
	for _, l := range leaves(&cfg) {
		if l.rules == (rules{later: l.rules.later}) {
			continue
		}
		text := l.value.String()
		if l.value.Kind() != reflect.String {
			text = ""
		}
		if err := l.rules.check(l.value, text); err != nil {
			t.Errorf("%s: %v", l.path, err)
		}
	}
}
