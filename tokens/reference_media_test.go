package tokens

import (
	"encoding/base64"
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"
)

// The rules of media.go, pdf.go and prices.go, told once more: slowly, by
// trying what there is, with numbers of their own.

// serverWord matches the types of blocks of tools that run elsewhere.
var serverWord = regexp.MustCompile(`(?s)^(server_tool_use|mcp_tool_use|container_upload|tool_reference|compaction|` +
	`(web_search|web_fetch|(bash_)?code_execution)_result|.*_tool_result(_error)?)$`)

func (r *reference) data(text string) {
	var w, h uint64
	head, _ := base64.StdEncoding.DecodeString(text[:min(len(text), 64)&^3])
	header := func(n int) bool { return len(head) >= n }
	switch {
	case strings.HasPrefix(text, "JVBERi0"):
		r.marks |= PDF
		r.tally.pdfs++
		r.tally.pages += pdfPages(text)
		return
	case strings.HasPrefix(text, "iVBORw0KGgo"):
		if header(24) {
			w, h = uint64(binary.BigEndian.Uint32(head[16:])), uint64(binary.BigEndian.Uint32(head[20:]))
		}
	case strings.HasPrefix(text, "R0lGOD"):
		if header(10) {
			w, h = uint64(head[6])|uint64(head[7])<<8, uint64(head[8])|uint64(head[9])<<8
		}
	case strings.HasPrefix(text, "UklGR"):
		if header(30) {
			w, h = webpSides(head)
		}
	case strings.HasPrefix(text, "/9j/"):
		w, h = jpegSize(text)
	default:
		r.text(kindText, text)
		r.tally.texts++
		return
	}
	if w == 0 || h == 0 {
		r.marks |= Unseen
	}
	r.tally.sized++
	r.tally.image[tierSmall] += imageTokens(w, h, 1568, 1568)
	r.tally.image[tierLarge] += imageTokens(w, h, 2576, 4784)
}

// jpegSize walks the markers of a file that is all there.
func jpegSize(text string) (w, h uint64) {
	for at := 0; ; {
		from := at / 3 * 4
		if from+20 > len(text) {
			return 0, 0
		}
		b, err := base64.StdEncoding.DecodeString(text[from : from+20])
		if err != nil || len(b) < 15 {
			return 0, 0
		}
		m := b[at%3:]
		switch {
		case m[0] != 0xff:
			return 0, 0
		case m[1] == 0xd8:
			at += 2
		case m[1] == 0xff:
			at++
		case m[1]&0xf0 == 0xc0 && m[1] != 0xc4 && m[1] != 0xc8 && m[1] != 0xcc:
			return uint64(m[7])<<8 | uint64(m[8]), uint64(m[5])<<8 | uint64(m[6])
		default:
			at += 2 + int(binary.BigEndian.Uint16(m[2:]))
		}
	}
}

// webpSides reads the size from the first chunk of a WebP file.
func webpSides(b []byte) (w, h uint64) {
	bits := func(from, n int) (v uint64) { // of the file, the lowest first
		for i := n - 1; i >= 0; i-- {
			at := from + i
			v = v<<1 | uint64(b[at/8]>>(at%8)&1)
		}
		return v
	}
	switch chunk := string(b[12:16]); {
	case chunk == "VP8 " && string(b[23:26]) == "\x9d\x01\x2a":
		return bits(26*8, 14), bits(28*8, 14)
	case chunk == "VP8L" && b[20] == 0x2f:
		return bits(21*8, 14) + 1, bits(21*8+14, 14) + 1
	case chunk == "VP8X":
		return bits(24*8, 24) + 1, bits(27*8, 24) + 1
	}
	return 0, 0
}

// imageTokens is what an image costs: a token for each square of 28 pixels,
// after it was shrunk to a long edge and to a number of tokens. The number of
// squares changes only at scales that make one of the edges a whole number of
// them, so those are tried.
func imageTokens(w, h, edge uint64, most int) int {
	if w == 0 || h == 0 {
		return most
	}
	at := func(a, b uint64) int { // the scale a/b
		return int((w*a + 28*b - 1) / (28 * b) * ((h*a + 28*b - 1) / (28 * b)))
	}
	a, b := uint64(1), uint64(1)
	if long := max(w, h); long > edge {
		a, b = edge, long
	}
	if n := at(a, b); n <= most {
		return n
	}
	bestA, bestB := uint64(0), uint64(1)
	for k := range uint64(most) {
		for _, side := range []uint64{w, h} {
			a1, b1 := 28*(k+1), side
			if a1*b <= a*b1 && at(a1, b1) <= most && a1*bestB > bestA*b1 {
				bestA, bestB = a1, b1
			}
		}
	}
	return at(bestA, bestB)
}

var (
	linearized = regexp.MustCompile(`(?s)/Linearized.*`)
	pagesIn    = regexp.MustCompile(`(?s)^.*?/N [ \r\n\t]*([0-9]*)`)
	typeBefore = regexp.MustCompile(`/Type[ \r\n\t]*$`)
	counted    = regexp.MustCompile(`(?s)^.*?/Count[ \r\n\t]*([0-9]*)`)
)

// pdfPages is how many pages a PDF in base64 has: as one of its ends of 65,536
// characters says, else one for every 51,200 bytes.
func pdfPages(text string) int {
	const window = 65_536
	if n := pagesSaid(text[:min(len(text), window)]); n > 0 {
		return n
	}
	if len(text) > window {
		from := max(window, len(text)-window)
		for from%4 != 0 { // where base64 can be read from
			from++
		}
		if n := pagesSaid(text[from:]); n > 0 {
			return n
		}
	}
	n := 1
	for n*51_200 < len(text)/4*3 {
		n++
	}
	return n
}

// pagesSaid finds the largest count of pages in a part of a PDF; 0 for none.
func pagesSaid(chars string) (most int) {
	b, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(chars, "=")) // up to a fault
	pdf := string(b)
	number := func(rule *regexp.Regexp, dict string) int {
		m := rule.FindStringSubmatch(dict)
		if m == nil || m[1] == "" {
			return 0
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n > 600 {
			return 600
		}
		return n
	}
	dict, _, _ := strings.Cut(linearized.FindString(pdf[:min(len(pdf), 1024)]), ">>")
	if n := number(pagesIn, dict); n > 0 {
		return n
	}
	for before := ""; ; {
		var found bool
		if before, pdf, found = strings.Cut(pdf, "/Pages"); !found {
			return most
		}
		if !typeBefore.MatchString(before) {
			continue
		}
		if i := strings.LastIndex(before, "obj"); i >= 0 {
			before = before[i:]
		}
		after, _, _ := strings.Cut(pdf[:min(len(pdf), 8192)], "endobj")
		most = max(most, number(counted, before[max(0, len(before)-8192):]), number(counted, after))
	}
}
