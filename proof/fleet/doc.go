// Package fleet runs gateways as processes in front of the simulated API, with
// one Redis between them, and ends and freezes what they depend on. What goes
// through, and in what order, is measured at the API.
//
//	go test -v ./fleet
package fleet
