package fleet

import (
	"crypto/rand"
	"strconv"
	"strings"
	"time"
)

// version is that of what is stored. Processes of different versions share
// nothing, and disturb each other in nothing.
const version = "2"

// keyspace names keys. docs/fleet.md lists them for operators.
type keyspace struct{ prefix string }

// tag is what all keys of an owner begin with. The braces make a Cluster keep
// them in one slot.
func (k keyspace) tag(owner string) string {
	return k.prefix + ":" + version + ":{" + clean(owner) + "}:"
}

func (k keyspace) channel() string { return k.prefix + ":" + version + ":wake" }
func (k keyspace) salt() string    { return k.prefix + ":" + version + ":salt" }

// who is where the organisation of a credential is noted.
func (k keyspace) who(hash string) string { return k.tag(hash) + "who" }

// live is where the processes of an owner are noted.
func (k keyspace) live(owner string) string { return k.tag(owner) + "live" }

// held is where the reservations that were made in the same hour are noted:
// all of them expire together.
func (k keyspace) held(r *Request, id ID) string {
	hour, _, ok := strings.Cut(string(id), ".")
	if !ok {
		hour = "0"
	}
	return k.tag(r.Owner) + "held:" + hour
}

// newID is one of a reservation that is made now, by this process's clock.
func newID(now time.Time) ID {
	return ID(strconv.FormatInt(now.Unix()/3600, 10) + "." + rand.Text()[:16])
}

// charge is where it is noted that a bill was paid.
func (k keyspace) charge(r *Request, id ID) string { return k.tag(r.Owner) + "charge:" + string(id) }

// of lists the keys of a request, in the scripts' order. The fourth is that of
// reservations, or of a bill.
func (k keyspace) of(r *Request, fourth string) []string {
	tag, lane := k.tag(r.Owner), clean(r.Lane)
	keys := make([]string, 0, 5+2*len(r.Groups))
	keys = append(keys, k.live(r.Owner), tag+"lane:"+lane, tag+"fly:"+lane, fourth)
	for _, g := range r.Groups {
		name := clean(g.Name)
		keys = append(keys, tag+"group:"+name, tag+"flow:"+name)
	}
	return keys
}

// line is where those who wait for a request's first group are noted.
func (k keyspace) line(r *Request) string { return k.tag(r.Owner) + "line:" + clean(r.Groups[0].Name) }

// clean keeps what callers choose, such as names of models, from moving a key
// to another slot, or from breaking a line of redis-cli.
func clean(s string) string {
	if strings.IndexFunc(s, odd) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if odd(r) {
			return '_'
		}
		return r
	}, s)
}

func odd(r rune) bool { return r <= ' ' || r == '{' || r == '}' || r == '\'' || r == 0x7f }
