package assemble_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/evenkeel-dev/evenkeel/assemble"
)

func TestRequest(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"without the field", `{"model":"m"}`, `{"stream":true,"model":"m"}`},
		{"white space stays", " {\n \"model\": \"m\" }\n", " {\"stream\":true,\n \"model\": \"m\" }\n"},
		{"false", `{"model":"m", "stream" : false ,"x":1.50}`, `{"model":"m", "stream" : true ,"x":1.50}`},
		{"null", `{"stream":null}`, `{"stream":true}`},
		{"a nested one is another", `{"metadata":{"stream":false}}`, `{"stream":true,"metadata":{"stream":false}}`},
		{"empty", `{ }`, `{"stream":true }`},
		{"a stream already", `{"stream":true}`, ""},
		{"twice", `{"stream":false,"stream":false}`, ""},
		{"for the API to refuse", `{"stream":"no"}`, ""},
		{"no object", `["stream"]`, ""},
		{"half", `{"model":`, ""},
		{"nothing", ``, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := assemble.Request([]byte(tt.in))
			if string(got) != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q %v, want %q", got, ok, tt.want)
			}
		})
	}
}

// FuzzRequest: nothing but the one field changes.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"a":[{"stream":false}],"stream": false,"é":"\ud83d\ude00"}`))
	f.Add([]byte("\ufeff{}"))
	f.Add([]byte(`{"str\u0065am":false}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		out, ok := assemble.Request(body)
		if !ok {
			return
		}
		var before, after map[string]json.RawMessage
		if json.Unmarshal(body, &before) != nil || json.Unmarshal(out, &after) != nil {
			t.Fatalf("%q became %q", body, out)
		}
		if string(after["stream"]) != "true" {
			t.Fatalf("%q does not ask for a stream", out)
		}
		delete(before, "stream")
		delete(after, "stream")
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q", body, out)
		}
	})
}
