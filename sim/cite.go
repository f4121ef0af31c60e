package sim

import "unicode"

// maxCited is how many documents an answer cites.
const maxCited = 3

// citations returns what an answer cites: a passage of each document whose
// request enables citations, as far as its text is in the request. Of PDFs and
// files it is not, and they are passed over.
func (r request) citations(seed uint64) (cites [][]byte) {
	index := 0
	for _, turn := range r.turns {
		for _, p := range turn.parts {
			if p.kind != "document" {
				continue
			}
			if p.object.field("citations").field("enabled").kind() == 't' && len(cites) < maxCited {
				if c := cite(p.object, index, mix(seed, uint64(index))); c != nil {
					cites = append(cites, c)
				}
			}
			index++
		}
	}
	return cites
}

// cite returns a citation of a document, or nil if its text is not there.
// Places are counted in characters from 0, ends are one past (“Citations”,
// platform.claude.com).
func cite(document raw, index int, draw uint64) []byte {
	source := document.field("source")
	type location struct {
		Type  string  `json:"type"`
		Text  string  `json:"cited_text"`
		Index int     `json:"document_index"`
		Title *string `json:"document_title"`
		File  *string `json:"file_id"`
	}
	at := location{Index: index}
	if title := document.field("title").bytes(); title != nil {
		text := string(title)
		at.Title = &text
	}
	switch string(source.field("type").bytes()) {
	case "text":
		text := []rune(string(source.field("data").bytes()))
		start, end := passage(text, draw)
		at.Type, at.Text = "char_location", string(text[start:end])
		if start == end {
			return nil
		}
		return marshal(struct {
			location
			Start int `json:"start_char_index"`
			End   int `json:"end_char_index"`
		}{at, start, end})
	case "content":
		for i, block := range source.field("content").items() {
			if text := block.field("text").bytes(); text != nil {
				at.Type, at.Text = "content_block_location", string(text)
				return marshal(struct {
					location
					Start int `json:"start_block_index"`
					End   int `json:"end_block_index"`
				}{at, i, i + 1})
			}
		}
	}
	return nil
}

// passage draws some words of a text: from the beginning of a word, at most 60
// characters (guess).
func passage(text []rune, draw uint64) (start, end int) {
	if len(text) == 0 {
		return 0, 0
	}
	start = int(draw % uint64(len(text)))
	for start > 0 && !unicode.IsSpace(text[start-1]) {
		start--
	}
	return start, min(len(text), start+60)
}
