package claude

import (
	"net/http"
	"testing"
)

func TestPathOf(t *testing.T) {
	for _, tt := range []struct {
		name, method, path string
		want               Path
	}{
		{"a message", http.MethodPost, "/v1/messages", Messages},
		{"a count", http.MethodPost, "/v1/messages/count_tokens", CountTokens},
		{"a batch is created", http.MethodPost, "/v1/messages/batches", Batches},
		{"batches are listed: no effect and no bucket of ours", http.MethodGet, "/v1/messages/batches", Other},
		{"a batch is cancelled", http.MethodPost, "/v1/messages/batches/msgbatch_1/cancel", Other},
		{"legacy completions have other streams", http.MethodPost, "/v1/complete", Other},
		{"no path is guessed from a prefix", http.MethodPost, "/v1/messages/", Other},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := PathOf(tt.method, tt.path); got != tt.want {
				t.Errorf("PathOf(%s %s) = %v, want %v", tt.method, tt.path, got, tt.want)
			}
		})
	}
}

func TestPath_String(t *testing.T) {
	for p, want := range map[Path]string{
		Messages: "messages", CountTokens: "count_tokens", Batches: "batches", Other: "other",
	} {
		if got := p.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
