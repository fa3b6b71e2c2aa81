# kmipd. `make` alone lists the targets.

SHELL := /bin/bash

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
DIR      ?= .dev
PORT     ?= 5696
FUZZTIME ?= 10s

# Linters run as Go tools at these versions; none of them is a dependency of the module.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The certified version of Go's cryptographic module is built in. It is on in strict policies (kmipd starts itself again), and
# off in the default one, whose clients may need TLS that it refuses.
GOFIPS140 ?= v1.0.0

GO_BUILD := CGO_ENABLED=1 GOFIPS140=$(GOFIPS140) go build -trimpath -ldflags '-X main.version=$(VERSION)'
GO_TEST  := go test -count=1 -timeout 20m

# What runs without a server of its own: the packages, but not softhsm-tests.
PACKAGES := ./cmd/... ./fips/... ./hsm/... ./keystore/... ./kmip/... ./metadata/...

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## install what is missing: gcc, libc6-dev, softhsm2, opensc, python3-pykmip (Debian, as root or with sudo)
	@.ci/deps

.PHONY: deps-run
deps-run:
	@.ci/deps --run

.PHONY: build
build: ## build bin/kmipd and bin/kmipctl, with Go's certified cryptographic module (GOFIPS140=v1.0.0)
	@mkdir -p bin
	$(GO_BUILD) -o bin/kmipd ./cmd/kmipd
	$(GO_BUILD) -o bin/kmipctl ./cmd/kmipctl

.PHONY: run
run: deps-run build ## run a server on a SoftHSM2 token of its own and make a first key (PORT=5696 DIR=.dev)
	@DIR='$(DIR)' PORT='$(PORT)' exec .ci/first-run

.PHONY: test
test: deps ## run all tests, those with SoftHSM2 and PyKMIP too
	$(GO_TEST) ./...

.PHONY: test-fips
test-fips: deps ## run the tests of policies, rules and token under fips140=on and fips140=only (.ci/fips-exceptions)
	@.ci/test-fips

.PHONY: race
race: deps ## run the tests of the packages under the race detector
	CGO_ENABLED=1 $(GO_TEST) -race $(PACKAGES)

.PHONY: fuzz
fuzz: ## run every fuzz target for a short time (FUZZTIME=10s)
	@FUZZTIME='$(FUZZTIME)' .ci/fuzz

.PHONY: cover
cover: ## measure test coverage of the packages
	$(GO_TEST) -coverprofile=coverage.out -coverpkg=./cmd/...,./fips/...,./hsm/...,./keystore/...,./kmip/...,./metadata/... $(PACKAGES)
	@go tool cover -func=coverage.out | tail -1
	@echo 'go tool cover -html=coverage.out shows the lines'

.PHONY: generate
generate: ## write the generated files (kmip/z*.go) anew
	go generate ./...

.PHONY: check
check: ## fail when go.mod, formatting or generated files are not as the tools write them
	@.ci/check

.PHONY: lint
lint: ## run go vet and the linters of .golangci.yml
	go vet ./...
	go run $(GOLANGCI_LINT) run ./...

.PHONY: vuln
vuln: ## look for known vulnerabilities (needs the network, so it is no part of .ci/run)
	go run $(GOVULNCHECK) ./...

.PHONY: softhsm
softhsm: deps ## run the tests that need SoftHSM2; its absence is a failure here
	KMIPD_REQUIRE_SOFTHSM=1 $(GO_TEST) ./hsm/... ./softhsm-tests/...

.PHONY: conformance
conformance: deps ## play the OASIS cases against the built server, and print the table (needs ../shared)
	cd softhsm-tests && KMIPD_REQUIRE_SOFTHSM=1 $(GO_TEST) -run '^TestConformance$$'

.PHONY: pykmip
pykmip: deps ## run the Python client's flow
	KMIPD_REQUIRE_SOFTHSM=1 $(GO_TEST) -v -run '^TestPyKMIP$$' ./softhsm-tests

.PHONY: crash
crash: deps ## kill the server under load, again and again (KMIPD_CRASH_ROUNDS=15)
	KMIPD_REQUIRE_SOFTHSM=1 KMIPD_CRASH_ROUNDS=$${KMIPD_CRASH_ROUNDS:-15} $(GO_TEST) -v -run '^TestCrash$$' ./softhsm-tests

.PHONY: bench
bench: deps ## measure operations against their floor, the codec, and Locate among 1,000 to 100,000 records
	$(GO_TEST) -v -run '^TestBench$$' ./softhsm-tests -bench-report
	go test -run '^$$' -bench . -benchmem ./kmip/... ./metadata/pebble

.PHONY: clean
clean: ## remove what the build and the tests made; .dev, which holds keys, stays
	rm -rf bin coverage.out
