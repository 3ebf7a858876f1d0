# Two commands: `make demo` (captures to flows, verdicts and alerts, end to end) and `make test` (everything that is checked).
# Both install what they need on a bare Debian or Ubuntu with a Rust toolchain, and share one profile and target folder.
# `make testbed` makes labelled traffic and the training table: testbed/README.md.

.PHONY: demo test testbed
.DEFAULT_GOAL := demo

CARGO ?= cargo
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# libpcap compiles the BPF filters; a C compiler links. Nothing is installed if both are there.
define system_packages
@if ! command -v cc >/dev/null || ! [ -e /usr/include/pcap/pcap.h ]; then \
	$(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq gcc libc6-dev libpcap-dev; fi
endef

demo:
	$(system_packages)
	$(CARGO) build --release --bin tapline
	@mkdir -p .demo
	target/release/tapline replay --model models/default --alerts .demo/alerts.ndjson \
		--truth tests/data/demo.truth.csv -o .demo/flows.csv --stats .demo/stats.json tests/data/demo.pcap.zst
	@echo
	@echo "the first rows of .demo/flows.csv, some columns:"
	@cut -d, -f2-6,16,18,19,20,21,22 .demo/flows.csv | head -8
	@echo
	target/release/tapline replay --quiet --schema cic-gints -o .demo/cic-gints.csv tests/golden/fuzz03.pcap
	@tail -n +2 .demo/cic-gints.csv | sort > .demo/rows && sort tests/golden/fuzz03.gints.csv | cmp - .demo/rows \
		&& echo "schema cic-gints: the rows of tests/golden/fuzz03.pcap are CICFlowMeter's, byte for byte"

test:
	$(system_packages)
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --all --check; \
	else echo "skipped: rustfmt is not part of this toolchain"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then \
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings; \
	else echo "skipped: clippy is not part of this toolchain"; fi
	@if [ "$$(id -u)" = 0 ]; then testbed/setup mini >/dev/null || echo "the testbed's packages cannot be installed"; fi
	$(CARGO) build --release --package tapline-wire
	$(CARGO) test --release --workspace
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps --quiet

SITES ?= mini
ALL_SITES := a b c d e f a-night d-night e-night f-night
testbed: RUNS = $(if $(filter all,$(SITES)),$(ALL_SITES),$(SITES))
testbed:
	$(system_packages)
	$(CARGO) build --release --bin tapline --package tapline --package tapline-wire
	@python=$$(testbed/setup $(filter mini,$(SITES))) && $(SUDO) env TAPLINE_TESTBED_PYTHON=$$python \
		$(if $(MINUTES),TAPLINE_TESTBED_MINUTES=$(MINUTES)) $(if $(SEED),TAPLINE_TESTBED_SEED=$(SEED)) \
		testbed/sites .testbed/runs $(RUNS)
	target/release/tapline dataset build --out .testbed/dataset $(addprefix .testbed/runs/,$(RUNS))
