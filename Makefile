# What people and CI call. `make` alone lists it.

CARGO ?= cargo
PYTHON ?= python3
TARGET ?=
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mtrelay
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
LUCI_ENV = CACHE='$(CACHE)' MTRELAY_BIN='$(abspath $(TARGET_DIR))/debug/mtrelay' LUCI_SERVER_BIN='$(abspath $(TARGET_DIR))/debug/luci_server'

CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
DENY_FLAGS := --workspace --config .deny.toml

CODESPELL_VERSION := $(shell sed -n 's|^codespell==\([0-9.]*\).*|\1|p' .ci/codespell.txt)
CODESPELL := $(CACHE)/codespell-$(CODESPELL_VERSION)
SPELLED := *.md .ci/* Makefile docs luci openwrt src tests

CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := $(CACHE)/cargo-fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz
SECONDS ?= 15

DURATION ?= 60

.PHONY: help run cross package feed-size shares memory instructions test-cross fuzz robustness soak test test-router test-rust test-slow test-genuine test-luci screenshots lint lint-fmt lint-clippy lint-deny lint-doc docs-check vectors dialing footprint bench reactor-compare test-async-io

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build the relay and run it: a fresh secret, its link and its QR code
	$(CARGO) build --release
	$(TARGET_DIR)/release/mtrelay run

test: test-rust test-genuine test-fetch test-router test-luci ## all tests; installs what they need

test-rust: ## the tests in Rust: units, documentation, the relay against a fake data centre
	$(CARGO) test --workspace

test-async-io: ## the integration suite and the units of the core on the reactor of async-io
	$(CARGO) test --package mtrelay-core --features async-io
	$(CARGO) test --features async-io

test-genuine: ## TDLib and Telethon through the relay, and the vectors they are checked with
	$(CARGO) build --workspace --bins
	CACHE='$(CACHE)' MTRELAY_BIN='$(abspath $(TARGET_DIR))/debug/mtrelay' FAKEDC_BIN='$(abspath $(TARGET_DIR))/debug/fakedc' \
		tests/genuine/run

test-fetch: ## mtfetch with a real redis-server, curl and ffmpeg
	CARGO='$(CARGO)' tests/fetch/run

test-router: ## the packages, the service's script, installing and removing, in a scratch router
	PYTHON='$(PYTHON)' tests/router/run

test-luci: ## LuCI's page in headless Chromium, against the real daemon; LUCI_SRC=… for LuCI's own runtime
	$(CARGO) build --workspace --bins
	$(LUCI_ENV) tests/luci/run

screenshots: ## pictures of the page in dist/screenshots: every tab, theme and scheme; LUCI_SRC=… for LuCI's own themes
	$(CARGO) build --workspace --bins
	$(LUCI_ENV) tests/luci/run screenshots '$(abspath dist)/screenshots'

test-cross: ## the integration suite against the daemons of four processors, and unit tests on big-endian MIPS, under qemu
	CARGO='$(CARGO)' $(PYTHON) tests/cross/run.py $(TARGET)

cross: ## static binaries for routers in dist/bin; TARGET=mipsel_24kc (OpenWrt's names) for one
	$(PYTHON) openwrt/build/cross.py --target '$(TARGET)'

package: ## packages for opkg and apk, and the index of a feed, in dist; TARGET as with cross
	$(PYTHON) openwrt/build/package.py --target '$(TARGET)'

dialing: ## how long sessions wait at bad addresses: the table of docs/dialing.md (needs root, for a network namespace)
	$(CARGO) test --test it -- --ignored --nocapture dialing_table

test-slow: ## the timeout of minutes after which the kernel gives up a DC that stopped acknowledging (needs root)
	MTRELAY_TEST_PATIENCE=20 $(CARGO) test --test it -- --ignored --exact dialing::a_dc_that_vanishes_ends_its_session_as_dc_timeout

feed-size: ## size of the relay with the flags of OpenWrt's own build system, into docs/size.md; TARGET as with cross
	$(PYTHON) openwrt/build/feed.py --target '$(TARGET)'

shares: ## each dependency's part of the mipsel binary, into docs/size.md
	$(PYTHON) openwrt/build/shares.py

memory: ## memory of the idle daemon on a MIPS router, under Debian's kernel in qemu-system
	$(PYTHON) tests/cross/memory.py

instructions: ## instructions per byte on a MIPS and on an ARM router, counted by qemu
	CARGO='$(CARGO)' $(PYTHON) tests/cross/instructions.py

footprint: ## the size of the release binary, and its memory when idle
	$(CARGO) build --release
	tests/bench/footprint $(TARGET_DIR)/release/mtrelay

# libFuzzer needs a C++ compiler. Its instrumentation is unstable in rustc. The sanitizers find faults of `unsafe` code, and the
# parsers of a peer's bytes have none.
fuzz: $(CARGO_FUZZ) ## every fuzz target for SECONDS=15 each, from its seeds and the corpus of earlier runs
	@command -v c++ >/dev/null || { echo 'fuzz: libFuzzer needs a C++ compiler (apt-get install g++)' >&2; exit 1; }
	@export RUSTC_BOOTSTRAP=1; \
	for target in $$($(CARGO_FUZZ) list --fuzz-dir tests/fuzz); do \
		mkdir -p tests/fuzz/corpus/$$target && \
		$(CARGO_FUZZ) run --fuzz-dir tests/fuzz --sanitizer none --target-dir '$(abspath $(TARGET_DIR))/fuzz' $$target \
			tests/fuzz/corpus/$$target tests/fuzz/seeds/$$target -- \
			-max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=512 -print_final_stats=1 -verbosity=0 || exit; \
	done

$(CARGO_FUZZ):
	$(CARGO) install cargo-fuzz --version $(CARGO_FUZZ_VERSION) --locked --root '$(CACHE)/cargo-fuzz-$(CARGO_FUZZ_VERSION)'

robustness: ## attacks on the release binary; writes the table of docs/robustness.md
	$(CARGO) build --release
	MTRELAY_BIN='$(abspath $(TARGET_DIR))/release/mtrelay' MTRELAY_TABLE='$(CURDIR)/docs/robustness.md' \
		$(CARGO) test --test it -- --ignored --exact robustness::hostile_acts_leave_no_memory_or_descriptors_behind

soak: ## mixed load on the release binary for DURATION=60 seconds
	$(CARGO) build --release
	MTRELAY_BIN='$(abspath $(TARGET_DIR))/release/mtrelay' MTRELAY_SOAK_SECONDS=$(DURATION) \
		$(CARGO) test --test it -- --nocapture --exact soak::memory_and_descriptors_stay_flat_under_mixed_load

lint: lint-fmt lint-clippy lint-deny lint-doc docs-check ## format, clippy, dependencies and their licences, documentation

lint-fmt:
	$(CARGO) fmt --all --check

lint-clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --package mtfetch --all-targets --features redis -- -D warnings
	$(CARGO) clippy --package mtrelay-core --package mtrelay --package mtfetch --features async-io -- -D warnings

# The advisories are in a remote repository: if it cannot be reached, a message says so and the target passes.
lint-deny: $(CARGO_DENY)
	$(CARGO_DENY) $(DENY_FLAGS) check bans licenses sources
	@if GIT_TERMINAL_PROMPT=0 timeout 120 $(CARGO_DENY) $(DENY_FLAGS) fetch db; then \
		$(CARGO_DENY) $(DENY_FLAGS) --offline check advisories; \
	else \
		echo 'lint: the advisory database cannot be reached from here; advisories were NOT checked' >&2; \
	fi

$(CARGO_DENY):
	$(CARGO) install cargo-deny --version $(CARGO_DENY_VERSION) --locked --root '$(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)'

lint-doc:
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps --workspace --document-private-items

# The first tests compare the pages with the tree, the others the generated pages with the tables they are made from.
docs-check: $(CODESPELL) ## documents: links, paths and words true, generated pages fresh, spelling
	PYTHONPATH='$(CODESPELL)' $(PYTHON) -m codespell_lib $(SPELLED)
	$(CARGO) test --quiet --test it -- docs options_page metrics_page

# Moved to its name once it is whole. Debian's Python has no pip of its own.
$(CODESPELL):
	PYTHONPATH=openwrt/build $(PYTHON) -B -c 'import toolchain; toolchain.require_pip()'
	rm -rf '$@.new'
	$(PYTHON) -m pip install --quiet --no-input --disable-pip-version-check --no-deps --require-hashes --target '$@.new' -r .ci/codespell.txt
	mv '$@.new' '$@'

vectors: ## computes the vectors again, and captures what TDLib and Telethon send
	CACHE='$(CACHE)' tests/genuine/run vectors

bench: ## CPU, latency and memory of the relay, beside a copying and a splicing relay; CASES selects cases
	$(CARGO) build --release
	$(CARGO) build --release -p mtrelay-bench
	$(TARGET_DIR)/release/mtrelay-bench $(TARGET_DIR)/release/mtrelay $(CASES)

COMPARED := $(TARGET_DIR)/reactor-compare

reactor-compare: ## the relay on its own reactor and on that of async-io: CPU, latency, memory, system calls, size
	mkdir -p $(COMPARED)
	$(CARGO) build --release -p mtrelay-bench
	$(CARGO) build --release --features async-io
	cp $(TARGET_DIR)/release/mtrelay $(COMPARED)/async-io
	$(CARGO) build --release
	cp $(TARGET_DIR)/release/mtrelay $(COMPARED)/own
	$(PYTHON) openwrt/build/reactors.py
	$(TARGET_DIR)/release/mtrelay-bench compare own=$(COMPARED)/own async-io=$(COMPARED)/async-io
