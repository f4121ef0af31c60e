package claude

import (
	"net/http"
	"testing"
	"time"
)

// header sets names and values in turn, as net/http would.
func header(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

func TestNamesAreCanonical(t *testing.T) {
	for _, name := range []string{
		HeaderRequestID, HeaderRetryAfter, HeaderRetryAfterMs, HeaderShouldRetry, HeaderOrganizationID, HeaderDate,
		HeaderWorkspaceID, HeaderRequestsRemaining, HeaderTokensRemaining, HeaderInputTokensRemaining,
		HeaderOutputTokensRemaining, HeaderVersion, HeaderBeta, HeaderAPIKey, HeaderAuthorization,
		HeaderStainlessRetryCount, HeaderStainlessTimeout, HeaderStainlessReadTimeout,
		PrefixRateLimit + "X", PrefixUnified + "X", PrefixFast + "X", PrefixPriority + "X",
	} {
		if want := http.CanonicalHeaderKey(name); name != want {
			t.Errorf("%s would never be found, want %s", name, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 250e6, time.UTC)
	in := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, tt := range []struct {
		name string
		h    http.Header
		want time.Duration // 0: absent
	}{
		{"nothing said", header(), 0},
		{"no header at all", nil, 0},
		{"seconds", header("Retry-After", "7"), 7 * time.Second},
		{"a fraction of seconds", header("Retry-After", "0.5"), 500 * time.Millisecond},
		{"space around it", header("Retry-After", " 7 "), 7 * time.Second},
		{"milliseconds go first", header("Retry-After", "7", "Retry-After-Ms", "1500"), 1500 * time.Millisecond},
		{"milliseconds that cannot be read do not hide seconds", header("Retry-After", "7", "Retry-After-Ms", "soon"), 7 * time.Second},
		{"no milliseconds do not hide seconds", header("Retry-After", "7", "Retry-After-Ms", "0"), 7 * time.Second},
		{"a date by our clock, if the answer has none", header("Retry-After", in(7750*time.Millisecond)), 7750 * time.Millisecond},
		{"a date by the answer's own clock: whole seconds stay whole", header("Retry-After", in(7*time.Second), "Date", in(0)), 7 * time.Second},
		{"a date by the answer's own clock, ours being an hour behind", header("Retry-After", in(time.Hour+7*time.Second), "Date", in(time.Hour)), 7 * time.Second},
		{"an unreadable Date is none", header("Retry-After", in(7750*time.Millisecond), "Date", "today"), 7750 * time.Millisecond},
		{"a date of RFC 850", header("Retry-After", "Monday, 23-Nov-26 12:00:07 GMT", "Date", in(0)), 7 * time.Second},
		{"a date of asctime", header("Retry-After", "Mon Nov 23 12:00:07 2026", "Date", in(0)), 7 * time.Second},
		{"a date that has passed", header("Retry-After", in(-time.Second)), 0},
		{"at once is own backoff", header("Retry-After", "0"), 0},
		{"below zero", header("Retry-After", "-7"), 0},
		{"not a number", header("Retry-After", "NaN"), 0},
		{"infinite", header("Retry-After", "Inf"), 0},
		{"hexadecimal", header("Retry-After", "0x10"), 0},
		{"two points", header("Retry-After", "1.2.3"), 0},
		{"a point alone", header("Retry-After", "."), 0},
		{"less than a nanosecond", header("Retry-After", "0.0000000001"), 0},
		{"empty", header("Retry-After", ""), 0},
		{"a sentence", header("Retry-After", "in a while"), 0},
		{"hours are told as they are", header("Retry-After", "13262"), 13262 * time.Second},
		{"longer than any limit lasts", header("Retry-After", "999999999999"), maxWait},
		{"longer than a duration can be", header("Retry-After", "99999999999999999999999999"), maxWait},
		{"milliseconds longer than a duration can be", header("Retry-After-Ms", "99999999999999999999999999"), maxWait},
		{"more digits than anyone would send", header("Retry-After", string(make([]byte, 65))), 0},
		{"a date in the far future", header("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"), maxWait},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := RetryAfter(tt.h, now)
			if got != tt.want || ok != (tt.want > 0) {
				t.Errorf("got %v, %v, want %v, %v", got, ok, tt.want, tt.want > 0)
			}
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("7", "", "")
	f.Add("0.5", "1500", "")
	f.Add("-1", "NaN", "Inf")
	f.Add("Mon, 23 Nov 2026 12:00:07 GMT", "", "Mon, 23 Nov 2026 12:00:00 GMT")
	f.Add("Monday, 23-Nov-26 12:00:07 GMT", "1e309", "Mon Nov 23 12:00:07 2026")
	f.Add("99999999999999999999", "0x1p1023", "Fri, 31 Dec 9999 23:59:59 GMT")
	f.Fuzz(func(t *testing.T, after, ms, date string) {
		h := http.Header{HeaderRetryAfter: {after}, HeaderRetryAfterMs: {ms}, HeaderDate: {date}}
		for _, now := range []time.Time{{}, time.Unix(0, 0), time.Now()} {
			d, ok := RetryAfter(h, now)
			if d < 0 || d > maxWait || ok != (d > 0) {
				t.Errorf("got %v, %v from %q", d, ok, h)
			}
		}
	})
}

func TestShouldRetry(t *testing.T) {
	for _, tt := range []struct {
		name, value        string
		wantValue, wantSet bool
	}{
		{"told to", "true", true, true},
		{"told not to", "false", false, true},
		{"not told", "", false, false},
		{"another spelling is ignored, as the SDKs do", "True", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			value, present := ShouldRetry(header("x-should-retry", tt.value))
			if value != tt.wantValue || present != tt.wantSet {
				t.Errorf("got %v, %v, want %v, %v", value, present, tt.wantValue, tt.wantSet)
			}
		})
	}
}

func TestCallerTimeout(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    http.Header
		want time.Duration
	}{
		{"not told", header(), 0},
		{"whole seconds", header("x-stainless-timeout", "600"), 10 * time.Minute},
		{"a fraction", header("x-stainless-timeout", "0.25"), 250 * time.Millisecond},
		{"the read timeout where there is no other", header("x-stainless-read-timeout", "30"), 30 * time.Second},
		{"the timeout goes before the read timeout", header("x-stainless-timeout", "60", "x-stainless-read-timeout", "30"), time.Minute},
		{"a timeout that cannot be read does not hide the other", header("x-stainless-timeout", "NOT_GIVEN", "x-stainless-read-timeout", "30"), 30 * time.Second},
		{"none", header("x-stainless-timeout", "None"), 0},
		{"zero", header("x-stainless-timeout", "0"), 0},
		{"below zero", header("x-stainless-timeout", "-1"), 0},
		{"infinite", header("x-stainless-timeout", "inf"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := CallerTimeout(tt.h)
			if got != tt.want || ok != (tt.want > 0) {
				t.Errorf("got %v, %v, want %v", got, ok, tt.want)
			}
		})
	}
}

func TestIsRetry(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "1": true, "12": true, "-1": false, "x": false} {
		if got := IsRetry(header("x-stainless-retry-count", value)); got != want {
			t.Errorf("IsRetry(%q) = %v, want %v", value, got, want)
		}
	}
}

func TestEmptyBucket(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    http.Header
		want string
	}{
		{"no limits shown", header(), ""},
		{"room everywhere", header("anthropic-ratelimit-requests-remaining", "3", "anthropic-ratelimit-tokens-remaining", "1000"), ""},
		{"room for one", header("anthropic-ratelimit-requests-remaining", "1"), ""},
		{"no requests left", header("anthropic-ratelimit-requests-remaining", "0"), "requests"},
		{"no input left", header("anthropic-ratelimit-requests-remaining", "3", "anthropic-ratelimit-input-tokens-remaining", "0"), "input-tokens"},
		{"no output left", header("anthropic-ratelimit-output-tokens-remaining", "0"), "output-tokens"},
		{"the tightest of several", header("anthropic-ratelimit-tokens-remaining", "0"), "tokens"},
		{"the exact one goes before the sum", header("anthropic-ratelimit-tokens-remaining", "0", "anthropic-ratelimit-input-tokens-remaining", "0"), "input-tokens"},
		{"fast mode has buckets of its own", header("anthropic-fast-input-tokens-remaining", "0"), ""},
		{"garbage is not 0", header("anthropic-ratelimit-requests-remaining", "none"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := EmptyBucket(tt.h)
			if got != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, ok, tt.want)
			}
		})
	}
}

func TestHasUnified_HasFast(t *testing.T) {
	for _, tt := range []struct {
		name          string
		h             http.Header
		unified, fast bool
	}{
		{"neither", header("anthropic-ratelimit-requests-remaining", "0"), false, false},
		{"a subscription", header("anthropic-ratelimit-unified-status", "rejected"), true, false},
		{"fast mode", header("anthropic-fast-output-tokens-remaining", "0"), false, true},
		{"no header at all", nil, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := HasUnified(tt.h); got != tt.unified {
				t.Errorf("HasUnified = %v, want %v", got, tt.unified)
			}
			if got := HasFast(tt.h); got != tt.fast {
				t.Errorf("HasFast = %v, want %v", got, tt.fast)
			}
		})
	}
}

func TestCredential(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    http.Header
		want string
	}{
		{"none", header(), ""},
		{"SDK v1 sends it as a key", header("x-api-key", "k"), "k"},
		{"SDK v2 sends the same key as a bearer: one credential", header("Authorization", "Bearer k"), "k"},
		{"the scheme is not case-sensitive", header("Authorization", "bearer k"), "k"},
		{"both: the key", header("x-api-key", "k", "Authorization", "Bearer t"), "k"},
		{"another scheme is kept", header("Authorization", "AWS4-HMAC-SHA256 x"), "AWS4-HMAC-SHA256 x"},
		{"a scheme without a token", header("Authorization", "Bearer "), "Bearer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Credential(tt.h); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestHeaders_cost: a call asks these on its way to success.
func TestHeaders_cost(t *testing.T) {
	req := header("x-api-key", "k", "x-stainless-timeout", "600", "x-stainless-retry-count", "0")
	resp := header("anthropic-ratelimit-requests-remaining", "12", "anthropic-ratelimit-unified-status", "ok", "retry-after", "7")
	now := time.Now()
	if got := testing.AllocsPerRun(100, func() {
		Credential(req)
		CallerTimeout(req)
		IsRetry(req)
		ShouldRetry(resp)
		RetryAfter(resp, now)
		EmptyBucket(resp)
		HasUnified(resp)
		HasFast(resp)
	}); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}
