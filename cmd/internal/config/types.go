package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and writes as 30s, 5m or 1h30m.
type Duration time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler]. A bare number is refused:
// whether 5 means seconds or milliseconds nobody can see.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New("want a duration such as 30s, 5m or 250ms")
	}
	*d = Duration(v)
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String writes 5m, not 5m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size is a number of bytes that reads as 512MB. The units are powers of 1024
// with and without an i, as in the API's own 32 MB limit on requests.
type Size int64

// sizeUnits is ordered so that the longest suffix is found first.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"tib", 1 << 40},
	{"gib", 1 << 30},
	{"mib", 1 << 20},
	{"kib", 1 << 10},
	{"tb", 1 << 40},
	{"gb", 1 << 30},
	{"mb", 1 << 20},
	{"kb", 1 << 10},
	{"b", 1},
}

// UnmarshalText implements [encoding.TextUnmarshaler]. A bare number is bytes.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit := strings.ToLower(strings.TrimSpace(string(text))), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	v, err := scaled(number, unit)
	if err != nil {
		return errors.New("want a size such as 512MB or 64kB")
	}
	*s = Size(v)
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String uses the largest unit that divides s.
func (s Size) String() string {
	for _, u := range sizeUnits[4:8] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return fmt.Sprintf("%d%s", int64(s)/u.bytes, strings.Replace(strings.ToUpper(u.suffix), "KB", "kB", 1))
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Percent is a share of 1 that reads as 20%.
type Percent float64

// UnmarshalText implements [encoding.TextUnmarshaler]. The sign is required:
// 20 and 0.2 are too easily taken for each other.
func (p *Percent) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return errors.New("want a percentage such as 20%")
	}
	*p = Percent(v / 100)
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String writes 20%, with the digits that are needed to read p again.
func (p Percent) String() string {
	return strconv.FormatFloat(math.Round(float64(p)*1e11)/1e9, 'f', -1, 64) + "%"
}

// Count is a number of requests or tokens that reads as 1000, 400k or 2M.
type Count int64

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Count) UnmarshalText(text []byte) error {
	number, unit := strings.TrimSpace(string(text)), int64(1)
	for suffix, n := range map[string]int64{"k": 1e3, "K": 1e3, "M": 1e6} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = rest, n
		}
	}
	v, err := scaled(number, unit)
	if err != nil {
		return errors.New("want a count such as 1000, 400k or 2M")
	}
	*c = Count(v)
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (c Count) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// String uses k and M where they lose nothing.
func (c Count) String() string {
	switch n := int64(c); {
	case n != 0 && n%1e6 == 0:
		return strconv.FormatInt(n/1e6, 10) + "M"
	case n != 0 && n%1e3 == 0:
		return strconv.FormatInt(n/1e3, 10) + "k"
	default:
		return strconv.FormatInt(n, 10)
	}
}

// scaled reads a decimal number times unit, which must come out whole, not
// negative and within an int64.
func scaled(number string, unit int64) (int64, error) {
	if number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, strconv.ErrSyntax
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > math.MaxInt64/unit {
			return 0, strconv.ErrRange
		}
		return n * unit, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, err
	}
	if f *= float64(unit); f != math.Trunc(f) || f >= math.MaxInt64 {
		return 0, strconv.ErrRange
	}
	return int64(f), nil
}

// Secret is a credential. Printed, marshalled or logged it shows at most its
// last four characters; string(s) is the way to the whole.
type Secret string

// String hides s. A short secret is hidden whole: four of its characters would
// be too many.
func (s Secret) String() string {
	switch {
	case s == "":
		return ""
	case len(s) < 20:
		return "(hidden)"
	default:
		return "(hidden, ends in " + string(s[len(s)-4:]) + ")"
	}
}

// GoString hides s from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides s from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. Space around a key comes
// from files and never belongs to it.
func (s *Secret) UnmarshalText(text []byte) error {
	v := strings.TrimSpace(string(text))
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return errors.New("a credential has no spaces or control characters")
	}
	*s = Secret(v)
	return nil
}

// StoreURL says where a store is. Shown, it is without what is secret in it.
type StoreURL string

// String is the URL with passwords hidden.
func (s StoreURL) String() string {
	u, err := url.Parse(string(s))
	switch {
	case s == "":
		return ""
	case err != nil || u.Scheme == "" || u.Host == "" && u.Path == "":
		return "(hidden)"
	}
	if _, ok := u.User.Password(); ok {
		u.User = url.UserPassword(u.User.Username(), "hidden")
	}
	if q := u.Query(); q.Has("sentinel_password") {
		q.Set("sentinel_password", "hidden")
		u.RawQuery = q.Encode()
	}
	return u.String()
}

// GoString hides what is secret from %#v.
func (s StoreURL) GoString() string { return s.String() }

// MarshalText hides what is secret from encoders.
func (s StoreURL) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *StoreURL) UnmarshalText(text []byte) error {
	if err := (*Secret)(s).UnmarshalText(text); err != nil {
		return errors.New("a URL has no spaces or control characters: in a password a space is written %20")
	}
	return nil
}

var (
	_ encoding.TextUnmarshaler = (*StoreURL)(nil)
	_ encoding.TextUnmarshaler = (*Duration)(nil)
	_ encoding.TextUnmarshaler = (*Size)(nil)
	_ encoding.TextUnmarshaler = (*Percent)(nil)
	_ encoding.TextUnmarshaler = (*Count)(nil)
	_ encoding.TextUnmarshaler = (*Secret)(nil)
)
