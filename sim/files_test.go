package sim_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// fileView is a file as a client reads it.
type fileView struct {
	ID, Type string
	Name     string     `json:"filename"`
	MIME     string     `json:"mime_type"`
	Bytes    int64      `json:"size_bytes"`
	Down     bool       `json:"downloadable"`
	Expires  *time.Time `json:"expires_at"`
}

// form returns an upload with the fields, "name=value", and a file if it has a
// name.
func form(t *testing.T, file string, fields ...string) call {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		_ = w.WriteField(name, value)
	}
	if file != "" {
		part, err := w.CreateFormFile("file", file)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(part, "content")
	}
	_ = w.Close()
	return call{path: "/v1/files", body: body.String(), header: map[string]string{
		"content-type": w.FormDataContentType(), "anthropic-beta": "files-api-2025-04-14",
	}}
}

func TestFiles_comeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := inBubble(t, sim.New(sim.Config{}))
		var f, same fileView
		u.read(form(t, "a.txt", "expires_in_seconds=3600"), &f)
		one := "/v1/files/" + f.ID
		if f.Type != "file" || f.Name != "a.txt" || f.MIME != "application/octet-stream" || f.Bytes != 7 || f.Down ||
			f.Expires == nil || time.Until(*f.Expires) != time.Hour {
			t.Errorf("uploaded %+v", f)
		}
		u.read(call{method: "GET", path: one}, &same)
		if same.ID != f.ID || same.Bytes != 7 {
			t.Errorf("read %+v", same)
		}
		if r := u.do(call{method: "GET", path: one + "/content"}); r.status != 400 || !strings.Contains(r.body, "file_not_downloadable") {
			t.Errorf("content: got %d %s, want that it cannot be downloaded", r.status, r.body)
		}
		if got := u.do(call{method: "GET", path: one, header: map[string]string{"x-api-key": "other"}}).status; got != 404 {
			t.Errorf("another organisation: got %d, want 404", got)
		}
		count := call{path: "/v1/messages/count_tokens", body: `{"model":"claude-opus-5","messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{}}]},` +
			`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"document","source":{"type":"file","file_id":"` + f.ID + `"}}]}]}]}`}
		if got := u.do(count).status; got != 200 {
			t.Errorf("referring to it: got %d, want 200", got)
		}
		time.Sleep(time.Hour)
		if r := u.do(count); r.status != 404 || !strings.Contains(r.body, "not_found_error") {
			t.Errorf("referring to it once it has expired: got %d %s, want 404", r.status, r.body)
		}
		if r := u.do(call{method: "GET", path: one + "/content"}); r.status != 404 || !strings.Contains(r.body, "file_expired") {
			t.Errorf("content of the expired: got %d %s", r.status, r.body)
		}
		u.read(call{method: "DELETE", path: one}, &same)
		if same.ID != f.ID || same.Type != "file_deleted" {
			t.Errorf("deleted %+v", same)
		}
		for _, c := range []call{{method: "GET", path: one}, {method: "DELETE", path: one}, {method: "GET", path: one + "/content"}} {
			if got := u.do(c).status; got != 404 {
				t.Errorf("%s %s once it is gone: got %d, want 404", c.method, c.path, got)
			}
		}
	})
}

func TestFiles_refused(t *testing.T) {
	u := inBubble(t, sim.New(sim.Config{}))
	malformed := form(t, "a.txt")
	malformed.body = malformed.body[:len(malformed.body)-9]
	noForm := call{path: "/v1/files", body: "{}"}
	for name, c := range map[string]call{
		"no form": noForm, "cut off": malformed, "no file": form(t, "", "purpose=x"),
		"life too short": form(t, "a.txt", "expires_in_seconds=3599"),
		"life too long":  form(t, "a.txt", "expires_in_seconds=7776001"),
	} {
		if r := u.do(c); r.status != 400 || !strings.Contains(r.body, "invalid_request_error") {
			t.Errorf("%s: got %d %s, want 400", name, r.status, r.body)
		}
	}
}

func TestFiles_upTo500MB(t *testing.T) {
	size, want := int64(500<<20+1), 413
	if raceDetector { // under which the limit takes ten seconds to reach
		size, want = 8<<20, 200
	}
	head := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"big\"\r\n\r\n"
	req := form(t, "x").request(t, "https://api.test")
	req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	req.Body = io.NopCloser(io.MultiReader(strings.NewReader(head), io.LimitReader(zeros{}, size), strings.NewReader("\r\n--b--\r\n")))
	resp, err := sim.New(sim.Config{}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != want || want == 413 && !strings.Contains(string(body), "request_too_large") {
		t.Errorf("%d bytes: got %d %s, want %d", size, resp.StatusCode, body, want)
	}
}

func TestFiles_pages(t *testing.T) {
	u := inBubble(t, sim.New(sim.Config{}))
	for i := range 5 {
		u.read(form(t, fmt.Sprint(i)), &fileView{})
	}
	type page struct {
		Data  []fileView
		Next  *string `json:"next_page"`
		More  bool    `json:"has_more"`
		First string  `json:"first_id"`
		Last  string  `json:"last_id"`
	}
	names := func(p page) (all string) {
		for _, f := range p.Data {
			all += f.Name
		}
		return all
	}
	var first, second, third, ids, older page
	u.read(call{method: "GET", path: "/v1/files?limit=2"}, &first)
	u.read(call{method: "GET", path: "/v1/files?limit=2&page=" + *first.Next}, &second)
	u.read(call{method: "GET", path: "/v1/files?limit=2&page=" + *second.Next}, &third)
	u.read(call{method: "GET", path: "/v1/files?ids[]=" + third.Data[0].ID + "&ids[]=file_gone"}, &ids)
	u.read(call{method: "GET", path: "/v1/files?limit=2&after_id=" + first.Last}, &older)
	got := strings.Join([]string{names(first), names(second), names(third), names(ids), names(older)}, " ")
	if got != "43 21 0 0 21" || third.Next != nil || ids.Next != nil || !first.More || third.More {
		t.Errorf("got %s, want 43 21 0 0 21 and then no more", got)
	}
	for _, query := range []string{"?limit=0", "?limit=1001", "?limit=x", "?page=nonsense", "?page=page_gone", "?after_id=gone", "?ids=a&limit=1"} {
		if got := u.status("GET", "/v1/files"+query); got != 400 {
			t.Errorf("%s: got %d, want 400", query, got)
		}
	}
}
