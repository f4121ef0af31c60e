package config

import _ "embed"

// Example is a file with every key, why it is there, and its default. Loading
// it changes nothing.
//
//go:embed example.yaml
var Example []byte
