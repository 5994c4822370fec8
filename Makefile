# One door: `make help` lists what there is.

CARGO ?= cargo
# One profile for the demo and the tests, so that a cold machine compiles once.
BINARIES := target/debug
PACKAGES := tests/lab/install-packages.sh

.DEFAULT_GOAL := help
.PHONY: help deps build images demo test test-all check fmt bench clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

deps: ## Install the Debian packages that the lab needs (says which and why first)
	@$(PACKAGES)

build: ## Build everything that the demo and the tests run
	$(CARGO) build --locked --workspace --bins

images: deps build ## Build the agent image and the operating-system image (kept between runs)
	$(BINARIES)/lab-images

demo: deps build images ## Take a simulated machine from powered-off to its own operating system; KEEP=1 leaves it running
	$(BINARIES)/demo --reveille $(BINARIES)/reveille $(if $(filter 1,$(KEEP)),--keep)

test: deps build images ## Run the tests, the end-to-end deploy with the real agent included
	.ci/test quick

test-all: deps build images ## The long matrix as well
	.ci/test all

check: ## Formatting, lints, documentation, dependency rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	.ci/deny

fmt: ## Format the sources
	$(CARGO) fmt --all

bench: ## Measure: new-lease DORA/s, durable, beside Kea and a stateless responder
	@$(PACKAGES) tests/lab/packages.txt bench/packages.txt
	$(CARGO) build --locked --release --bin reveille --bin reveille-bench
	target/release/reveille-bench dora --reveille target/release/reveille

clean: ## Remove what was built here (the images' cache stays)
	$(CARGO) clean
