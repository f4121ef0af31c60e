// Package proof holds the tests of evenkeel that need more than the standard
// library: the official clients, property tests, leak checks, scripts that run
// the binary, and comparisons with other libraries.
//
// Nothing imports it. It is a module of its own so that whoever imports
// evenkeel pins none of what it takes to prove it.
package proof
