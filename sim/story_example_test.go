package sim_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// A morning as it was told, and where the telling went wrong.
func ExampleParseStory() {
	_, err := sim.ParseStory(`
		10s overlod 60% for 20s on claude-opus-*
		1m  hang 120%
	`)
	fmt.Println(err)
	rules, err := sim.ParseStory(`
		# twenty bad seconds
		10s overload 60% for 20s on claude-opus-*
		stall_after 3 events with pings 10%
	`)
	for _, rule := range rules {
		fmt.Println(rule.Kind, rule.Rate, rule.From, rule.Until)
	}
	fmt.Println(err)
	// Output:
	// 2:7: no failure is called "overlod": did you mean "overload"?
	// 3:12: a share is 0% to 100%, or 0.0 to 1.0, not 120%
	// status 0.6 10s 30s
	// stall_after 0.1 0s 0s
	// <nil>
}

// The story goes on while a client runs.
func ExampleAPI_Tell() {
	api := sim.New(sim.Config{})
	if err := api.Tell("spend_cap once\nserver_error once"); err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: api}
	for range 3 {
		req, err := http.NewRequest(http.MethodGet, "https://api.anthropic.com/v1/models", nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		req.Header.Set("x-api-key", "any")
		req.Header.Set("anthropic-version", "2023-06-01")
		resp, err := client.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close()
		fmt.Println(resp.Status)
	}
	// Output:
	// 429 Too Many Requests
	// 500 Internal Server Error
	// 200 OK
}

// A server on a real port, for clients that are not written in Go or bring
// their own transport.
func ExampleNewServer() {
	srv := sim.NewServer(sim.Config{Script: []sim.Reply{{Status: 529}, {Status: 200}}})
	defer srv.Close()
	for range 2 {
		resp, err := srv.Client().Post(srv.URL+"/v1/messages", "application/json", strings.NewReader(`{"stream":true}`))
		if err != nil {
			fmt.Println(err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		fmt.Println(resp.StatusCode, strings.Contains(string(body), "message_stop"), err)
	}
	fmt.Println(srv.Calls(), "attempts, the last ended", srv.Attempts()[1].End)
	// Output:
	// 529 false <nil>
	// 200 true <nil>
	// 2 attempts, the last ended whole
}

// In a bubble an hour with twenty minutes of overload passes in no time, and a
// test asserts the numbers. It needs a testing.T, so it is a test, not an
// example.
func TestTell_inABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{}) // made in the bubble: it remembers when it began
		if err := api.Tell("10m overload for 20m"); err != nil {
			t.Fatal(err)
		}
		seen := map[int]int{}
		for range 60 {
			seen[do(t, api, "https://api.anthropic.com", call{}).status]++
			time.Sleep(time.Minute)
		}
		if seen[200] != 40 || seen[529] != 20 {
			t.Errorf("got %v, want 40 answers and 20 overloads", seen)
		}
	})
}
