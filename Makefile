# One door: `make help` lists what there is.

CARGO ?= cargo
# One profile for the demo and the tests, so that a cold machine compiles once.
TARGET := $(or $(CARGO_TARGET_DIR),target)
BINARIES := $(TARGET)/debug
PACKAGES := tests/lab/install-packages.sh

.DEFAULT_GOAL := help
.PHONY: help deps build images demo test matrix test-all fuzz check fmt bench clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

deps: ## Install the Debian packages that the lab needs (says which and why first)
	@$(PACKAGES)

build: ## Build everything that the demo and the tests run
	$(CARGO) build --locked --workspace --bins

images: deps build ## Build the agent image and the operating-system image (kept between runs)
	$(BINARIES)/lab-images

demo: deps build images ## Take a simulated machine from powered-off to its own operating system; KEEP=1 leaves it running
	$(BINARIES)/demo --reveille $(BINARIES)/reveille $(if $(filter 1,$(KEEP)),--keep)

test: deps build images ## Run the tests, the end-to-end deploy with the real agent included
	.ci/test

# A real Ironic for the matrix, with our DHCP provider as an operator would install it.
$(TARGET)/ironic/bin/ironic: config/ironic-dhcp-reveille/pyproject.toml
	python3 -m venv $(TARGET)/ironic
	$(TARGET)/ironic/bin/pip install --quiet 'ironic>=39,<40'
	touch $@

# What holds the lease API against its description.
$(TARGET)/schemathesis/bin/schemathesis: tests/matrix/openapi/requirements.txt
	python3 -m venv $(TARGET)/schemathesis
	$(TARGET)/schemathesis/bin/pip install --quiet --requirement $<
	touch $@

matrix: deps build images ## The long matrix alone: every firmware, more clients
	@$(PACKAGES) tests/matrix/packages.txt
	@tests/lab/foreign-architecture.sh arm64
	$(MAKE) $(TARGET)/ironic/bin/ironic $(TARGET)/schemathesis/bin/schemathesis
	$(TARGET)/ironic/bin/pip install --quiet --no-deps ./config/ironic-dhcp-reveille
	PYTHONPATH=config/ironic-dhcp-reveille python3 config/ironic-dhcp-reveille/tests/test_options.py
	$(CARGO) test --locked --test matrix

test-all: test matrix ## The tests and the long matrix

fuzz: ## Fuzz the DHCP packet path and the talk with BMCs for SECONDS each (default 300), from SEED or from anywhere
	$(CARGO) run --locked -p reveille-fuzz --bin dhcp-fuzz -- --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED))
	$(CARGO) run --locked -p reveille-fuzz --bin ipmi-fuzz -- --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED))

check: ## Formatting, lints, documentation, dependency rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --test matrix -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	.ci/deny

fmt: ## Format the sources
	$(CARGO) fmt --all

bench: ## Measure beside Kea, ISC dhcpd, dnsmasq, tftpd-hpa, atftpd, nginx and stateless responders; ARGS=--quick, ARGS=--help
	@$(PACKAGES) tests/lab/packages.txt bench/packages.txt
	@bench/peers.sh $(TARGET)/peers tftpd-hpa atftpd
	$(CARGO) build --locked --release -p reveille -p reveille-bench
	$(TARGET)/release/reveille-bench run --reveille $(TARGET)/release/reveille --peers $(TARGET)/peers $(ARGS)

clean: ## Remove what was built here (the images' cache stays)
	$(CARGO) clean
