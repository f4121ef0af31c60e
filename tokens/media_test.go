package tokens

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
)

func be32(v uint32) string { return string(binary.BigEndian.AppendUint32(nil, v)) }
func be16(v uint16) string { return string(binary.BigEndian.AppendUint16(nil, v)) }
func le16(v uint16) string { return string(binary.LittleEndian.AppendUint16(nil, v)) }

// segment is a JPEG segment with its marker.
func segment(marker byte, content string) string {
	return "\xff" + string([]byte{marker}) + be16(uint16(len(content)+2)) + content
}

// frame0 is the header of a JPEG frame.
func frame0(marker byte, w, h uint16) string {
	return segment(marker, "\x08"+be16(h)+be16(w)+"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01")
}

var rest = strings.Repeat("pixels", 20)

// pictures are headers of images.
var pictures = []struct {
	reason, bytes string
	w, h          uint64
}{
	{"PNG", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + be32(1920) + be32(1080) + "\x08\x06\x00\x00\x00" + rest, 1920, 1080},
	{"PNG cut in its header", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + be32(1920), 0, 0},
	{"GIF", "GIF89a" + le16(320) + le16(200) + rest, 320, 200},
	{"WebP, lossy", "RIFF\x00\x00\x00\x00WEBPVP8 \x00\x00\x00\x00\x00\x00\x00\x9d\x01\x2a" + le16(550) + le16(368) + rest, 550, 368},
	{"WebP, lossless", "RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f" + string(binary.LittleEndian.AppendUint32(nil, 385|(394<<14))) + rest, 386, 395},
	{"WebP, extended", "RIFF\x00\x00\x00\x00WEBPVP8X\x00\x00\x00\x00\x10\x00\x00\x00\x8f\x01\x00\x2b\x01\x00" + rest, 400, 300},
	{"JPEG", "\xff\xd8" + segment(0xe0, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00") + frame0(0xc0, 400, 300) + rest, 400, 300},
	{"JPEG, progressive", "\xff\xd8" + segment(0xdb, strings.Repeat("q", 65)) + frame0(0xc2, 641, 481) + rest, 641, 481},
	{"JPEG behind a thumbnail and a profile", "\xff\xd8" + segment(0xe1, strings.Repeat("e", 65_000)) + segment(0xe2, strings.Repeat("i", 65_001)) + segment(0xc4, "huffman") + "\xff\xff" + frame0(0xc1, 4032, 3024)[1:] + rest, 4032, 3024},
	{"JPEG with the shortest segments", "\xff\xd8" + segment(0xfe, "") + segment(0xfe, "a") + segment(0xfe, "ab") + segment(0xfe, "") + frame0(0xc0, 12, 34) + rest, 12, 34},
	{"JPEG that is none", "\xff\xd8\xff\xe0\x00\x10JFIF" + strings.Repeat("x", 200), 0, 0},
}

func TestMedia_readsSizes(t *testing.T) {
	for _, tt := range pictures {
		data := base64.StdEncoding.EncodeToString([]byte(tt.bytes))
		for _, step := range []int{1, 3, 4, 7, 20, 1000, len(data)} {
			var s Scanner
			s.data.begin()
			for p := []byte(data); len(p) > 0; {
				n := min(step, len(p))
				s.data.write(&s, p[:n])
				p = p[n:]
			}
			if w, h := s.data.size(); w != tt.w || h != tt.h {
				t.Errorf("%s, in pieces of %d: %d × %d, want %d × %d", tt.reason, step, w, h, tt.w, tt.h)
			}
		}
	}
}

// The examples of “Vision”, platform.claude.com, and what is at the edges.
func TestPrice_ofImages(t *testing.T) {
	tests := []struct {
		w, h         uint64
		small, large int
	}{
		{1920, 1080, 1560, 2691},
		{3840, 2160, 1560, 4784},
		{3024, 1964, 1568, 4760},
		{4032, 3024, 1564, 4740},
		{28, 28, 1, 1},
		{29, 28, 2, 2},
		{200, 200, 64, 64},
		{1, 1, 1, 1},
		{1, 1 << 32, 56, 92},
		{0, 100, 1568, 4784},
		{1 << 33, 1, 1568, 4784},
	}
	for _, tt := range tests {
		small, large := tierSmall.price(tt.w, tt.h), tierLarge.price(tt.w, tt.h)
		if small > 1568 || large > 4784 {
			t.Errorf("%d × %d costs %d and %d, more than the cap", tt.w, tt.h, small, large)
		}
		if tt.small != small || tt.large != large {
			t.Errorf("%d × %d costs %d and %d tokens, want %d and %d", tt.w, tt.h, small, large, tt.small, tt.large)
		}
		turnedSmall, turnedLarge := tierSmall.price(tt.h, tt.w), tierLarge.price(tt.h, tt.w)
		if turnedSmall != small || turnedLarge != large {
			t.Errorf("%d × %d costs %d and %d when turned, want the same %d and %d", tt.w, tt.h, turnedSmall, turnedLarge, small, large)
		}
	}
}

func TestPages_ofPDFs(t *testing.T) {
	filler := strings.Repeat("stream of an image ", 20_000) // longer than both windows
	tests := []struct {
		reason, pdf string
		want        int
	}{
		{"count at the beginning", "%PDF-1.7\n2 0 obj\n<</Type/Pages/Count 12/Kids[ 3 0 R] >>\nendobj\n" + filler, 12},
		{"count at the end, before the type", "%PDF-1.4\n" + filler + "7 0 obj << /Count 34 /Kids [1 0 R] /Type /Pages >> endobj trailer", 34},
		{"the root of a tree", "%PDF-1.4\n1 0 obj<</Type /Pages /Count 3>>endobj 2 0 obj<</Type\n/Pages /Count 9>>endobj", 9},
		{"outlines count as well, but not pages", "%PDF-1.4\n1 0 obj<</Type /Outlines /Count 99>>endobj 2 0 obj<</Type /Pages /Count 2>>endobj", 2},
		{"linearized, as most write it", "%PDF-1.5\n43 0 obj <</Linearized 1 /L 1234 /O 45 /E 99 /N 21 /T 55>> endobj " + filler, 21},
		{"a compressed tree: by length", "%PDF-1.7\n" + strings.Repeat("x", 5*bytesPerPage), 6},
		{"more than can be", "%PDF-1.7\n1 0 obj<</Type/Pages/Count 99999999999>>", maxPages},
		{"nothing but beginnings", "%PDF-1.7\n" + strings.Repeat("/Type/Pages", 9000), 2},
	}
	for _, tt := range tests {
		var s Scanner
		body := `{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","data":"` +
			base64.StdEncoding.EncodeToString([]byte(tt.pdf)) + `"}}]}]}`
		if got := scanIn(&s, "", []byte(body)); got.Pages != tt.want || got.Marks != PDF {
			t.Errorf("%s: %d pages, marks %b; want %d, %b", tt.reason, got.Pages, got.Marks, tt.want, PDF)
		}
	}
}
