# Everything is set up by the targets that need it; a second run installs nothing.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO_SECONDS ?= 30

.PHONY: demo test check lint bench bench-peers faults clean

demo: $(VENV)/.demo
	$(BIN)/attwin demo --seconds $(DEMO_SECONDS)

test: $(VENV)/.dev tools
	$(BIN)/pytest $(PYTEST_ARGS)

check: lint test

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy

bench: $(VENV)/.dev tools
	$(BIN)/python bench/ingest.py
	$(BIN)/python bench/load.py cpu senml latency memory writes syscalls growth
	$(BIN)/python bench/overload.py
	$(BIN)/python bench/restart.py
	$(BIN)/python bench/history.py
	$(BIN)/python bench/outbox.py drain bytes
	$(BIN)/python bench/updates.py

# beside Node-RED, Pathway and thingsboard-gateway; needs npm, and installs 2 GB into .bench-peers
bench-peers: $(VENV)/.dev tools
	$(BIN)/python bench/peers.py --messages 200000 --rounds 5

# the long loops and a million fuzzed payloads; about an hour
FAULTS = tests/e2e tests/fuzz tests/adapters/test_salvage.py tests/adapters/test_damaged_log.py
faults: $(VENV)/.dev tools
	rm -f faults.jsonl
	ATTWIN_FAULTS=faults.jsonl $(BIN)/pytest -m "slow or not slow" $(FAULTS) $(PYTEST_ARGS)
	$(BIN)/python tests/support/faults_table.py faults.jsonl

# what tests and benchmarks need beside Python: a real broker, clocks that can be set, networks and file systems that can fail
.PHONY: tools
tools:
	@./.ci/install-tools

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[demo,converter,dev]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .venv* .bench-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis
