package tokens_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing/iotest"
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

// A body on its way to somewhere else is counted as it passes, in whatever
// pieces it comes; nothing of it is kept.
func ExampleScanner() {
	body := strings.NewReader(`{"model":"claude-opus-5-5","messages":[{"role":"user","content":[
		{"type":"text","text":"What is written below the water line of this ship?"},
		{"type":"image","source":{"type":"url","url":"https://example.com/keel.png"}}]}]}`)

	var scanner tokens.Scanner
	passed := io.TeeReader(iotest.OneByteReader(body), &scanner)
	_, _ = io.Copy(io.Discard, passed)

	scan := scanner.Scan()
	fmt.Println(scan.Model, scan.Messages, "message,", scan.Images, "image")
	fmt.Printf("%.0f tokens of text, %d of the frame and the largest image there can be\n", scan.Sums.Total(), scan.Fixed)
	fmt.Println("not all could be sized:", scan.Marks&tokens.Unsized != 0)
	// Output:
	// claude-opus-5-5 1 message, 1 image
	// 15 tokens of text, 4792 of the frame and the largest image there can be
	// not all could be sized: true
}

// counted knows some bodies better, for count_tokens was asked about them: of
// the first request, say, that every conversation of a service begins with. All
// others are estimated.
type counted struct {
	known  map[string]int
	others tokens.Estimator
}

func (c *counted) Count(ctx context.Context, now time.Time, model string, body []byte) (tokens.Estimate, error) {
	if n, ok := c.known[string(body)]; ok {
		return tokens.Estimate{Input: n, Counted: n, Low: n, High: n, How: tokens.Counted}, nil
	}
	return c.others.Count(ctx, now, model, body)
}

// Whoever can count better is asked in place of an Estimator, which is a
// Counter as well; evenkeel.Config has a field for one.
func ExampleCounter() {
	greeting := `{"messages":[{"role":"user","content":"Good morning! Which ships are in today?"}]}`
	question := `{"messages":[{"role":"user","content":"Which of them has the longest keel?"}]}`

	var counter tokens.Counter = &counted{known: map[string]int{greeting: 19}}
	for _, body := range []string{greeting, question} {
		e, err := counter.Count(context.Background(), time.Now(), "claude-opus-5-5", []byte(body))
		fmt.Println(e.Input, e.How, err)
	}
	// Output:
	// 19 counted <nil>
	// 18 table <nil>
}
