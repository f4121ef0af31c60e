package fleet

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// benchRequest is what a call of messages asks: an organisation's class with
// three buckets that are never short.
func benchRequest(owner string) *Request {
	return &Request{Owner: owner, Lane: "api/messages/opus", Groups: []Group{{Name: "opus", Pace: 80, Buckets: []Bucket{
		{Kind: Requests, Cost: 1, Cap: 3e6}, {Kind: Input, Cost: 20, Cap: 6e7}, {Kind: Output, Cost: 40, Cap: 6e8},
	}}}}
}

func benchServer(b *testing.B) (*servertest.Server, redis.UniversalClient) {
	return benchServerOf(b, servertest.Redis)
}

func benchServerOf(b *testing.B, kind servertest.Kind) (*servertest.Server, redis.UniversalClient) {
	s := servertest.Single(b, kind)
	c := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{s.Addr}, Protocol: 2, DisableIdentity: true, PoolSize: 64})
	b.Cleanup(func() { _ = c.Close() })
	return s, c
}

// BenchmarkAcquire measures one acquire against a PING, and against what three
// calls of redis_rate take, one for each bucket. The three take turns, so that
// whatever else the machine does meets them alike.
func BenchmarkAcquire(b *testing.B) {
	_, c := benchServer(b)
	ctx := context.Background()
	engine := newScripted(c, Policy{}.filled(), keyspace{"bench"})
	limiter := redis_rate.NewLimiter(c)
	limit := redis_rate.Limit{Rate: 1e6, Burst: 1e6, Period: time.Second}
	n := 0
	acquire := func() {
		n++
		a := &acquisition{Request: benchRequest("o"), id: ID("r" + strconv.Itoa(n)), instance: "i", hints: nil}
		r, err := engine.acquire(ctx, 0, a)
		if r.Reason == missing {
			a.hints = [][]hint{make([]hint, 3)}
			r, err = engine.acquire(ctx, 0, a)
		}
		if err != nil || r.ID == "" {
			b.Fatal(r, err)
		}
	}
	settle := func() {
		t := &settlement{mode: atEnd, id: ID("r" + strconv.Itoa(n)), req: benchRequest("o"), Outcome: &Outcome{Succeeded: true}}
		if r, err := engine.settle(ctx, 0, t); err != nil || !r.Known {
			b.Fatal(r, err)
		}
	}
	acquire()
	settle()
	var ping, ours, theirs time.Duration
	b.ReportAllocs()
	for b.Loop() {
		t0 := time.Now()
		if err := c.Ping(ctx).Err(); err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		acquire()
		t2 := time.Now()
		for _, key := range []string{"rpm", "itpm", "otpm"} {
			if r, err := limiter.AllowN(ctx, key, limit, 1); err != nil || r.Allowed != 1 {
				b.Fatal(r, err)
			}
		}
		t3 := time.Now()
		settle() // or there would be more in flight than ever are
		ping += t1.Sub(t0)
		ours += t2.Sub(t1)
		theirs += t3.Sub(t2)
	}
	b.ReportMetric(float64(ours)/float64(ping), "acquire/ping")
	b.ReportMetric(float64(theirs)/float64(ours), "redis_rate×3/acquire")
	b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "µs/acquire")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCPU measures what an acquire and a settle cost the server, of one
// caller and of 64 at a time: the time it has used the processor for, less that of
// a PING, which is what any connection costs; and how long each has held up all
// others, by its own books. The least that can be asked is measured beside them,
// for on a machine that others use all of them cost half as much again.
func BenchmarkCPU(b *testing.B) {
	for _, kind := range servertest.Kinds() {
		for _, callers := range []int{1, 64} {
			b.Run(string(kind)+"/callers="+strconv.Itoa(callers), func(b *testing.B) { benchCPU(b, kind, callers) })
		}
	}
}

// bare is the least that a limiter does in one script: three buckets in a hash,
// that refill and are charged. It knows no flows, reservations, pauses, breaker,
// budget, line or processes.
var bare = redis.NewScript(`
local t = redis.call('TIME')
local now, wait, level = t[1] * 1000000 + t[2], 0, {}
local v = redis.call('HMGET', KEYS[1], 'l1', 't1', 'l2', 't2', 'l3', 't3')
for i = 1, 3 do
	local rate, size, cost = ARGV[3 * i - 2] / 60, ARGV[3 * i - 1] + 0, ARGV[3 * i] + 0
	local l, at = tonumber(v[2 * i - 1]) or size, tonumber(v[2 * i]) or now
	l = math.min(size, l + rate * math.max(0, now - at) / 1e6)
	if l < cost then wait = math.max(wait, (cost - l) / rate) end
	level[i] = string.format('%.6f', l - cost)
end
if wait > 0 then return '0 ' .. wait end
now = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'l1', level[1], 't1', now, 'l2', level[2], 't2', now, 'l3', level[3], 't3', now)
redis.call('PEXPIRE', KEYS[1], 120000)
return '1 0 ' .. level[1] .. ' ' .. level[2] .. ' ' .. level[3]`)

func benchCPU(b *testing.B, kind servertest.Kind, callers int) {
	s, c := benchServerOf(b, kind)
	ctx := context.Background()
	engine := newScripted(c, Policy{}.filled(), keyspace{"bench"})
	for i := range 100 {
		round(b, ctx, engine, "warm"+strconv.Itoa(i))
	}
	const batch = 640
	request := benchRequest("o")
	n := 0
	ask := []struct {
		name string
		do   func(i int) error
	}{
		{"ping", func(int) error { return c.Ping(ctx).Err() }},
		{"bare", func(int) error {
			return bare.Run(ctx, c, []string{"bare"}, 3e6, 5e5, 1, 6e7, 1e7, 20, 6e8, 1e8, 40).Err()
		}},
		{"acquire", func(i int) error {
			_, err := engine.acquire(ctx, 0, &acquisition{Request: request, id: ID("x" + strconv.Itoa(n+i)), instance: "i"})
			return err
		}},
		{"settle", func(i int) error {
			t := &settlement{mode: atEnd, id: ID("x" + strconv.Itoa(n+i)), req: request, Outcome: &Outcome{
				Charge: Settled, Actual: []Amounts{{Input: 19, Output: 30}}, Succeeded: true,
			}}
			_, err := engine.settle(ctx, 0, t)
			return err
		}},
	}
	server, script := make([]float64, len(ask)), make([]float64, len(ask))
	for b.Loop() {
		for k, a := range ask {
			s.Do("config", "resetstat")
			from := usec(b, s)
			spread(callers, batch, func(i int) {
				if err := a.do(i); err != nil {
					b.Error(err)
				}
			})
			server[k] += usec(b, s) - from
			if k > 0 {
				script[k] += evalsha(b, s)
			}
		}
		n += batch
	}
	total := float64(n)
	b.ReportMetric(server[0]/total, "server-µs/ping")
	for k, a := range ask[1:] {
		b.ReportMetric((server[k+1]-server[0])/total, "server-µs/"+a.name)
		b.ReportMetric(script[k+1]/total, "script-µs/"+a.name)
	}
	b.ReportMetric(0, "ns/op")
}

// spread calls f for every number below n, so many at a time.
func spread(callers, n int, f func(i int)) time.Duration {
	start := time.Now()
	var next atomic.Int64
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	group.Wait()
	return time.Since(start)
}

// BenchmarkMemory measures what an attempt in flight takes of the server's memory.
func BenchmarkMemory(b *testing.B) {
	s, c := benchServer(b)
	ctx := context.Background()
	engine := newScripted(c, Policy{}.filled(), keyspace{"bench"})
	round(b, ctx, engine, "warm")
	request := benchRequest("o")
	request.Groups[0].Pace = 0.1 // so that their output does not end before all are there
	from, n := info(b, s, "memory", "used_memory_dataset"), 0
	for b.Loop() {
		for range 10_000 {
			n++
			id := ID("500000." + strconv.Itoa(1e15+n)) // as long as they are
			if r, err := engine.acquire(ctx, 0, &acquisition{Request: request, id: id, instance: "i"}); err != nil || r.ID == "" {
				b.Fatal(r, err)
			}
		}
	}
	b.ReportMetric((info(b, s, "memory", "used_memory_dataset")-from)/float64(n), "B/attempt")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkContended measures what an acquire costs the server while many want
// more than there is: flows that ask again when they are told to, in time that
// does not pass by itself.
func BenchmarkContended(b *testing.B) {
	for _, flows := range []int{3, 24, 96} {
		b.Run("flows="+strconv.Itoa(flows), func(b *testing.B) {
			s, c := benchServer(b)
			ctx := context.Background()
			engine := newScripted(c, Policy{}.filled(), keyspace{"bench"})
			request := benchRequest("o")
			request.Groups[0].Buckets[1].Cost = 1e6 // a second of it
			round(b, ctx, engine, "warm")
			next := make([]float64, flows)
			asks, grants, used := 0, 0, 0.0
			for b.Loop() {
				from := usec(b, s)
				for range 500 {
					f := 0
					for i := range next {
						if next[i] < next[f] {
							f = i
						}
					}
					asks++
					r := *request
					r.Class = Class(f % 3)
					now := dawn + next[f]
					got, err := engine.acquire(ctx, now, &acquisition{Request: &r, id: ID("x" + strconv.Itoa(asks)), instance: "host-" + strconv.Itoa(f/3)})
					if err != nil {
						b.Fatal(err)
					}
					if next[f] += micros(got.Wait) + 1000; got.ID != "" {
						grants++
					}
				}
				used += usec(b, s) - from
			}
			b.ReportMetric(used/float64(asks), "server-µs/ask")
			b.ReportMetric(used/float64(grants), "server-µs/grant")
			b.ReportMetric(float64(asks)/float64(grants), "asks/grant")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func round(b *testing.B, ctx context.Context, e *scripted, id string) {
	a := &acquisition{Request: benchRequest("o"), id: ID(id), instance: "i", hints: [][]hint{make([]hint, 3)}}
	if r, err := e.acquire(ctx, 0, a); err != nil || r.ID == "" {
		b.Fatal(r, err)
	}
	if _, err := e.settle(ctx, 0, &settlement{mode: atEnd, id: a.id, req: a.Request, Outcome: &Outcome{Succeeded: true}}); err != nil {
		b.Fatal(err)
	}
}

// usec is the time the server has used the processor for, in microseconds. Its
// commandstats tell of time that passes, other processes' included.
func usec(b *testing.B, s *servertest.Server) float64 {
	return 1e6 * (info(b, s, "cpu", "used_cpu_sys") + info(b, s, "cpu", "used_cpu_user"))
}

// info is a number that the server tells of itself.
func info(b *testing.B, s *servertest.Server, section, name string) float64 {
	for line := range strings.Lines(s.Do("info", section)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("the server does not tell its %s", name)
	return 0
}

// evalsha is the time that scripts have run for since the last CONFIG RESETSTAT,
// in microseconds.
func evalsha(b *testing.B, s *servertest.Server) float64 {
	for line := range strings.Lines(s.Do("info", "commandstats")) {
		if stats, ok := strings.CutPrefix(line, "cmdstat_evalsha:"); ok {
			for field := range strings.SplitSeq(stats, ",") {
				if v, ok := strings.CutPrefix(field, "usec="); ok {
					n, err := strconv.ParseFloat(v, 64)
					if err != nil {
						b.Fatal(err)
					}
					return n
				}
			}
		}
	}
	b.Fatal("the server has counted no script")
	return 0
}

// BenchmarkThroughput asks from 64 callers at once: first us, then redis_rate.
func BenchmarkThroughput(b *testing.B) {
	_, c := benchServer(b)
	ctx := context.Background()
	engine := newScripted(c, Policy{}.filled(), keyspace{"bench"})
	round(b, ctx, engine, "warm")
	limiter := redis_rate.NewLimiter(c)
	limit := redis_rate.Limit{Rate: 1e6, Burst: 1e6, Period: time.Second}
	var n atomic.Int64
	const callers, batch = 64, 1280
	var ours, theirs time.Duration
	for b.Loop() {
		ours += spread(callers, batch, func(int) {
			a := &acquisition{Request: benchRequest("o"), id: ID(strconv.FormatInt(n.Add(1), 10)), instance: "i"}
			if _, err := engine.acquire(ctx, 0, a); err != nil {
				b.Error(err)
			}
		})
		theirs += spread(callers, batch, func(int) {
			for _, key := range []string{"rpm", "itpm", "otpm"} {
				if _, err := limiter.AllowN(ctx, key, limit, 1); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ReportMetric(float64(theirs)/float64(ours), "throughput/redis_rate×3")
	b.ReportMetric(float64(ours.Microseconds())/float64(b.N*batch), "µs/acquire")
	b.ReportMetric(0, "ns/op")
}
