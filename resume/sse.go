package resume

import "github.com/evenkeel-dev/evenkeel/internal/rawjson"

// appendEvent writes an event with the data of e.
func appendEvent(dst []byte, name string, e rawjson.Object) []byte {
	if name != "" {
		dst = append(append(append(dst, "event: "...), name...), '\n')
	}
	dst = append(dst, "data: "...)
	at := len(dst)
	dst = e.Append(dst)
	for i, c := range dst[at:] {
		if c == '\n' || c == '\r' { // white space of JSON: in a string it would be escaped
			dst[at+i] = ' '
		}
	}
	return append(dst, "\n\n"...)
}

// appendStop writes the event that ends a block.
func appendStop(dst []byte, index string) []byte {
	dst = append(dst, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":"...)
	return append(append(dst, index...), "}\n\n"...)
}

// appendText writes the event of a piece of text, unless it is empty.
func appendText(dst []byte, index, text string) []byte {
	if text == "" {
		return dst
	}
	dst = append(dst, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"...)
	dst = append(append(dst, index...), `,"delta":{"type":"text_delta","text":`...)
	return append(rawjson.AppendText(dst, text), "}}\n\n"...)
}
