package sim_test

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// An overloaded API, then one that answers: no sockets, no key.
func ExampleNewScript() {
	api := sim.NewScript(sim.Reply{Status: 529}, sim.Reply{Status: 200})
	client := &http.Client{Transport: api}
	for range 2 {
		resp, err := client.Post("https://api.anthropic.com/v1/messages", "application/json", strings.NewReader(`{}`))
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close()
		fmt.Println(resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	fmt.Println(api.Calls(), "attempts, the first met", api.Attempts()[0].Fault)
	// Output:
	// 529 application/json
	// 200 application/json
	// 2 attempts, the first met status 529
}
