# Every target is a door to a script or a go command; make help lists them.
# The long way round is never needed: go test ./... works in every module.

ARGS      ?=
TESTFLAGS ?=
FUZZTIME  ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check bench prove format setup

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## show the main job on a simulated API; needs no key (ARGS="--for 20s")
	@go run ./cmd/evenkeel demo $(ARGS)

test: ## install what is missing, check, and run every test (TESTFLAGS="-run Name")
	@scripts/setup
	@scripts/check
	@scripts/each-test -race -shuffle=on -timeout 10m $(TESTFLAGS)

check: ## format, vet, lint, vulnerabilities, generated files, tidy modules
	@scripts/setup tools
	@scripts/check $(ARGS)

bench: ## run and print every benchmark (BENCH=pattern, ARGS="-count 10")
	@scripts/each-func bench $(ARGS)

prove: ## fuzz every target (1m, some longer; FUZZTIME=10s), then the long proofs in real time
	@scripts/setup clients
	@scripts/setup servers
	@scripts/each-func fuzz $(if $(FUZZTIME),-fuzztime $(FUZZTIME))
	@scripts/each-test -C proof -C fleet -p 1 -tags prove -count 1 -timeout 2h -v $(TESTFLAGS)

format: ## write the Go files as check wants them
	@scripts/setup tools
	@.tools/bin/golangci-lint fmt

setup: ## install what the tests need, and nothing that is there already
	@scripts/setup
