# `make run` starts a database, `make test` proves it, `make bench` measures it.
# Builds go to a folder outside the checkout, so that every checkout shares the dependencies.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/glaredb/target
PORT ?= 5432
SEED ?= 1
DATA ?= ./data
RELEASE := $(CARGO_TARGET_DIR)/release/glaredb
DEBUG := $(CARGO_TARGET_DIR)/debug/glaredb

.PHONY: help run build test test-tools lint deny unit e2e slt-expect differential regress regress-floor sim kills tpch-sf1 fuzz bench clean

help:
	@echo "make run    build and start a database in $(DATA) on port $(PORT)"
	@echo "make test   install what the tests need and run all of them"
	@echo "make lint   format, clippy, licences"
	@echo "make bench  measure against PostgreSQL and DuckDB (installs them)"
	@echo "make sim    1,000 seeds of every simulation     make kills  the kill tests, 20 rounds each"
	@echo "make tpch-sf1  TPC-H's answers against DuckDB's at SF1, in every form that rows have"
	@echo "make regress  PostgreSQL's regression scripts on PostgreSQL 15 and on us, statement by statement"
	@echo "make differential  70 minutes of generated expressions, nested queries and changes beside PostgreSQL (SEED=1)"
	@echo "make fuzz   the decoders, 10 million inputs each; the protocol, a million messages"

build:
	@scripts/install-tools build
	cargo build --release -p glaredb-server --bin glaredb
	@ln -sf $(RELEASE) glaredb

run: build
	@$(RELEASE) server -p $(PORT) --data-dir $(DATA)

# One build for everything that is tested: the same features everywhere, so nothing builds twice.
test:
	scripts/install-tools test
	cargo build --workspace --all-features
	cargo nextest run --workspace --all-features

lint:
	scripts/install-tools lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	# As it is shipped: without the features of tests.
	cargo clippy --workspace -- -D warnings
	cargo deny --all-features check bans licenses sources

sim:
	scripts/install-tools test
	GLAREDB_SIM_SEEDS=1000 cargo nextest run --release --workspace --all-features -E 'test(/sim/)' --no-capture

kills:
	scripts/install-tools test
	cargo build --workspace --all-features
	GLAREDB_KILL_ROUNDS=20 cargo nextest run -p glaredb-tests --all-features -E 'binary(kill)' --no-capture

# Ten minutes with a release binary: in memory, in segments on the disk and in S3, changed, restarted.
tpch-sf1: build
	scripts/install-tools test
	GLAREDB_TPCH_SCALE=1 GLAREDB_BIN=$(RELEASE) cargo nextest run -p glaredb-tests --all-features -E 'binary(tpch)' --no-capture

fuzz:
	scripts/install-tools test
	GLAREDB_FUZZ_ITERATIONS=10000000 GLAREDB_FUZZ_MESSAGES=1000000 cargo nextest run --release --workspace --all-features -E 'test(/fuzz/)' --no-capture

# Twenty minutes each of generated expressions, nested queries and changes, on PostgreSQL 15 and on us.
differential:
	scripts/install-tools test
	cargo build --workspace --all-features
	cargo run -p glaredb-tests --all-features --bin differential -- --seconds 1200 --seed $(SEED)
	cargo run -p glaredb-tests --all-features --bin nested -- --seconds 1200 --seed $(SEED) --shrink 1
	cargo run -p glaredb-tests --all-features --bin changes -- --seconds 600 --seed $(SEED)
	cargo run -p glaredb-tests --all-features --bin changes -- --seconds 600 --seed $(SEED) --rewriting 1
	cargo run -p glaredb-tests --all-features --bin changes -- --seconds 600 --seed $(SEED) --s3 1

# PostgreSQL's own regression scripts on PostgreSQL 15 and on us (SCRIPTS="int4 join" for some).
REGRESS := cargo run -p glaredb-tests --all-features --bin pg-regress -- --sources $(HOME)/.cache/glaredb/regress
regress:
	scripts/install-tools test
	cargo build --workspace --all-features
	$(REGRESS) $(SCRIPTS)

# What tests/tests/regress.rs holds the scripts to from now on.
regress-floor:
	scripts/install-tools test
	cargo build --workspace --all-features
	$(REGRESS) --floor tests/regress/floor.txt

# Writes the expected results of tests/slt/*.slt anew from PostgreSQL 15.
slt-expect:
	scripts/install-tools test
	cargo run -p glaredb-tests --all-features --bin slt-expect

bench: build
	scripts/install-tools bench
	cargo run --release -p glaredb-benches -- --glaredb $(RELEASE)

clean:
	cargo clean
