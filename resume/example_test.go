package resume_test

import (
	"fmt"

	"github.com/evenkeel-dev/evenkeel/resume"
)

// A stream breaks after two words. The rest, asked for with a second request,
// arrives as if nothing had happened.
func Example() {
	var t resume.Transcript
	for _, data := range []string{
		`{"type":"message_start","message":{"id":"msg_1","model":"claude-opus-4-5","content":[],"usage":{"input_tokens":9,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Fair wind"}}`,
	} {
		t.Event([]byte(data))
	}
	body, err := t.Request([]byte(`{"model":"claude-opus-4-5","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"Finish: fair…"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n\n", body)

	s := t.Splice()
	for _, event := range []string{
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_2\",\"content\":[],\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\n",
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" and following seas\"}}\n\n",
		"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
		"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n",
	} {
		out, err := s.Event([]byte(event))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(string(out))
	}
	// Output:
	// {"model":"claude-opus-4-5","max_tokens":49,"stream":true,"messages":[{"role":"user","content":"Finish: fair…"},{"role":"assistant","content":"Fair wind"}]}
	//
	// event: content_block_delta
	// data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" and following seas"}}
	//
	// event: content_block_stop
	// data: {"type":"content_block_stop","index":0}
	//
	// event: message_delta
	// data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5,"input_tokens":21}}
}
