package fleet

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

// FuzzDecode: whatever a server answers is a reply or an error.
func FuzzDecode(f *testing.F) {
	group := "1 granted 0 0 0 0 0 0 closed 1 0 0 0 500 3 1 1800000000000000 0 0 500 1 input:60 "
	f.Add(group + "t 1800000000000000 0 0 0 -4.5 14 60 10 0 0")
	packed := []byte(group + "d")
	for _, x := range []float64{dawn, 0, 0, 0, -4.5, 14, 60, 10, 0, 0} {
		packed = binary.LittleEndian.AppendUint64(packed, math.Float64bits(x))
	}
	f.Add(string(packed))
	f.Add(string(packed) + " ")
	f.Add(string(packed[:len(packed)-1]))
	f.Add("2 missing 0 1 0 0 0 0 open 7 1 30000000 0 12 0 0")
	f.Add("0 limit 1 1 1 0 0 0 closed 1 0 0 0 500 3 99999999999 1")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := decode(text)
		if err == nil && len(strings.Split(text, " ")) < 16 {
			t.Errorf("%q is read as %+v: words are missing", text, r)
		}
		for _, g := range r.Groups {
			for _, b := range g.Buckets {
				if x := b.Level - b.Limit - b.Depth - b.Cap; math.IsNaN(x) {
					t.Errorf("%q is read as %+v", text, r)
				}
			}
		}
	})
}

// FuzzClientOptions: no error shows the password.
func FuzzClientOptions(f *testing.F) {
	f.Add("redis://user:s3cret-pass@host:1/2?addr=x&master_name=m")
	f.Add("rediss://:s3cret-pass@[::1]:%zz")
	f.Add("unix:///tmp/x?db=s3cret-pass")
	f.Fuzz(func(t *testing.T, url string) {
		o, err := ClientOptions(url)
		if err == nil && (o.MaxRetries != -1 || !o.ContextTimeoutEnabled || len(o.Addrs) == 0) {
			t.Errorf("%q gives %+v", url, o)
		}
		if _, after, ok := strings.Cut(url, "://"); ok && err != nil {
			if user, _, ok := strings.Cut(after, "@"); ok {
				if _, password, _ := strings.Cut(user, ":"); len(password) > 8 && strings.Contains(err.Error(), password) {
					t.Errorf("%q: the error shows the password: %v", url, err)
				}
			}
		}
	})
}

// FuzzWake: whatever is published is a wake-up or nothing.
func FuzzWake(f *testing.F) {
	f.Add("evenkeel:2:{org}:lane:api/messages/opus open 2")
	f.Add("{}:lane: closed 1")
	f.Fuzz(func(t *testing.T, text string) {
		if w, ok := parseWake(text); ok && (w.All || w.State > HalfOpen) {
			t.Errorf("%q wakes with %+v", text, w)
		}
	})
}
