package assemble

import "testing"

// BenchmarkMessage assembles a text of 1,000 deltas; the time per event is
// what stands in ns/event.
func BenchmarkMessage(b *testing.B) {
	stream := [][]byte{[]byte(start), []byte(open("0", empty))}
	for range 1000 {
		stream = append(stream, []byte(textDelta("0", " harbor-12")))
	}
	stream = append(stream, []byte(shut("0")), []byte(end), []byte(stop))
	b.ReportAllocs()
	for b.Loop() {
		m := &Message{}
		for _, e := range stream {
			if err := m.Event(e); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := m.JSON(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(stream)), "ns/event")
}
