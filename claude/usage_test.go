package claude

import "testing"

func TestUsage_Merge(t *testing.T) {
	for _, tt := range []struct {
		why    string
		before Usage
		object string
		want   Usage
	}{
		{"message_start names all", Usage{}, `{"input_tokens":7,"cache_creation_input_tokens":2,"cache_read_input_tokens":3,"output_tokens":1,"service_tier":"standard"}`, Usage{7, 2, 3, 1, true}},
		{"message_delta overwrites what it names and leaves the rest", Usage{7, 2, 3, 1, true}, `{"output_tokens":40}`, Usage{7, 2, 3, 40, true}},
		{"null is not a number", Usage{7, 2, 3, 1, true}, `{"input_tokens":null,"cache_read_input_tokens":"9","output_tokens":-1}`, Usage{7, 2, 3, 1, true}},
		{"not an object", Usage{7, 2, 3, 1, true}, `[1,2`, Usage{7, 2, 3, 1, true}},
		{"nothing", Usage{}, ``, Usage{}},
	} {
		got := tt.before
		if got.Merge([]byte(tt.object)); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.why, got, tt.want)
		}
	}
}
