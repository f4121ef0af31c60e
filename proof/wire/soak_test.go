package wire

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSoak loads the gateway for soakFor in front of an API that fails in
// every way at once, with callers that hang up, and looks at what is left:
// no live call, no body, few goroutines, little memory; and no stream that
// ended well was cut.
func TestSoak(t *testing.T) {
	t.Parallel()
	addr := address(t)
	run(t, "http://"+addr+"/sim/faults", "sim", "serve", "--listen", addr, "--token-time", "1ms")
	url, admin, gateway := runGateway(t, addr)
	setFault(t, addr, `{"faults":[
		{"rate":0.05,"kind":"status","status":529},
		{"rate":0.03,"kind":"status","status":500},
		{"rate":0.02,"kind":"reset_before_headers"},
		{"rate":0.03,"kind":"reset_after","events":4},
		{"rate":0.03,"kind":"end_after","events":5},
		{"rate":0.02,"kind":"error_event_at","events":3}]}`)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	var calls, whole, broken, left atomic.Int64
	over := time.Now().Add(soakFor)
	var wg sync.WaitGroup
	for worker := range 12 {
		wg.Go(func() {
			for n := 0; time.Now().Before(over); n++ {
				calls.Add(1)
				err := soakCall(t.Context(), t, client, url, worker, n)
				switch {
				case err == nil:
					whole.Add(1)
				case strings.Contains(err.Error(), "deadline exceeded"):
					left.Add(1)
				default:
					broken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d calls: %d whole, %d ended with an error, %d hung up", calls.Load(), whole.Load(), broken.Load(), left.Load())
	if whole.Load() < calls.Load()*3/4 {
		t.Errorf("only %d of %d calls were answered", whole.Load(), calls.Load())
	}
	until(t, "no call is live and no body kept", func() bool {
		s := state(admin)
		return strings.Contains(s, `"live":[]`) && strings.Contains(s, `"bodies_bytes":0`)
	})
	client.CloseIdleConnections()
	until(t, "few goroutines are left", func() bool { return goroutines(admin) < 60 })
	if mb := resident(t, gateway.Cmd.Process.Pid); mb > 400 {
		t.Errorf("the gateway holds %d MB", mb)
	}
}

// soakCall makes one call; every ninth caller hangs up on its way.
func soakCall(parent context.Context, t *testing.T, client *http.Client, url string, worker, n int) error {
	ctx, cancel := context.WithTimeout(parent, 90*time.Second)
	defer cancel()
	if n%9 == 8 {
		ctx, cancel = context.WithTimeout(parent, 15*time.Millisecond)
		defer cancel()
	}
	b := body
	if n%2 == 0 {
		b = streaming
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/messages", strings.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("X-Api-Key", "sk-soak-"+strconv.Itoa(worker))
	r.Header.Set("Anthropic-Version", "2023-06-01")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d", resp.StatusCode)
	case strings.Contains(string(got), "event: error"):
		return fmt.Errorf("error event")
	case n%2 == 0 && !strings.Contains(string(got), "message_stop"), n%2 == 1 && !strings.Contains(string(got), `"stop_reason":"`):
		t.Errorf("half an answer that ended well: …%q", got[max(0, len(got)-80):])
	}
	return nil
}

func goroutines(admin string) int {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return 1 << 20
	}
	defer func() { _ = resp.Body.Close() }()
	var n int
	if _, err := fmt.Fscanf(resp.Body, "goroutine profile: total %d", &n); err != nil {
		return 1 << 20
	}
	return n
}

// resident is the memory of a process in MB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kb int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb >> 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
