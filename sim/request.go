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
	"mime"
	"mime/multipart"
	"net/http"
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
	body   []byte  // decoded; nil for uploads
	broken *reject // why it can be no proper request; nil if it can
	file   upload
}

// request is what the simulation looks at in the body of a messages call, and
// what others have in common with it.
type request struct {
	Model     string
	MaxTokens *int `json:"max_tokens"`
	Stream    bool
	System    json.RawMessage
	Messages  json.RawMessage
	Tools     json.RawMessage
	Thinking  struct{ Type, Display string }
	ToolUse   struct{ Type string } `json:"tool_choice"`
	Prompt    string                // of the legacy completions
	Limit     *int                  `json:"max_tokens_to_sample"`
	Requests  []batchItem           // of a batch
}

// reject is an error answer in the making.
type reject struct {
	status  int
	typ     claude.ErrorType
	code    claude.ErrorCode
	message string
	edge    bool // answered before the API: no request id, no full envelope
}

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
	raw, err := io.ReadAll(io.LimitReader(wire, limit+1))
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
	if err := json.Unmarshal(decoded, &in.request); err != nil {
		in.broken = invalid("The request body is not valid JSON: %v", jsonMistake(err))
	}
	return in, nil
}

// wantsJSON reports whether the body of a request is looked at.
func wantsJSON(r *http.Request) bool {
	return claude.PathOf(r.Method, r.URL.Path) != claude.Other ||
		r.Method == http.MethodPost && r.URL.Path == "/v1/complete"
}

// jsonMistake describes err without quoting the body.
func jsonMistake(err error) string {
	if typed, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("%s: wrong type", strings.ToLower(typed.Field))
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("syntax error at byte %d", syntax.Offset)
	}
	return "unexpected end"
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

// upload is what is known of a file that was sent to /v1/files.
type upload struct {
	name, mime string
	bytes      int64
}

func isUpload(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/v1/files"
}

// readUpload counts the bytes of the file in a multipart body, keeping none.
func readUpload(h http.Header, wire io.Reader) (input, error) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return input{broken: invalid("Content-Type must be multipart/form-data with a boundary")}, nil
	}
	form := multipart.NewReader(wire, params["boundary"])
	var in input
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			in.broken = invalid("The multipart body is malformed")
			return in, nil
		}
		if part.FormName() != "file" {
			continue
		}
		in.file = upload{name: part.FileName(), mime: part.Header.Get("Content-Type")}
		if in.file.bytes, err = io.Copy(io.Discard, part); err != nil {
			in.broken = invalid("The multipart body is malformed")
			return in, nil
		}
	}
	if in.file.name == "" {
		in.broken = invalid("file: Field required")
	}
	return in, nil
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
