package tokens

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"testing"
)

// contents are what a scan must be equally fast on, 1 MB each.
func contents() map[string][]byte {
	const size = 1 << 20
	random := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	return map[string][]byte{
		"letter": bytes.Repeat([]byte("a"), size),
		"han":    bytes.Repeat([]byte("船的龙骨使它保持直立。"), size/33),
		"base64": []byte(base64.StdEncoding.EncodeToString(random[:size/4*3])),
		"random": random,
		"prose":  bytes.Repeat([]byte("A keel keeps the ship upright, and the 12 sailors dry. "), size/55),
	}
}

func BenchmarkText(b *testing.B) {
	for name, text := range contents() {
		b.Run("content="+name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				Claude47.Text(text)
			}
		})
	}
}
