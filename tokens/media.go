package tokens

import (
	"encoding/base64"
	"encoding/binary"
)

// media looks at what a field "data" holds. Its bytes arrive unescaped and in
// pieces of any size; of an image only the header is decoded.
type media struct {
	form  form
	total int      // characters seen
	head  [64]byte // the first characters, while the form needs them
	n     int
	jpeg  jpeg

	windows *windows // of PDFs; kept between bodies, nil until the first
}

// form is what data turned out to be.
type form uint8

const (
	formUndecided form = iota
	formText           // a document that is text
	formPNG
	formGIF
	formWebP
	formJPEG
	formPDF
)

// magics are the beginnings of what is known, in base64. The media type might
// stand after the data, so it is not asked.
var magics = [...]struct {
	prefix string
	form   form
	chars  int // that hold the size
}{
	{"iVBORw0KGgo", formPNG, 32},
	{"R0lGOD", formGIF, 16},
	{"UklGR", formWebP, 40},
	{"/9j/", formJPEG, 0},
	{"JVBERi0", formPDF, 0},
}

// sniffed is how many characters decide on the form: the longest magic.
const sniffed = 11

func (m *media) begin() {
	*m = media{windows: m.windows}
}

// write takes a piece of the data.
func (m *media) write(s *Scanner, p []byte) {
	if m.form == formText {
		s.text.write(s, p)
		return
	}
	if m.total < len(m.head) {
		m.n += copy(m.head[m.n:], p)
	}
	before := m.total
	m.total += len(p)
	switch {
	case m.form == formUndecided && m.n >= sniffed:
		m.decide(s, p)
	case m.form == formJPEG:
		m.jpeg.write(p)
	case m.form == formPDF:
		m.windows.write(before, p)
	}
}

// decide looks at the first characters; p is the piece that completed them, or
// nil if there are no more.
func (m *media) decide(s *Scanner, p []byte) {
	m.form = formText
	for _, magic := range magics {
		if len(magic.prefix) <= m.n && string(m.head[:len(magic.prefix)]) == magic.prefix {
			m.form = magic.form
		}
	}
	// What came before p is in head.
	early := m.head[:m.total-len(p)]
	switch m.form {
	case formText:
		s.text.begin(kindText)
		s.text.write(s, early)
		s.text.write(s, p)
	case formJPEG:
		m.jpeg.write(early)
		m.jpeg.write(p)
	case formPDF:
		if m.windows == nil {
			m.windows = new(windows)
		}
		m.windows.write(0, early)
		m.windows.write(len(early), p)
	}
}

// end ends the data, and counts it.
func (m *media) end(s *Scanner) {
	if m.form == formUndecided {
		m.decide(s, nil)
	}
	if m.form == formText {
		s.now.texts++
		s.text.end(s)
		return
	}
	// The identity of the data, as far as a prefix needs it.
	_, _ = s.text.hash.Write(m.head[:m.n])
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(m.total))
	_, _ = s.text.hash.Write(size[:])

	if m.form == formPDF {
		pages := m.windows.pages(m.total)
		s.marks |= PDF
		s.now.pdfs++
		s.now.pages += pages
		return
	}
	w, h := m.size()
	if w == 0 || h == 0 {
		s.marks |= Unseen
	}
	s.now.sized++
	for t := range tier(tiers) {
		s.now.image[t] += t.price(w, h)
	}
}

// size reads the size of an image from its header; 0 if it has none.
func (m *media) size() (w, h uint64) {
	if m.form == formJPEG {
		return m.jpeg.w, m.jpeg.h
	}
	var b [48]byte
	n, _ := base64.StdEncoding.Decode(b[:], m.head[:m.n&^3]) // what follows a fault is missing
	head := b[:n]
	switch {
	case m.form == formPNG && len(head) >= 24:
		return uint64(binary.BigEndian.Uint32(head[16:])), uint64(binary.BigEndian.Uint32(head[20:]))
	case m.form == formGIF && len(head) >= 10:
		return uint64(binary.LittleEndian.Uint16(head[6:])), uint64(binary.LittleEndian.Uint16(head[8:]))
	case m.form == formWebP && len(head) >= 30:
		return webpSize(head)
	}
	return 0, 0
}

// webpSize reads the size from the first chunk of a WebP file, lossy, lossless
// or extended (“WebP Container Specification”, RFC 9649).
func webpSize(b []byte) (w, h uint64) {
	switch string(b[12:16]) {
	case "VP8 ":
		if b[23] != 0x9d || b[24] != 0x01 || b[25] != 0x2a {
			return 0, 0
		}
		return uint64(binary.LittleEndian.Uint16(b[26:]) & 0x3fff), uint64(binary.LittleEndian.Uint16(b[28:]) & 0x3fff)
	case "VP8L":
		if b[20] != 0x2f {
			return 0, 0
		}
		v := binary.LittleEndian.Uint32(b[21:])
		return uint64(v&0x3fff) + 1, uint64(v>>14&0x3fff) + 1
	case "VP8X":
		return uint64(b[24]) | uint64(b[25])<<8 | uint64(b[26])<<16 + 1, uint64(b[27]) | uint64(b[28])<<8 | uint64(b[29])<<16 + 1
	}
	return 0, 0
}

// jpeg walks from marker to marker of a JPEG file in base64, until the frame
// header that has the size. What lies between, thumbnails and profiles of many
// kilobytes, is skipped by counting.
type jpeg struct {
	at      int      // characters seen
	need    int      // the next character that matters
	buf     [20]byte // characters from from on, a whole number of quads
	from, n int
	want    int // offset of the next marker, in bytes of the file
	done    bool
	w, h    uint64
}

// write takes a piece.
func (j *jpeg) write(p []byte) {
	for len(p) > 0 && !j.done {
		if j.at < j.need {
			n := min(j.need-j.at, len(p))
			j.at += n
			p = p[n:]
			continue
		}
		if j.n == 0 {
			j.from = j.at
		}
		n := copy(j.buf[j.n:], p)
		j.n += n
		j.at += n
		p = p[n:]
		for j.n == len(j.buf) && !j.done {
			j.marker() // the next one may lie in the same characters
		}
	}
}

// marker reads the marker at want, which buf holds, and says where the next is.
func (j *jpeg) marker() {
	var b [15]byte
	if n, err := base64.StdEncoding.Decode(b[:], j.buf[:]); err != nil || n < len(b) {
		j.done = true
		return
	}
	m := b[j.want-j.from/4*3:]
	switch {
	case m[0] != 0xff:
		j.done = true
		return
	case m[1] == 0xd8: // start of image
		j.want += 2
	case m[1] == 0xff: // fill
		j.want++
	case m[1] >= 0xc0 && m[1] <= 0xcf && m[1] != 0xc4 && m[1] != 0xc8 && m[1] != 0xcc:
		j.h, j.w = uint64(m[5])<<8|uint64(m[6]), uint64(m[7])<<8|uint64(m[8])
		j.done = true
		return
	default:
		j.want += 2 + (int(m[2])<<8 | int(m[3]))
	}
	j.need = j.want / 3 * 4
	if keep := j.at - j.need; keep > 0 {
		j.n = copy(j.buf[:], j.buf[len(j.buf)-keep:])
		j.from = j.need
		return
	}
	j.n = 0
}
