package tokens

import (
	"bytes"
	"encoding/base64"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
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

// besideProse runs a scan in turns with one of prose, and reports its speed
// and, as ×prose, how it compares: what else the machine does slows both.
func besideProse(b *testing.B, size int, scan func(), proseSize int, prose func()) {
	b.ReportAllocs()
	var its, proses time.Duration
	for b.Loop() {
		start := time.Now()
		scan()
		its += time.Since(start)
		start = time.Now()
		prose()
		proses += time.Since(start)
	}
	b.ReportMetric(0, "ns/op") // of both: it says nothing
	b.ReportMetric(float64(size)*float64(b.N)/its.Seconds()/1e6, "MB/s")
	b.ReportMetric(float64(size)/its.Seconds()/(float64(proseSize)/proses.Seconds()), "×prose")
}

func BenchmarkText(b *testing.B) {
	all := contents()
	Claude47.Text(nil) // unpacks the table
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.Run("content="+name, func(b *testing.B) {
			besideProse(b, len(all[name]), func() { Claude47.Text(all[name]) },
				len(all["prose"]), func() { Claude47.Text(all["prose"]) })
		})
	}
}

// BenchmarkUnpack is what the first estimate of a process costs.
func BenchmarkUnpack(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		mustUnpack(claude47)
	}
}
