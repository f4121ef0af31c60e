package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// The roles of a child that stands for the API.
const (
	roleSim    = "sim"    // the simulated one
	roleWriter = "writer" // a handler that writes what the simulated one wrote
)

// simulated is the simulated API with every default on, and answers as long,
// and tokens as far apart, as the query says.
func simulated(q url.Values) (http.Handler, error) {
	tokens, err := strconv.Atoi(q.Get("tokens"))
	if err != nil {
		return nil, err
	}
	pace, err := time.ParseDuration(q.Get("pace"))
	if err != nil {
		return nil, err
	}
	return sim.New(sim.Config{OutputTokens: tokens, TokenTime: pace}), nil
}

// simQuery is what simulated reads.
func simQuery(tokens int, pace time.Duration) string {
	return "?" + url.Values{"tokens": {strconv.Itoa(tokens)}, "pace": {pace.String()}}.Encode()
}

// written is an answer: its headers, and what was written at once.
type written struct {
	Header http.Header
	Pieces []string
	Flush  []bool // the piece was followed by a flush
}

// writer does what any server must that gives this answer: it reads the
// request, writes the same headers and pieces, and flushes where the other did.
func writer(path string) (http.Handler, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var answer written
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		maps.Copy(w.Header(), answer.Header)
		control := http.NewResponseController(w)
		for i, piece := range answer.Pieces {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
			if answer.Flush[i] && control.Flush() != nil {
				return
			}
		}
	}), nil
}

// simRequest is a messages request of 4 KB.
func simRequest(stream bool) []byte {
	body := request(4 << 10)
	if !stream {
		return body
	}
	return append(body[:len(body)-1], `,"stream":true}`...)
}

// startWriter starts the writer of what c answers to body.
func startWriter(tb testing.TB, c *child, body []byte) (*child, written) {
	tb.Helper()
	answer, err := c.answer(body)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "answer.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		tb.Fatal(err)
	}
	return startChild(tb, roleWriter, path), answer
}

// answer makes a call and takes the answer apart: into its events, and where a
// chunk on the wire ends with an event, the server has flushed. (Where one ends
// within an event, the buffer was full; any server's is as large.)
func (c *child) answer(body []byte) (written, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		return written{}, err
	}
	defer conn.Close()
	r, err := c.request(body)
	if err != nil {
		return written{}, err
	}
	if err := r.Write(conn); err != nil {
		return written{}, err
	}
	wire := bufio.NewReader(conn)
	head, err := textproto.NewReader(wire).ReadLine()
	if err != nil || !strings.Contains(head, " 200 ") {
		return written{}, fmt.Errorf("answer %q: %w", head, err)
	}
	header, err := textproto.NewReader(wire).ReadMIMEHeader()
	if err != nil {
		return written{}, err
	}
	out := written{Header: http.Header(header)}
	out.Header.Del("Date") // the server's own
	if out.Header.Get("Transfer-Encoding") != "chunked" {
		n, err := strconv.Atoi(out.Header.Get("Content-Length"))
		if err != nil {
			return written{}, err
		}
		raw := make([]byte, n)
		_, err = io.ReadFull(wire, raw)
		out.Pieces, out.Flush = []string{string(raw)}, []bool{false}
		return out, err
	}
	out.Header.Del("Transfer-Encoding")
	return out, out.readChunks(wire)
}

// readChunks reads a chunked body.
func (a *written) readChunks(wire *bufio.Reader) error {
	rest := ""
	for {
		var size int64
		if _, err := fmt.Fscanf(wire, "%x\r\n", &size); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
		chunk := make([]byte, size+2) // and a line end
		if _, err := io.ReadFull(wire, chunk); err != nil {
			return err
		}
		rest += string(chunk[:size])
		for {
			event, behind, whole := strings.Cut(rest, "\n\n")
			if !whole {
				break
			}
			a.Pieces, a.Flush = append(a.Pieces, event+"\n\n"), append(a.Flush, behind == "")
			rest = behind
		}
	}
}

// simTokens is the length of the answers that are compared.
const simTokens = 100

// BenchmarkSim measures the CPU of a call to the simulated API and to a handler
// that writes the same bytes in as many writes and flushes, in turns, under the same load. ratio is the one
// that is promised: at most 2.5.
func BenchmarkSim(b *testing.B) {
	for _, stream := range []bool{false, true} {
		b.Run("body=4KB/answer="+map[bool]string{false: "plain", true: "stream"}[stream], func(b *testing.B) {
			body := simRequest(stream)
			ours := startChild(b, roleSim, simQuery(simTokens, 0))
			plain, _ := startWriter(b, ours, body)
			var ourCPU, plainCPU, ratio []float64
			load := func(c *child) float64 {
				us, err := c.load(body)
				if err != nil {
					b.Fatal(err)
				}
				return us
			}
			round := func() {
				// In both orders, so that neither always comes first.
				o, p := load(ours), load(plain)
				p += load(plain)
				o += load(ours)
				ourCPU, plainCPU, ratio = append(ourCPU, o/2), append(plainCPU, p/2), append(ratio, o/p)
			}
			round() // warms up
			ourCPU, plainCPU, ratio = nil, nil, nil
			for b.Loop() {
				for range 10 {
					round()
				}
			}
			for _, c := range []*child{ours, plain} {
				if n := c.broken.Load(); n > 0 {
					b.Errorf("%d of %d calls broke", n, c.calls.Load())
				}
			}
			b.ReportMetric(0, "ns/op") // of a round: says nothing
			b.ReportMetric(median(ourCPU), "sim-cpu-us")
			b.ReportMetric(median(plainCPU), "plain-cpu-us")
			b.ReportMetric(median(ratio), "ratio")
		})
	}
}

// The two that BenchmarkSim compares do the same: as many pieces, as many
// bytes but for what ids differ by, and the same headers.
func TestSim_isComparedWithItsLike(t *testing.T) {
	for _, stream := range []bool{false, true} {
		body := simRequest(stream)
		ours := startChild(t, roleSim, simQuery(simTokens, 0))
		plain, first := startWriter(t, ours, body)
		if want := map[bool]int{false: 1, true: simTokens}[stream]; len(first.Pieces) < want {
			t.Fatalf("stream %v: %d pieces, want %d or more", stream, len(first.Pieces), want)
		}
		for _, c := range []*child{ours, plain} {
			got, err := c.answer(body)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Pieces) != len(first.Pieces) || len(got.Header) != len(first.Header) {
				t.Errorf("stream %v: %d pieces and %d headers, want %d and %d", stream, len(got.Pieces), len(got.Header), len(first.Pieces), len(first.Header))
			}
			if a, b := flushes(got), flushes(first); max(a-b, b-a) > 2 { // how full the buffer is depends on lengths of ids
				t.Errorf("stream %v: %d flushes, want about %d", stream, a, b)
			}
			if a, b := len(strings.Join(got.Pieces, "")), len(strings.Join(first.Pieces, "")); max(a-b, b-a) > b/50 {
				t.Errorf("stream %v: %d bytes, want about %d", stream, a, b)
			}
			if used, err := c.cpu(); err != nil || used <= 0 {
				t.Errorf("stream %v: %v us of CPU time: %v", stream, used, err)
			}
		}
	}
}

func flushes(a written) int {
	n := 0
	for _, flushed := range a.Flush {
		if flushed {
			n++
		}
	}
	return n
}
