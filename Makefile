# writethrough: a Redis module that writes hashes through to PostgreSQL.
# `make` lists what can be done. scripts/deps installs what is missing (as root, by apt) or
# says what to type.

export PATH := $(PATH):$(HOME)/.cargo/bin

TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)
EXT := $(if $(filter Darwin,$(shell uname)),dylib,so)
MODULE ?= $(TARGET_DIR)/release/libwritethrough.$(EXT)

.DEFAULT_GOAL := help
.PHONY: help build test test-docker test-monitoring matrix dist soak fuzz redis-tests demo bench schema fmt lint audit clean deps

help: ## this list
	@echo 'make …'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1:\2/p' $(MAKEFILE_LIST) | while IFS=: read -r name text; do \
		printf '  %-16s %s\n' "$$name" "$$text"; done

demo: build ## the main job, step by step, on private servers; KEEP=1 leaves them running
	@KEEP=$(KEEP) MODULE=$(MODULE) bash examples/quickstart.sh

test: deps ## all tests, whatever fails on the way; at the end what failed
	@bash scripts/test

test-docker: ## the image on each server with each PostgreSQL, and docker/compose.yaml; needs Docker
	docker/test

matrix: deps ## the tests on Redis 7.0 and 8.0, Valkey 8.1 and 9.1, PostgreSQL 15, 17 and 18
	bash scripts/matrix

test-monitoring: deps ## the alerts, the dashboard, and a real Prometheus that watches a real run
	@bash scripts/monitoring
	cargo test --test it -- monitoring:: dashboard:: --include-ignored

soak: deps ## random tables, then the fault tests, each for SOAK=10 minutes with other choices; a leak test
	SOAK=$(or $(SOAK),10) SEED=$$(date +%s) cargo test --test it -- like_psql
	SOAK=$(or $(SOAK),10) cargo test --test faults

fuzz: deps ## the fuzz targets, each for FUZZ_SECONDS=60 (nightly Rust and cargo-fuzz)
	bash scripts/fuzz

redis-tests: build ## Redis' own tests of hashes, SLOWLOG, ACL with the module loaded; REDIS_SRC=<source tree>
	MODULE=$(MODULE) bash scripts/redis-tests

bench: deps ## the speed beside pgbench, dual writes and plain HSET; QUICK=1, FSYNC=off, GROWTH=1, INSTRUCTIONS=1
	cargo bench --bench bench

build: deps ## the module, for use: target/release/libwritethrough.so
	cargo build --release

schema: ## write examples/writethrough.schema.json, which a test holds against src/config.rs
	WRITE_SCHEMA=1 cargo test --no-default-features --lib config::document::schema

dist: build ## a release in dist/: a tarball, a Debian package, a bill of materials, checksums; tried
	MODULE=$(MODULE) bash scripts/dist
	bash scripts/dist-check

fmt: ## format the code
	cargo fmt

lint: deps ## check the format, and clippy with warnings as errors
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

audit: ## known vulnerabilities, licences and sources of all crates (deny.toml)
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check

clean: ## remove what was built
	cargo clean

deps: ## install what building and testing need (silent when all is there)
	@command -v cargo >/dev/null || { echo 'Missing: the Rust toolchain. See https://rustup.rs' >&2; exit 1; }
	@bash scripts/deps
