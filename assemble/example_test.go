package assemble_test

import (
	"fmt"

	"github.com/evenkeel-dev/evenkeel/assemble"
)

// The answer has the fields of message_start, in their order, with all that
// came later in its place.
func ExampleMessage() {
	var m assemble.Message
	for _, data := range []string{
		`{"type":"message_start","message":{"id":"msg_1","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":9,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"city\":"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"\"Bergen\"}"}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":21}}`,
		`{"type":"message_stop"}`,
	} {
		if err := m.Event([]byte(data)); err != nil {
			fmt.Println(err)
			return
		}
	}
	answer, err := m.JSON()
	fmt.Println(string(answer), err)
	// Output:
	// {"id":"msg_1","role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"weather","input":{"city":"Bergen"}}],"stop_reason":"tool_use","usage":{"input_tokens":9,"output_tokens":21}} <nil>
}
