package sim

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Byte limits of requests (“Claude API errors”, platform.claude.com,
// 2026-09-26).
const (
	maxBody  = 32 << 20
	maxBatch = 256 << 20
)

// input is a request body that has been read.
type input struct {
	request
	body   []byte   // decoded; nil for uploads
	betas  []string // values of the anthropic-beta headers
	broken *reject  // why it can be no proper request; nil if it can

	threaded int // bytes of the thread that it continues

	file upload
}

// reject is an error answer in the making.
type reject struct {
	status  int
	typ     claude.ErrorType
	code    claude.ErrorCode
	message string
	edge    bool // answered before the API: no request id, no full envelope
}

// Error implements error, so that a parser can return a reject.
func (r *reject) Error() string { return r.message }

func invalid(format string, args ...any) *reject {
	return &reject{status: http.StatusBadRequest, typ: claude.InvalidRequest, message: fmt.Sprintf(format, args...)}
}

// read takes in the whole body of a request and records what it is. The error
// is that of reading; a body that is wrong is told in input.broken.
func (t *attempt) read(r *http.Request) (input, error) {
	hash := sha256.New()
	wire := &counted{r: r.Body, copy: hash}
	if r.Body == nil {
		wire.r = http.NoBody
	}
	var in input
	var err error
	if isUpload(r) {
		wire.copy = io.Discard
		in, err = readUpload(r.Header, wire)
	} else {
		in, err = readBody(r, wire)
	}
	if err == nil { // what nobody looked at was sent all the same
		_, err = io.Copy(io.Discard, wire)
	}
	if wire.err != nil {
		err = wire.err
	}
	in.betas = betas(r.Header)
	if in.broken == nil {
		in.broken = badBetas(in.betas)
	}
	t.update(func(rec *Attempt) {
		rec.BodyBytes, rec.Model, rec.Stream = wire.n, in.Model, in.Stream
		if !isUpload(r) && wire.n > 0 {
			rec.BodySHA256 = hex.EncodeToString(hash.Sum(nil))
		}
	})
	return in, err
}

// readBody reads a body that is kept, decodes and scans it.
func readBody(r *http.Request, wire io.Reader) (input, error) {
	limit := int64(maxBody)
	if claude.PathOf(r.Method, r.URL.Path) == claude.Batches {
		limit = maxBatch
	}
	raw, err := readAll(io.LimitReader(wire, limit+1), min(r.ContentLength, limit))
	if err != nil {
		return input{}, err
	}
	if int64(len(raw)) > limit {
		return input{broken: &reject{
			status: http.StatusRequestEntityTooLarge, typ: claude.RequestTooLarge,
			message: "Request exceeds the maximum size", edge: true,
		}}, nil
	}
	decoded, broken := decode(r.Header.Get("Content-Encoding"), raw, limit)
	if broken != nil {
		return input{broken: broken}, nil
	}
	in := input{body: decoded}
	if !wantsJSON(r) {
		return in, nil
	}
	in.broken = in.parse(decoded)
	return in, nil
}

// parse reads a body. It is json.Unmarshal without a second pass over what has
// been found valid.
func (r *request) parse(body []byte) *reject {
	body = bytes.Trim(body, " \t\r\n")
	var err error
	if valid(body) {
		err = r.UnmarshalJSON(body)
	} else {
		err = json.Unmarshal(body, &struct{}{}) // which says where
	}
	if err != nil {
		return badJSON(err)
	}
	return nil
}

// readAll is [io.ReadAll] with room for the size a request announces, as far
// as that is believed before any of it has come.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	const believed = 1 << 20
	var b bytes.Buffer
	b.Grow(int(min(max(announced, 0), believed)) + bytes.MinRead)
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// badJSON is the answer to a body that could not be parsed. It does not quote
// the body.
func badJSON(err error) *reject {
	if wrong, ok := errors.AsType[*reject](err); ok {
		return wrong
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return invalid("The request body is not valid JSON: syntax error at byte %d", syntax.Offset)
	}
	return invalid("The request body is not valid JSON: unexpected end")
}

// betas returns the values of the anthropic-beta headers.
func betas(h http.Header) []string {
	var out []string
	for _, line := range h.Values("Anthropic-Beta") {
		for value := range strings.SplitSeq(line, ",") {
			if value = strings.TrimSpace(value); value != "" {
				out = append(out, value)
			}
		}
	}
	return out
}

// beta is what a beta looks like: a name and a day. The API knows each by name
// and refuses others; the simulation takes whatever looks like one, so that a
// new beta does not need a new simulation.
var beta = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*-20\d\d-?\d\d-?\d\d$`)

// badBetas returns why a request with these betas is refused, or nil (“Beta
// headers”, platform.claude.com).
func badBetas(values []string) *reject {
	for _, value := range values {
		if !beta.MatchString(value) {
			return invalid("Unexpected value(s) `%s` for the `anthropic-beta` header. Please consult our documentation at platform.claude.com/docs or try again without the header.", value)
		}
	}
	return nil
}

// wantsJSON reports whether the body of a request is looked at.
func wantsJSON(r *http.Request) bool {
	return claude.PathOf(r.Method, r.URL.Path) != claude.Other ||
		r.Method == http.MethodPost && r.URL.Path == "/v1/complete"
}

// decode undoes a content encoding. The API has codes for encodings it does
// not support and for bodies that are too large once decoded; that gzip is
// supported is a guess.
func decode(encoding string, raw []byte, limit int64) ([]byte, *reject) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return raw, nil
	case "gzip":
	default:
		return nil, &reject{
			status: http.StatusBadRequest, typ: claude.InvalidRequest,
			code: "request_body_encoding_unsupported", message: "The Content-Encoding of the request is not supported",
		}
	}
	bad := &reject{
		status: http.StatusBadRequest, typ: claude.InvalidRequest,
		code: "request_body_encoding_invalid", message: "The request body is not valid gzip",
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, bad
	}
	out, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, bad
	}
	if int64(len(out)) > limit {
		return nil, &reject{
			status: http.StatusRequestEntityTooLarge, typ: claude.RequestTooLarge,
			code: "request_body_too_large_after_decoding", message: "The decoded request exceeds the maximum size",
		}
	}
	return out, nil
}

// counted counts and copies what is read, and remembers a reader's error.
type counted struct {
	r    io.Reader
	copy io.Writer
	n    int64
	err  error // other than io.EOF
}

// Read implements [io.Reader].
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	_, _ = c.copy.Write(p[:n]) // a hash never fails
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
