package tokens

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
)

// stateMagic begins what an Estimator is saved as; its last byte is the version.
const stateMagic = "evenkeel tokens 1"

// ErrState reports bytes that are no saved state of an [Estimator], or one of
// another version.
var ErrState = errors.New("tokens: not a saved state of this version")

// MarshalBinary implements [encoding.BinaryMarshaler]: it saves what was
// learned about models, in some 250 bytes for each name. Conversations are
// not saved: they are known by hashes of this process.
func (e *Estimator) MarshalBinary() ([]byte, error) {
	all := e.models.Load()
	b := []byte(stateMagic)
	if all == nil {
		return b, nil
	}
	for _, name := range slices.Sorted(maps.Keys(*all)) {
		sc := (*all)[name].scale.Load()
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
		b = binary.LittleEndian.AppendUint32(b, sc.check)
		b = binary.AppendUvarint(b, uint64(sc.n))
		b = binary.AppendVarint(b, int64(sc.odd))
		b = appendFloat(b, sc.bound)
		b = appendFloat(b, sc.spread)
		for i := range sc.s {
			b = appendFloat(b, sc.s[i])
		}
		for i := range sc.p {
			for j := range i + 1 {
				b = appendFloat(b, sc.p[i][j])
			}
		}
	}
	return b, nil
}

func appendFloat(b []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
}

// UnmarshalBinary implements [encoding.BinaryUnmarshaler]. It replaces what was
// learned, and is all or nothing: the error is [ErrState], and then nothing
// has changed. Models whose tables have changed since begin anew.
func (e *Estimator) UnmarshalBinary(b []byte) error {
	if len(b) < len(stateMagic) || string(b[:len(stateMagic)]) != stateMagic {
		return ErrState
	}
	d := decoder{b: b[len(stateMagic):]}
	all := map[string]*learned{}
	for len(d.b) > 0 {
		name := d.text()
		sc := &scale{check: d.uint32(), n: int(d.uvarint() & math.MaxInt32), odd: int(d.varint())}
		sc.bound, sc.spread = d.float(), d.float()
		for i := range sc.s {
			sc.s[i] = d.float()
		}
		for i := range sc.p {
			for j := range i + 1 {
				sc.p[i][j] = d.float()
				sc.p[j][i] = sc.p[i][j]
			}
		}
		if d.bad || !sc.sound() || len(all) >= maxModels {
			return ErrState
		}
		if sc.check == priorOf(name).check {
			all[name] = new(learned)
			all[name].scale.Store(sc)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.models.Store(&all)
	return nil
}

// decoder takes values off bytes; bad tells that there were too few.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return make([]byte, 8)
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) text() string {
	const longest = 1 << 10
	n := d.uvarint()
	if n > longest {
		d.bad, d.b = true, nil
		return ""
	}
	return string(d.take(int(n)))
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 { return binary.LittleEndian.Uint32(d.take(4)) }

func (d *decoder) float() float64 { return math.Float64frombits(binary.LittleEndian.Uint64(d.take(8))) }
