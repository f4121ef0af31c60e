package claude

import (
	"strings"
	"testing"
	"unicode/utf8"
)

var errorTests = []struct {
	name, body string
	want       Error
}{
	{
		"the documented envelope",
		`{"type":"error","error":{"type":"rate_limit_error","message":"slow down","details":{"error_code":"ramp_limit_exceeded"}},"request_id":"req_1"}`,
		Error{RateLimit, RampLimitExceeded, "slow down", "req_1"},
	},
	{
		"details are null",
		`{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}`,
		Error{Overloaded, "", "Overloaded", "req_1"},
	},
	{
		"no details, no id",
		`{"type":"error","error":{"type":"api_error","message":"Internal server error"},"request_id":null}`,
		Error{API, "", "Internal server error", ""},
	},
	{
		"the id comes first",
		`{"request_id":"req_1","error":{"type":"api_error","message":"m"},"type":"error"}`,
		Error{API, "", "m", "req_1"},
	},
	{
		"the 413 of the edge",
		`{"error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}`,
		Error{RequestTooLarge, "", "Request exceeds the maximum size", ""},
	},
	{
		"details hold more than a code",
		`{"error":{"details":{"a":{"error_code":"x"},"b":[{"error_code":"y"}],"error_code":"scan_pending"},"type":"conflict_error"}}`,
		Error{Conflict, ScanPending, "", ""},
	},
	{
		"a new type and code are kept as they are",
		`{"type":"error","error":{"type":"tired_error","details":{"error_code":"needs_sleep"}}}`,
		Error{"tired_error", "needs_sleep", "", ""},
	},
	{"error is a string", `{"error":"not found"}`, Error{Message: "not found"}},
	{"the inner object alone", `{"type":"overloaded_error","message":"Overloaded"}`, Error{Overloaded, "", "Overloaded", ""}},
	{
		"members of a wrong type are none",
		`{"type":"error","error":{"type":1,"message":["m"],"details":"x"},"request_id":{"a":"b"}}`,
		Error{Message: `{"type":"error","error":{"type":1,"message":["m"],"details":"x"},"request_id":{"a":"b"}}`},
	},
	{
		"unknown members, nested",
		`{"x":{"error":{"type":"api_error"}},"error":{"y":[{"type":"z"}],"type":"timeout_error"}}`,
		Error{Timeout, "", "", ""},
	},
	{
		"the last of two errors counts whole",
		`{"error":{"type":"api_error","details":{"error_code":"a"}},"error":{"type":"overloaded_error"}}`,
		Error{Overloaded, "", "", ""},
	},
	{"escapes", `{"error":{"type":"api\u005ferror","message":"a\n\"b\""}}`, Error{API, "", "a\n\"b\"", ""}},
	{"cut in the message", `{"type":"error","error":{"type":"overloaded_error","message":"Overlo`, Error{Overloaded, "", "", ""}},
	{"a Google answer", `{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}`, Error{Message: "Quota exceeded"}},
	{"a Google answer in an array: not ours", `[{"error":{"code":429}}]`, Error{Message: `[{"error":{"code":429}}]`}},
	{"a proxy's page", "<html>502 Bad Gateway</html>\n", Error{Message: "<html>502 Bad Gateway</html>"}},
	{"braces that are no JSON", `{{upstream}}`, Error{Message: `{{upstream}}`}},
	{"another framework's error", `{"detail":"Not Found"}`, Error{Message: `{"detail":"Not Found"}`}},
	{"a type longer than any", `{"error":{"type":"` + strings.Repeat("x", 65) + `","message":"m"}}`, Error{Message: "m"}},
	{"a long message", `{"error":{"message":"` + strings.Repeat("x", 5000) + `"}}`, Error{Message: strings.Repeat("x", 1024)}},
	{"a long text", strings.Repeat("é", 5000), Error{Message: strings.Repeat("é", 512)}},
	{"deeper than any stack", strings.Repeat(`{"error":`, 100_000), Error{Message: strings.Repeat(`{"error":`, 1024)[:1024]}},
	{"white space", " \n", Error{}},
	{"nothing", "", Error{}},
}

func TestParseError(t *testing.T) {
	for _, tt := range errorTests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseError([]byte(tt.body)); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestParseErrorEvent(t *testing.T) {
	data := `{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}`
	want := Error{Overloaded, "", "Overloaded", "req_1"}
	if got := ParseErrorEvent([]byte(data)); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzParseError(f *testing.F) {
	for _, tt := range errorTests {
		if len(tt.body) < 1000 {
			f.Add([]byte(tt.body))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e := ParseError(body)
		if len(e.Type) > maxErrorName || len(e.Code) > maxErrorName || len(e.RequestID) > maxRequestID || len(e.Message) > maxErrorMessage {
			t.Errorf("longer than allowed: %+v", e)
		}
		if !utf8.ValidString(e.Message) || !utf8.ValidString(string(e.Type)) {
			t.Errorf("not UTF-8: %+v", e)
		}
	})
}
