package fleet

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestMain ends with the list of servers that the tests have run on.
func TestMain(m *testing.M) {
	flag.Parse()
	drawn := false
	flag.Visit(func(f *flag.Flag) { drawn = drawn || f.Name == "rapid.checks" })
	if !drawn {
		if err := flag.Set("rapid.checks", draws); err != nil {
			panic(err)
		}
	}
	redis.SetLogger(silent{}) // it says of every server that is killed that it cannot be reached
	go lags.measure()
	code := m.Run()
	if names := slices.Sorted(maps.Keys(places)); len(names) > 0 {
		fmt.Println("servers:", strings.Join(names, ", "))
	}
	os.Exit(code)
}

// silent is a logger for go-redis.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// lags is how late this machine is. What must not take longer than some time
// may take that much longer, several times over: for a timer, for a goroutine,
// and for the socket between them.
var lags lag

type lag struct {
	mu   sync.Mutex
	last time.Time
	late map[int64]time.Duration // the latest, by the second
}

// hops is how often one operation may be kept waiting.
const hops = 4

func (l *lag) measure() {
	l.late = map[int64]time.Duration{}
	const nap = 5 * time.Millisecond
	for {
		l.mu.Lock()
		l.last = time.Now()
		l.mu.Unlock()
		time.Sleep(nap)
		l.mu.Lock()
		now := time.Now()
		l.late[now.Unix()] = max(l.late[now.Unix()], now.Sub(l.last)-nap)
		l.mu.Unlock()
	}
}

// since is how much longer something may have taken that began at some time.
func (l *lag) since(begin time.Time) time.Duration { return hops * l.worst(begin) }

// worst is how late a timer has been since some time.
func (l *lag) worst(begin time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	most := now.Sub(l.last)
	for at := begin.Unix(); at <= now.Unix(); at++ {
		most = max(most, l.late[at])
	}
	return most
}
