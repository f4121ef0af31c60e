package tokens_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/tokens"
)

// One sentence, on both tokenizers.
func ExampleString() {
	sentence := "What keeps a ship upright is mostly below the water."
	fmt.Println(tokens.String("claude-haiku-4-5", sentence), tokens.String("claude-opus-5-5", sentence))
	// Output: 11 18
}

// A request is estimated; its answer reports usage; the next turn is that
// usage, the answer, and an estimate of the few words that are new.
func ExampleEstimator() {
	now := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	var estimator tokens.Estimator
	var scanner tokens.Scanner
	estimate := func(body string) (tokens.Estimate, tokens.Scan) {
		scanner.Reset("claude-opus-5-5")
		_, _ = strings.NewReader(body).WriteTo(&scanner)
		return estimator.Estimate(&scanner, now), scanner.Scan()
	}

	first := `{"messages":[{"role":"user","content":"What keeps a ship upright?"}]}`
	e, scan := estimate(first)
	fmt.Println(e.Input, e.How)

	estimator.Observe("claude-opus-5-5", scan, tokens.Usage{Input: 17, Output: 9}, now)

	next := `{"messages":[{"role":"user","content":"What keeps a ship upright?"},
		{"role":"assistant","content":"Its keel, mostly."},
		{"role":"user","content":"And a plane?"}]}`
	e, _ = estimate(next)
	fmt.Println(e.Input, e.How)
	// Output:
	// 18 table
	// 39 anchored
}
