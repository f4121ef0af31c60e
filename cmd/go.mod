module github.com/evenkeel-dev/evenkeel/cmd

go 1.26.0

require (
	github.com/agnivade/levenshtein v1.2.2
	github.com/evenkeel-dev/evenkeel v0.0.0
	github.com/evenkeel-dev/evenkeel/fleet v0.0.0
	github.com/lmittmann/tint v1.2.1
	github.com/redis/go-redis/v9 v9.23.0
	github.com/rogpeppe/go-internal v1.16.0
	github.com/spf13/cobra v1.10.2
	github.com/spf13/pflag v1.0.9
	go.yaml.in/yaml/v4 v4.0.0
	golang.org/x/term v0.47.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/tidwall/gjson v1.20.1 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/tools v0.26.0 // indirect
)

replace github.com/evenkeel-dev/evenkeel => ../

replace github.com/evenkeel-dev/evenkeel/fleet => ../fleet
