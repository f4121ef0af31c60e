package tokens

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the tables
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"
)

// The tables as they are shipped: tables/README.md has format and origin.
var (
	//go:embed tables/claude3.u8.gz
	claude3 []byte
	//go:embed tables/claude47.u8.gz
	claude47 []byte
)

// packed are the tables of all families.
var packed = [families][]byte{Claude3: claude3, Claude47: claude47}

// tables are the tables of all families, each unpacked when first asked for:
// a process mostly needs one.
var tables = [families]func() *table{
	Claude3:  sync.OnceValue(func() *table { return mustUnpack(claude3) }),
	Claude47: sync.OnceValue(func() *table { return mustUnpack(claude47) }),
}

// table is a weight table, ready for use: 512 KB.
//
// The entry of a pair stands at cur<<8|prev, the two bytes as a little-endian
// load has them, and holds the weight in the 16-bit lane of cur's class, so
// that one addition serves four sums.
type table struct {
	pair  [1 << 16]uint64
	check uint32 // CRC-32 of the 65,536 weights, to tell tables apart
}

// lanes are weight sums by class of byte, in 1/64 token.
type lanes [4]uint64

// The lanes. Calibration scales each by itself.
const (
	laneLetters = iota // A-Z, a-z
	laneDigits
	laneSigns // the rest of ASCII, white space included
	laneWide  // bytes of characters beyond ASCII
)

// laneOf is the class of a byte.
func laneOf(c byte) int {
	switch {
	case c >= 0x80:
		return laneWide
	case c >= '0' && c <= '9':
		return laneDigits
	case c|0x20 >= 'a' && c|0x20 <= 'z':
		return laneLetters
	}
	return laneSigns
}

// first is the byte that a text is taken to follow.
const first = ' '

// mustUnpack unpacks an embedded table. That it can be is tested.
func mustUnpack(packed []byte) *table { return newTable(weightsOf(packed)) }

// weightsOf gunzips an embedded table.
func weightsOf(packed []byte) *[1 << 16]byte {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic("tokens: embedded table: " + err.Error())
	}
	weights := new([1 << 16]byte)
	if _, err := io.ReadFull(z, weights[:]); err != nil {
		panic("tokens: embedded table: " + err.Error())
	}
	return weights
}

// newTable lays weights, which are at prev<<8|cur, out for summing.
func newTable(weights *[1 << 16]byte) *table {
	t := &table{check: crc32.ChecksumIEEE(weights[:])}
	for cur := range 256 {
		shift := 16 * laneOf(byte(cur))
		for prev := range 256 {
			t.pair[cur<<8|prev] = uint64(weights[prev<<8|cur]) << shift
		}
	}
	return t
}

// burst is how many bytes may be added up before a lane of 16 bits could
// overflow, as a multiple of the 8 bytes that are loaded at once.
const burst = 256

// flush adds the lanes of a burst.
func (l *lanes) flush(packed uint64) {
	l[0] += packed & 0xffff
	l[1] += packed >> 16 & 0xffff
	l[2] += packed >> 32 & 0xffff
	l[3] += packed >> 48
}

// sum adds a text that follows the byte prev, and returns its last byte.
func (t *table) sum(to *lanes, prev byte, p []byte) byte {
	x := uint64(prev)
	for len(p) >= 8 {
		n := min(len(p), burst) &^ 7
		var a, b uint64
		for q := p[:n]; len(q) >= 8; q = q[8:] {
			v := binary.LittleEndian.Uint64(q)
			a += t.pair[uint16(v<<8|x)] + t.pair[uint16(v>>8)] + t.pair[uint16(v>>24)] + t.pair[uint16(v>>40)]
			b += t.pair[uint16(v)] + t.pair[uint16(v>>16)] + t.pair[uint16(v>>32)] + t.pair[uint16(v>>48)]
			x = v >> 56
		}
		to.flush(a + b)
		p = p[n:]
	}
	return t.tail(to, byte(x), p)
}

// tail adds the last bytes of a text, fewer than a burst.
func (t *table) tail(to *lanes, prev byte, p []byte) byte {
	var a uint64
	for _, c := range p {
		a += t.pair[uint16(c)<<8|uint16(prev)]
		prev = c
	}
	to.flush(a)
	return prev
}
