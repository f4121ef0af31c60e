package fit_test

import (
	"fmt"
	"strings"

	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

// countWords stands for whoever counts: an upstream's count_tokens, less the
// frame of a message.
func countWords(text string) int { return len(strings.Fields(text)) }

// A table for a tokenizer that takes every word for a token, from texts alone.
func Example() {
	logs := strings.Repeat("the ship has left the harbour and lies on an even keel\n", 50)
	mail := strings.Repeat("dear all, nothing slides off the table today, so be glad\n", 50)
	pieces := fit.Choose([]fit.Text{{Text: logs, Kind: "log", Source: "a.log"}, {Text: mail, Kind: "mail", Source: "b.eml"}}, 200, 1)
	var samples []fit.Sample
	for _, p := range pieces {
		samples = append(samples, fit.Sample{Text: p.Text, Tokens: countWords(p.Text), Source: p.Source})
	}
	table, err := fit.Fit(samples, fit.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.0f tokens\n", table.Tokens("today the ship lies on an even keel, so nothing slides off the table"))
	// Output: 14 tokens
}
