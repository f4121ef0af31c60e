package fleet

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// asked and answered are an operation on one bucket that does not refill
// during the test, so that its state is one number.
type (
	asked struct {
		settle bool
		id     ID
		n      float64 // acquired, or what it has cost
	}
	answered struct {
		granted, known bool
		level          float64
	}
)

// lineState is the level, and what every open reservation holds.
type lineState struct {
	level float64
	open  string // as listed writes it
}

// TestLinearizable records what many callers saw at the same time, each
// settling some reservations twice and some of each other's, and searches for
// an order in which a plain bucket would have answered the same.
func TestLinearizable(t *testing.T) {
	for _, kind := range servertest.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			server := single(t, kind)
			for seed := range uint64(5) {
				history := record(t, server, seed)
				model := bucketModel()
				if result := porcupine.CheckOperationsTimeout(model, history, 20*time.Second); result != porcupine.Ok {
					t.Errorf("seed %d: the history of %d operations is %v", seed, len(history), result)
				}
			}
		})
	}
}

const lineSize = 1000.0 // what the bucket holds when it is full

func record(t *testing.T, p place, seed uint64) []porcupine.Operation {
	engine, owner := p.engine(Policy{BreakerOff: true}.filled()), newOwner()
	const callers, each = 6, 12
	request := func(n float64) *Request {
		return &Request{Owner: owner, Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Input, Cost: n, Cap: lineSize * 6}}}}}
	}
	first := &acquisition{Request: request(0), id: "first", instance: "i", hints: none(request(0))}
	if _, err := engine.acquire(t.Context(), dawn, first); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var history []porcupine.Operation
	var ids []ID
	begun := time.Now()
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(c)))
			for i := range each {
				mu.Lock()
				op := asked{id: ID(fmt.Sprintf("%d-%d", c, i)), n: float64(random.IntN(400))}
				if len(ids) > 0 && random.IntN(2) == 0 {
					op.settle, op.id = true, ids[random.IntN(len(ids))]
				}
				mu.Unlock()
				called := time.Since(begun).Nanoseconds()
				out := answered{}
				var r Reply
				var err error
				if op.settle {
					r, err = engine.settle(context.Background(), dawn, &settlement{mode: atEnd, id: op.id, req: request(0), Outcome: &Outcome{
						Charge: Settled, Actual: []Amounts{{Input: op.n}},
					}})
				} else {
					r, err = engine.acquire(context.Background(), dawn, &acquisition{Request: request(op.n), id: op.id, instance: "i"})
				}
				returned := time.Since(begun).Nanoseconds()
				if err != nil {
					t.Error(err)
					return
				}
				out.granted, out.known = r.ID != "", r.Known
				out.level = r.Groups[0].Buckets[0].Level
				mu.Lock()
				if out.granted {
					ids = append(ids, op.id)
				}
				history = append(history, porcupine.Operation{ClientId: c, Input: op, Output: out, Call: called, Return: returned})
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return history
}

// bucketModel is a bucket as a child would keep it: a number, and who holds
// what.
func bucketModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return lineState{level: lineSize} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(lineState), input.(asked), output.(answered)
			holds := holdings(s.open)
			switch {
			case in.settle:
				held, open := holds[in.id]
				if open != out.known {
					return false, s
				}
				if open {
					s.level = min(lineSize, s.level+held-in.n)
					delete(holds, in.id)
				}
			case in.n == 0 || s.level >= in.n-1e-6: // who needs nothing waits for nothing
				if !out.granted {
					return false, s
				}
				s.level -= in.n
				holds[in.id] = in.n
			case out.granted:
				return false, s
			}
			s.open = listed(holds)
			return out.level == s.level, s
		},
	}
}

// holdings reads what listed writes: states of a model are compared as values.
func holdings(text string) map[ID]float64 {
	m := map[ID]float64{}
	for entry := range strings.FieldsSeq(text) {
		id, n, _ := strings.Cut(entry, "=")
		m[ID(id)], _ = strconv.ParseFloat(n, 64)
	}
	return m
}

func listed(m map[ID]float64) string {
	var entries []string
	for _, id := range slices.Sorted(maps.Keys(m)) {
		entries = append(entries, fmt.Sprintf("%s=%g", id, m[id]))
	}
	return strings.Join(entries, " ")
}
