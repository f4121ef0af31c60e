package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

func TestTypes_readAndWrite(t *testing.T) {
	for _, tc := range []struct {
		text string
		want any
		back string // as written; "" if text
	}{
		{"30s", Duration(30 * time.Second), ""},
		{"120s", Duration(2 * time.Minute), "2m"},
		{"1h", Duration(time.Hour), ""},
		{"1h30m", Duration(90 * time.Minute), ""},
		{"10m10s", Duration(610 * time.Second), ""},
		{"0", Duration(0), "0s"},
		{"250ms", Duration(250 * time.Millisecond), ""},
		{"512MB", Size(512 << 20), ""},
		{"512 MiB", Size(512 << 20), "512MB"},
		{"64kB", Size(64 << 10), ""},
		{"1.5GB", Size(3 << 29), "1536MB"},
		{"1000", Size(1000), "1000B"},
		{"20%", Percent(0.2), ""},
		{"0.5%", Percent(0.005), ""},
		{"33.3 %", Percent(0.333), "33.3%"},
		{"400k", Count(400_000), ""},
		{"1.5M", Count(1_500_000), "1500k"},
		{"2M", Count(2_000_000), ""},
		{"1234", Count(1234), ""},
	} {
		v := reflect.New(reflect.TypeOf(tc.want)).Elem()
		if err := setText(v, tc.text); err != nil {
			t.Errorf("%q: %v", tc.text, err)
			continue
		}
		if got := v.Interface(); fmt.Sprintf("%.12v", got) != fmt.Sprintf("%.12v", tc.want) {
			t.Errorf("%q = %v, want %v", tc.text, got, tc.want)
		}
		back := tc.back
		if back == "" {
			back = tc.text
		}
		if got := fmt.Sprint(v.Interface()); got != back {
			t.Errorf("%q is written %q, want %q", tc.text, got, back)
		}
	}
}

func TestTypes_refuse(t *testing.T) {
	for _, tc := range []struct {
		text string
		into any
	}{
		{"5", new(Duration)},
		{"", new(Duration)},
		{"5 minutes", new(Duration)},
		{"20", new(Percent)},
		{"%", new(Percent)},
		{"NaN%", new(Percent)},
		{"Inf%", new(Percent)},
		{"-1", new(Size)},
		{"1.5", new(Size)},
		{"99999999999TB", new(Size)},
		{"MB", new(Size)},
		{"0x10", new(Size)},
		{"1G", new(Count)},
		{"-5k", new(Count)},
		{"1.2345k", new(Count)},
		{"9223372036854775807k", new(Count)},
		{"1e9", new(Count)},
		{"a b", new(Secret)},
		{"a\nb", new(Secret)},
	} {
		if err := setText(reflect.ValueOf(tc.into).Elem(), tc.text); err == nil {
			t.Errorf("%T took %q as %v", tc.into, tc.text, reflect.ValueOf(tc.into).Elem())
		}
	}
}

func TestSecret_isNeverPrinted(t *testing.T) {
	type holder struct{ Key Secret }
	for _, s := range []Secret{"short-secret", "sk-ant-api03-a-long-secret-x9Qa"} {
		text := fmt.Sprintf("%v %+v %#v %s %q", s, holder{s}, holder{s}, s, s)
		js, _ := json.Marshal(holder{s})
		ym, _ := yaml.Dump(holder{s})
		for _, out := range []string{text, string(js), string(ym)} {
			if strings.Contains(out, "secret") {
				t.Errorf("%s shows the secret", out)
			}
		}
	}
}

func TestYAML_loadsAgain(t *testing.T) {
	file := "retry: {base: 250ms}\nhosts: ['on', b]\nlimits: {models: {m: {rpm: 10k}}}\nbreaker: {error_rate: 12.5%}\n"
	first := mustLoad(t, file, nil)
	for _, origins := range []bool{false, true} {
		out, err := first.YAML(origins)
		if err != nil {
			t.Fatal(err)
		}
		if again := mustLoad(t, string(out), nil); !reflect.DeepEqual(again.Config, first.Config) {
			t.Errorf("origins %v: what was shown loads as\n%+v\nwant\n%+v", origins, again.Config, first.Config)
		}
		if got := strings.Contains(string(out), "# evenkeel.yaml:1:15"); got != origins {
			t.Errorf("origins %v: place of retry.base shown: %v\n%s", origins, got, out)
		}
	}
}

func TestYAML_hidesCredentials(t *testing.T) {
	r := mustLoad(t, "upstream: {api_key: sk-ant-api03-verysecretverysecret-x9Qa}\nstore: {redis: {url: 'redis://:verysecretpw@h'}}\n", nil)
	out, _ := r.YAML(true)
	js, _ := json.Marshal(r.Tree())
	for _, s := range []string{string(out), string(js)} {
		if strings.Contains(s, "verysecret") || !strings.Contains(s, "x9Qa") {
			t.Errorf("want the key hidden but for its end:\n%s", s)
		}
	}
}

func TestStoreURL_showsNoPassword(t *testing.T) {
	for in, want := range map[StoreURL]string{
		"":                              "",
		"redis://localhost:6379/1":      "redis://localhost:6379/1",
		"redis://user:verysecret@h:1/0": "redis://user:hidden@h:1/0",
		"redis://:verysecret@h":         "redis://:hidden@h",
		"redis://h?sentinel_password=verysecret&master_name=m": "redis://h?master_name=m&sentinel_password=hidden",
		"unix:///run/redis.sock":                               "unix:///run/redis.sock",
		"redis://user:verysecret%@h":                           "(hidden)",
		"verysecret":                                           "(hidden)",
	} {
		if got := in.String(); got != want {
			t.Errorf("shown as %q, want %q", got, want)
		}
	}
}

// The schema knows every key, and accepts the values the reader accepts.
func TestSchema(t *testing.T) {
	data, err := json.Marshal(Schema())
	if err != nil {
		t.Fatal(err)
	}
	cfg := Default()
	for _, l := range leaves(&cfg) {
		key := l.path[strings.LastIndexByte(l.path, '.')+1:]
		if !strings.Contains(string(data), `"`+key+`":{`) {
			t.Errorf("no %s in the schema", key)
		}
	}
}
