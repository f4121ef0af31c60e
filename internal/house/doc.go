// Package house keeps the repository in order: its tests say who may import
// whom, what every package and file owes its reader, and what importers of the
// library compile. It has no code of its own, and nothing imports it.
//
// Each rule is a function from the files of a repository to a list of
// complaints, so that it can be shown, on a few made-up files, that the rule
// bites; then it is held against the real ones.
package house
