// Package simapi proves that the official clients of the Claude API take the
// simulated one for the real one: the SDKs for Go and TypeScript, in two major
// versions each, and a Python client that does on the wire what the official
// SDK does. They talk to a [sim.API] on a socket, with nothing between.
//
// Every client is made to do the same tasks and says what it saw in the same
// words, so that one table of expectations serves all; where the documentation
// of an SDK names another class for an error than that of its sibling, the
// table has a column for it. What the tests need beyond Go is installed by
// make setup.
package simapi

import _ "github.com/evenkeel-dev/evenkeel/sim" // for the link above
