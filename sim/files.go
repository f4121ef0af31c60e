package sim

import (
	"cmp"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// maxFile is the largest file in bytes (“Claude API errors”,
// platform.claude.com, 2026-09-26). How much more its form may have is a
// guess.
const (
	maxFile = 500 << 20
	maxForm = maxFile + 1<<20
)

// keepFiles is how many files are remembered, all organisations together; the
// oldest are forgotten. A guess.
const keepFiles = 10_000

// upload is what is known of a file that was sent to /v1/files.
type upload struct {
	name, mime string
	bytes      int64
	life       time.Duration // until it expires; 0 for never
}

func isUpload(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/v1/files"
}

// readUpload counts the bytes of the file in a multipart body, keeping none:
// what users upload cannot be downloaded.
func readUpload(h http.Header, wire io.Reader) (input, error) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return input{broken: invalid("Content-Type must be multipart/form-data with a boundary")}, nil
	}
	var in input
	found := false
	form := multipart.NewReader(io.LimitReader(wire, maxForm), params["boundary"])
	for in.broken == nil {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			in.broken = invalid("The multipart body is malformed")
			break
		}
		found = found || part.FormName() == "file"
		in.broken = in.file.read(part)
	}
	if in.broken == nil && !found {
		in.broken = invalid("file: Field required")
	}
	return in, nil
}

// read takes in one part of the form of an upload.
func (u *upload) read(part *multipart.Part) *reject {
	switch part.FormName() {
	case "file":
		u.mime = cmp.Or(part.Header.Get("Content-Type"), "application/octet-stream")
		u.name = cmp.Or(part.FileName(), "unnamed"+extension(u.mime))
		var err error
		u.bytes, err = io.Copy(io.Discard, part)
		switch {
		case u.bytes > maxFile:
			return &reject{
				status: http.StatusRequestEntityTooLarge, typ: claude.RequestTooLarge,
				message: "The file exceeds the maximum size",
			}
		case err != nil:
			return invalid("The multipart body is malformed")
		}
	case "expires_in_seconds": // an hour to ninety days, Go SDK v2.13.0, file.go
		text, err := io.ReadAll(io.LimitReader(part, 20))
		seconds, wrong := strconv.Atoi(string(text))
		if err != nil || wrong != nil || seconds < 3600 || seconds > 7_776_000 {
			return invalid("expires_in_seconds: must be 3600 to 7776000")
		}
		u.life = time.Duration(seconds) * time.Second
	}
	return nil
}

// extension returns what a file without a name gets behind "unnamed". The
// types are those a message may refer to; the standard library's table depends
// on the machine.
func extension(mime string) string {
	return map[string]string{
		"application/pdf": ".pdf", "text/plain": ".txt", "image/jpeg": ".jpg",
		"image/png": ".png", "image/gif": ".gif", "image/webp": ".webp",
	}[mime]
}

// file is an uploaded file. It has no content.
type file struct {
	upload
	id                      string
	organization, workspace string
	created                 time.Time
}

// expired reports whether the file's content is gone.
func (f *file) expired(now time.Time) bool {
	return f.life > 0 && !now.Before(f.created.Add(f.life))
}

// fileObject is a file as the API shows it.
type fileObject struct {
	ID           string  `json:"id"`
	Type         string  `json:"type"`
	Name         string  `json:"filename"`
	MIME         string  `json:"mime_type"`
	Bytes        int64   `json:"size_bytes"`
	Created      string  `json:"created_at"`
	Downloadable bool    `json:"downloadable"`
	Expires      *string `json:"expires_at"`
}

func (f *file) object() fileObject {
	o := fileObject{
		ID: f.id, Type: "file", Name: f.name, MIME: f.mime, Bytes: f.bytes, Created: rfc3339(f.created),
	}
	if f.life > 0 {
		at := rfc3339(f.created.Add(f.life))
		o.Expires = &at
	}
	return o
}

// uploaded answers POST /v1/files.
func (t *attempt) uploaded(q ask) outcome {
	f := &file{
		upload: q.in.file, id: "file_" + t.api.id(t.n, 'f'),
		organization: t.organization(), workspace: t.workspace(), created: time.Now(),
	}
	t.api.mu.Lock()
	t.api.files = append(t.api.files, f)
	t.api.files = t.api.files[max(0, len(t.api.files)-keepFiles):]
	t.rec.Effect = true
	t.api.mu.Unlock()
	return t.ok(f.object())
}

// ownFiles returns the files of the attempt's workspace, newest first.
func (t *attempt) ownFiles() []*file {
	organization, workspace := t.organization(), t.workspace()
	t.api.mu.Lock()
	defer t.api.mu.Unlock()
	var list []*file
	for _, f := range slices.Backward(t.api.files) {
		if f.organization == organization && f.workspace == workspace {
			list = append(list, f)
		}
	}
	return list
}

// file returns a file of the attempt's workspace, or nil.
func (t *attempt) file(id string) *file {
	for _, f := range t.ownFiles() {
		if f.id == id {
			return f
		}
	}
	return nil
}

// fileKnown reports whether a message of this attempt may refer to a file.
func (t *attempt) fileKnown(id string) bool {
	f := t.file(id)
	return f != nil && !f.expired(time.Now())
}

// listFiles answers GET /v1/files, newest first. The page has the fields of
// both ways of paging: older clients use after_id, newer ones page.
func (t *attempt) listFiles(q ask) outcome {
	query := q.r.URL.Query()
	list, size := t.ownFiles(), usualPage
	if ids := slices.Concat(query["ids"], query["ids[]"]); len(ids) > 0 {
		if len(ids) > 100 || query.Has("page") || query.Has("limit") {
			return t.rejected(invalid("ids: at most 100, without page and limit"))
		}
		list = slices.DeleteFunc(list, func(f *file) bool { return !slices.Contains(ids, f.id) })
		size = wholeList
	}
	id := func(f *file) string { return f.id }
	p, bad := cut(query, list, id, size)
	if bad != nil {
		return t.rejected(bad)
	}
	data := each(p.data, (*file).object)
	return t.ok(struct {
		idPage
		Next *string `json:"next_page"`
	}{pageOf(p, data, id), cursorOf(p, data).Next})
}

// noFile is the answer for a file that does not exist, or is another
// workspace's.
func (t *attempt) noFile(id string) outcome {
	return t.rejected(missing("File not found: " + id))
}

func (t *attempt) oneFile(q ask) outcome {
	f := t.file(q.id)
	if f == nil {
		return t.noFile(q.id)
	}
	return t.ok(f.object())
}

func (t *attempt) deleteFile(q ask) outcome {
	f := t.file(q.id)
	if f == nil {
		return t.noFile(q.id)
	}
	t.api.mu.Lock()
	t.api.files = slices.DeleteFunc(t.api.files, func(other *file) bool { return other == f })
	t.api.mu.Unlock()
	return t.ok(deleted{f.id, "file_deleted"})
}

// fileContent answers GET /v1/files/{id}/content. Only what tools make can be
// downloaded, and no tool runs here.
func (t *attempt) fileContent(q ask) outcome {
	f := t.file(q.id)
	switch {
	case f == nil:
		return t.noFile(q.id)
	case f.expired(time.Now()):
		return t.problem(http.StatusNotFound, claude.NotFound, "file_expired", "The file has expired")
	}
	return t.problem(http.StatusBadRequest, claude.InvalidRequest, "file_not_downloadable", "The file is not downloadable")
}

// deleted is the answer to a DELETE.
type deleted struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}
