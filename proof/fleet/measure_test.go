package fleet

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// measure is what a run came to, as the API saw it.
type measure struct {
	attempts, refused, served int
	counted                   []time.Duration // when requests were counted, in order
	refusedAt                 []time.Duration
}

func (s *stage) measure(from, to time.Duration) (m measure) {
	for _, a := range s.api.Attempts() {
		at := a.At.Sub(s.start)
		if at < from || at >= to || a.Method != http.MethodPost {
			continue
		}
		m.attempts++
		switch a.Status {
		case http.StatusTooManyRequests:
			m.refused++
			m.refusedAt = append(m.refusedAt, at)
			continue
		case 529:
			continue
		case http.StatusOK:
			m.served++
		}
		m.counted = append(m.counted, at)
	}
	slices.Sort(m.counted)
	return m
}

func (m measure) String() string {
	return fmt.Sprintf("%d attempts, %d counted, %d of them 429 (%.2f %%)", m.attempts, len(m.counted), m.refused, 100*m.refusedShare())
}

func (m measure) refusedShare() float64 { return float64(m.refused) / float64(max(m.attempts, 1)) }

// used is the share of what a limit of requests allows in a time, with a burst.
func (m measure) used(l sim.Limit, took time.Duration) float64 {
	return float64(len(m.counted)) / (float64(l.RPM) / 60 * (took + l.Burst).Seconds())
}

// rate is how many a second were counted.
func (m measure) rate(took time.Duration) float64 { return float64(len(m.counted)) / took.Seconds() }

func (m measure) perSecond(took time.Duration) []int {
	n := make([]int, int(took.Seconds())+1)
	for _, at := range m.counted {
		n[int(at.Seconds())]++
	}
	return n
}

// beyond is by how many requests the fullest window of any length exceeds burst
// and rate; below 0 if none does.
func (m measure) beyond(l sim.Limit) float64 {
	rate := float64(l.RPM) / 60
	burst := rate * l.Burst.Seconds()
	most, least := -burst, 0.0 // of n − rate·t at the end, less its least value at a begin
	for i, at := range m.counted {
		base := float64(i) - rate*at.Seconds()
		if i == 0 {
			least = base
		}
		least = min(least, base)
		most = max(most, base+1-least-burst)
	}
	return most
}

// jain is Jain's index of fairness: 1 if all have the same, 1/n if one has all.
func jain(x []float64) float64 {
	var sum, squares float64
	for _, v := range x {
		sum += v
		squares += v * v
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(x)) * squares)
}

// each counts the calls of each gateway that were answered.
func each(nodes int, all []outcome, from, to time.Duration) []float64 {
	n := make([]float64, nodes)
	for _, o := range all {
		if end := o.began + o.took; o.status == http.StatusOK && end >= from && end < to {
			n[o.node]++
		}
	}
	return n
}
