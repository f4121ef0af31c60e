// Package fit makes weight tables: what the tokens of a text are estimated
// with, from texts whose tokens somebody has counted.
//
// A [Table] gives every pair of bytes a weight, and the tokens of a text are
// the sum of the weights of its pairs. [Fit] finds the weights from [Sample]s;
// [Score] says how far off a table is, on samples that [Split] has kept away
// from the fit. Where there are texts and no counts, [Choose] cuts the texts
// into pieces worth counting, so that some thousands cover every kind of text
// there is.
//
//	texts ──► Choose ──► pieces ──► somebody counts ──► samples ──► Split ──► Fit ──► table
//	                                                                  └─────► Score ◄───┘
//
// Nothing here asks an API, reads a file or knows a tokenizer: a new tokenizer
// is new counts. The same input gives the same table, to the bit, on one
// platform. Everything is safe for concurrent use, as nothing is shared.
package fit

import (
	"fmt"
	"math"
)

// Size is the length of a table in bytes: one weight for each pair of bytes.
const Size = 1 << 16

// Unit is how many units of weight are one token. A weight is a byte, so no
// pair weighs more than 255/64 tokens, just short of four.
const Unit = 64

// first stands before the first byte of a text: a space, since most words that
// follow nothing are counted as they are after a space.
const first = ' '

// A Table holds a weight for every pair of bytes, in 1/[Unit] tokens, at
// index previous<<8 | current. The byte before the first is a space. Its 65,536
// bytes are its file format.
type Table [Size]uint8

// Parse reads a table from the bytes of its file, and takes nothing but its
// length as a sign that it is one.
func Parse(data []byte) (*Table, error) {
	if len(data) != Size {
		return nil, fmt.Errorf("fit: %d bytes are no table: want %d, one for each pair of bytes", len(data), Size)
	}
	t := Table(data) // a copy: who has data may go on to change it
	return &t, nil
}

// Units returns the estimated tokens of a text in 1/[Unit] tokens. It is 0 for
// "", and never less for a text than for its beginning.
func (t *Table) Units(text string) int {
	sum, prev := 0, byte(first)
	for i := range len(text) {
		sum += int(t[pairOf(prev, text[i])])
		prev = text[i]
	}
	return sum
}

// Tokens is [Table.Units] in tokens.
func (t *Table) Tokens(text string) float64 { return float64(t.Units(text)) / Unit }

// Scaled returns the table with all weights times ratio, rounded. Weights that
// would be too heavy become the heaviest, and a ratio of 0 or less gives an
// empty table.
func (t *Table) Scaled(ratio float64) *Table {
	out := new(Table)
	for i, w := range t {
		out[i] = weight(float64(w) / Unit * ratio)
	}
	return out
}

// heaviest is the weight beyond which a table holds none, in tokens.
const heaviest = 255.0 / Unit

// weight rounds tokens to units.
func weight(tokens float64) uint8 {
	return uint8(math.Round(min(max(tokens, 0), heaviest) * Unit))
}

func pairOf(prev, cur byte) uint16 { return uint16(prev)<<8 | uint16(cur) }
