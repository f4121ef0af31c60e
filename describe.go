package evenkeel

import (
	"compress/gzip"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/tokens"
)

// plainPerToken is how much longer the headers of a plain answer may take per
// token of max_tokens: they come when the answer is done. 28 ms a token is
// the official SDKs' own rule, 1 h for 128,000 tokens
// (anthropic-sdk-go v2.13.0, CalculateNonStreamingTimeout).
const plainPerToken = 28 * time.Millisecond

// maxPlainTokens keeps max_tokens · plainPerToken from overflowing; no model
// answers at such length.
const maxPlainTokens = 1 << 20

// description is what a call is, as far as decisions need it.
type description struct {
	path     claude.Path
	body     claude.Body
	effects  bool
	class    call.Class
	maxWait  time.Duration // as the caller asked; 0 if it did not
	timeout  time.Duration // how long the caller waits; 0 if unknown
	tag      string
	scope    string
	repeat   bool // the caller's own retry
	rewinds  bool // the body can be sent again
	upstream string

	workspace string // that the request names
	caller    call.Caller
	scan      tokens.Scan     // of the body
	estimate  tokens.Estimate // of its input
}

// headers reads what the caller's header fields say. The error is for the
// caller: a field that cannot be read is a mistake, not a default. hasher hides
// the credential; nil has it be done here.
func (d *description) headers(r *http.Request, hasher call.Hasher) error {
	h := r.Header
	d.path = claude.PathOf(r.Method, r.URL.Path)
	d.upstream = r.URL.Host
	if v := field(h, HeaderPriority); v != "" {
		switch v {
		case "interactive":
			d.class = call.Interactive
		case "normal":
			d.class = call.Normal
		case "batch":
			d.class = call.Batch
		default:
			return badHeader(HeaderPriority, "interactive, normal or batch")
		}
	}
	var err error
	if d.maxWait, err = durationOf(h, HeaderMaxWait); err != nil {
		return err
	}
	if d.maxWait == 0 && field(h, HeaderMaxWait) != "" {
		d.maxWait = time.Nanosecond // 0s: not at all
	}
	if d.timeout, err = durationOf(h, HeaderDeadline); err != nil {
		return err
	}
	if d.timeout == 0 && field(h, HeaderDeadline) != "" {
		return badHeader(HeaderDeadline, "a duration such as 2m")
	}
	if d.tag = field(h, HeaderTag); d.tag != "" && !validTag(d.tag) {
		return badHeader(HeaderTag, "1 to 64 of a-z, 0-9, '.', '_' and '-'")
	}
	if d.timeout == 0 {
		d.timeout, _ = claude.CallerTimeout(h)
	}
	d.repeat = claude.IsRetry(h)
	if c := claude.Credential(h); c != "" {
		if hasher != nil {
			d.scope = hasher.Hash(r.Context(), c)
		} else {
			d.scope = strconv.FormatUint(maphash.String(seed, c), 36)
		}
	}
	d.workspace = field(h, claude.HeaderWorkspaceID)
	d.describeCaller(r.Context())
	return nil
}

// field is h.Get for a name that is canonical already, without looking whether
// it is: there are a dozen a call.
func field(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func durationOf(h http.Header, name string) (time.Duration, error) {
	v := field(h, name)
	if v == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return 0, badHeader(name, "a duration such as 20s or 2m")
	}
	return d, nil
}

func badHeader(name, want string) error {
	return &Error{
		Code: CodeBadHeader, Kind: claude.InvalidRequest, Status: http.StatusBadRequest,
		Err: fmt.Errorf("header %s cannot be read, want %s", name, want),
	}
}

func validTag(s string) bool {
	if len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// read reads the facts in the body, and estimates the tokens of a message. A compressed body is decoded for this
// only, and up to a bound: it may be a bomb. What cannot be read stays
// unknown; whether it is an error is for the API to say.
func (d *description) read(body io.Reader, encoding string, e *tokens.Estimator) {
	if d.path != claude.Messages && d.path != claude.CountTokens {
		return
	}
	switch encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return
		}
		body = io.LimitReader(z, maxDecoded)
	default:
		return
	}
	s := scanners.Get().(*scanner)
	s.facts, s.counts = claude.Scanner{}, d.path == claude.Messages
	s.tokens.Reset("")
	defer scanners.Put(s)
	if w, ok := body.(io.WriterTo); ok {
		_, _ = w.WriteTo(s) // a bytes.Reader hands over what it has: no copy
	} else {
		buf := buffers.Get().(*[]byte)
		_, _ = io.CopyBuffer(s, body, *buf)
		buffers.Put(buf)
	}
	d.body = s.facts.Body()
	if s.counts {
		d.scan, d.estimate = s.tokens.Scan(), e.Estimate(&s.tokens, time.Now())
	}
}

// scanner reads what is needed of a body in one pass.
type scanner struct {
	facts  claude.Scanner
	tokens tokens.Scanner
	counts bool
}

// Write implements [io.Writer]. The body is taken in pieces that the second
// scanner still finds in the processor's cache.
func (s *scanner) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		piece := rest[:min(len(rest), 64<<10)]
		rest = rest[len(piece):]
		_, _ = s.facts.Write(piece)
		if s.counts {
			_, _ = s.tokens.Write(piece)
		}
	}
	return len(p), nil
}

// scanners lends out scanners of some 17 KB.
var scanners = sync.Pool{New: func() any { return new(scanner) }}

// maxDecoded bounds what is decoded of a compressed body to describe it.
const maxDecoded = 64 << 20

// describeEffects settles what a failed attempt may have done, once the body is known.
func (d *description) describeEffects(method string) {
	d.effects = classify.Effects(method, d.path, d.body.MCPServers)
}

// firstByte is how long one attempt may take to bring its headers; 0 for no limit.
func (d *description) firstByte(method string, t Timeouts) time.Duration {
	switch {
	case !d.rewinds:
		return 0 // an upload of any length
	case d.body.Stream:
		return t.FirstByte
	case d.path != claude.Other:
		return t.FirstByte + time.Duration(min(max(d.body.MaxTokens, 0), maxPlainTokens))*plainPerToken
	case method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch:
		return 0 // an upload of any length, a legacy completion that answers when it is done
	default:
		return t.FirstByte
	}
}
