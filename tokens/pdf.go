package tokens

import (
	"bytes"
	"encoding/base64"
)

// windows are the two ends of a PDF in base64. The page tree is usually at one
// of them, and its root says how many pages there are; what is between is
// skipped as fast as an image is.
type windows struct {
	head, tail [windowChars]byte
	plain      [windowChars / 4 * 3]byte
}

// windowChars is how much of each end is looked at: a whole number of quads.
const windowChars = 64 << 10

// write takes a piece, of which at characters came before.
func (w *windows) write(at int, p []byte) {
	if at < windowChars {
		n := copy(w.head[at:], p)
		at, p = at+n, p[n:]
	}
	if len(p) > windowChars {
		at += len(p) - windowChars
		p = p[len(p)-windowChars:]
	}
	for len(p) > 0 { // tail is a ring
		n := copy(w.tail[at%windowChars:], p)
		at, p = at+n, p[n:]
	}
}

// bytesPerPage is what a page takes on average where a PDF does not say how
// many it has: a guess, between a page of text (some 10 KB) and a scanned one.
const bytesPerPage = 50 << 10

// pages returns the number of pages of a PDF of so many characters.
func (w *windows) pages(total int) int {
	n := pageCount(w.decode(w.head[:min(total, windowChars)]))
	if n == 0 && total > windowChars {
		n = pageCount(w.decode(w.end(total)))
	}
	if n == 0 {
		n = (total/4*3 + bytesPerPage - 1) / bytesPerPage
	}
	return max(1, n)
}

// end puts the ring in order, and cuts it at a quad.
func (w *windows) end(total int) []byte {
	have := min(total-windowChars, windowChars)
	start := total - have
	start = (start + 3) &^ 3
	have = total - start
	// The head has been looked at; its room is free.
	n := copy(w.head[:have], w.tail[start%windowChars:])
	if n < have {
		copy(w.head[n:have], w.tail[:])
	}
	return w.head[:have]
}

// decode decodes characters; a fault ends them.
func (w *windows) decode(chars []byte) []byte {
	chars = bytes.TrimRight(chars, "=")
	n, _ := base64.RawStdEncoding.Decode(w.plain[:], chars)
	return w.plain[:n]
}

// nodeBytes is how far a node is searched for its count; those with 600
// children have some 6 KB. Without a bound a file of nothing but beginnings
// would cost the square of its length.
const nodeBytes = 8 << 10

// maxPages bounds what is believed: the API takes up to 600 pages.
const maxPages = 600

// pageCount finds the number of pages in a part of a PDF: as a linearized file
// states it at its beginning, else the largest count of a node of the page
// tree, which is its root's; 0 if there is none. Where the tree is compressed
// nothing is found.
func pageCount(b []byte) (n int) {
	start := b[:min(len(b), 1<<10)]
	if i := bytes.Index(start, []byte("/Linearized")); i >= 0 {
		dict, _, _ := bytes.Cut(start[i:], []byte(">>"))
		if _, after, ok := bytes.Cut(dict, []byte("/N ")); ok {
			if n := leadingNumber(after); n > 0 {
				return min(n, maxPages)
			}
		}
	}
	for {
		_, after, ok := bytes.Cut(b, []byte("/Pages"))
		if !ok {
			return min(n, maxPages)
		}
		// A node is an object: what is before its type belongs to it as well.
		before := b[:len(b)-len(after)-len("/Pages")]
		if isType(before) {
			if i := bytes.LastIndex(before, []byte("obj")); i >= 0 {
				before = before[i:]
			}
			own, _, _ := bytes.Cut(after[:min(len(after), nodeBytes)], []byte("endobj"))
			n = max(n, countIn(before[max(0, len(before)-nodeBytes):]), countIn(own))
		}
		b = after
	}
}

// isType tells whether b ends in a key /Type.
func isType(b []byte) bool {
	return bytes.HasSuffix(bytes.TrimRight(b, " \r\n\t"), []byte("/Type"))
}

// countIn returns the value of /Count in a dictionary, or 0.
func countIn(dict []byte) int {
	_, after, ok := bytes.Cut(dict, []byte("/Count"))
	if !ok {
		return 0
	}
	return leadingNumber(after)
}

// leadingNumber reads the number that b begins with, after white space.
func leadingNumber(b []byte) (n int) {
	for _, c := range bytes.TrimLeft(b, " \r\n\t") {
		if c < '0' || c > '9' || n > 1<<20 {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}
