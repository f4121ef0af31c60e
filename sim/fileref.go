package sim

import (
	"bytes"
	"encoding/json"
)

// unknownFile returns the answer to a request whose messages refer to a file
// that does not exist, or nil.
func (t *attempt) unknownFile(in input) *reject {
	if !bytes.Contains(in.body, []byte(`"file_id"`)) { // most refer to none
		return nil
	}
	var body struct {
		Messages []struct{ Content json.RawMessage }
	}
	if json.Unmarshal(in.body, &body) != nil {
		return nil // wrong in a way that others tell
	}
	for _, turn := range body.Messages {
		for _, id := range fileIDs(turn.Content) {
			if !t.fileKnown(id) {
				return missing("File not found: " + id)
			}
		}
	}
	return nil
}

// fileIDs returns the files that content blocks refer to: as the source of a
// document or image, in a container_upload, or inside a tool_result. What a
// tool calls file_id is its own affair.
func fileIDs(content json.RawMessage) []string {
	var blocks []struct {
		Type   string
		FileID string `json:"file_id"`
		Source struct {
			Type   string
			FileID string `json:"file_id"`
		}
		Content json.RawMessage
	}
	if json.Unmarshal(content, &blocks) != nil {
		return nil // a string
	}
	var ids []string
	for _, b := range blocks {
		switch {
		case b.Source.Type == "file":
			ids = append(ids, b.Source.FileID)
		case b.Type == "container_upload":
			ids = append(ids, b.FileID)
		case b.Type == "tool_result":
			ids = append(ids, fileIDs(b.Content)...)
		}
	}
	return ids
}
