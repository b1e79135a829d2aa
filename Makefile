# The two commands: `make demo` and `make test`. Each makes or re-uses .venv; nothing but Python 3.11 to 3.13, make and
# git is asked of the machine. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
# The first Python that runs and is of a version that we support; `make PYTHON=/some/python setup` chooses another.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)
# Processes of pytest.
WORKERS ?= 2

export DBT_SEND_ANONYMOUS_USAGE_STATS := false
export DAGSTER_DISABLE_TELEMETRY := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

##@ Start here

.PHONY: demo
demo: setup ## real pulls through Dagster against an embedded instance, in one go
	@$(BIN)/snow-assets demo

.PHONY: test
test: setup ## linters, types and tests
	@$(MAKE) --no-print-directory -j2 lint pytest

.PHONY: setup
setup: $(VENV)/.installed .dagster/dagster.yaml ## .venv from the lock, .env and the home of Dagster

.PHONY: ui
ui: setup ## Dagster's UI on this folder
	@$(BIN)/dg dev

##@ Checks

.PHONY: lint
lint: setup ## ruff and mypy
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet || { $(BIN)/ruff format --check; exit 1; }
	@$(BIN)/mypy

.PHONY: pytest
pytest: setup ## tests, in $(WORKERS) processes
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not slow"

.PHONY: test-slow
test-slow: setup ## tests that start a database or Dagster's daemon
	@$(BIN)/pytest -q -m slow

.PHONY: kills
kills: setup ## SIGKILL at N random moments of pulls of ROWS rows (SEED repeats them)
	@$(BIN)/python -m snow_assets_tests.kills --kills $(or $(N),100) --rows $(or $(ROWS),100000) $(if $(SEED),--seed $(SEED))

.PHONY: import-kills
import-kills: setup ## SIGKILL at random moments of N=50 imports, each taken up by a new process (SEED repeats them)
	@$(BIN)/python -m snow_assets_tests.import_kills --loads $(if $(filter file,$(origin N)),50,$(N)) --seed $(SEED)

# Pulls of `make chaos`, and the number of the first: the same numbers mean the same pulls.
N ?= 200
SEED ?= 1

.PHONY: chaos
chaos: setup ## N=1000 pulls under random faults, drift and kills, from SEED=1 on
	@$(BIN)/python -m snow_assets_tests.chaos --n $(N) --seed $(SEED) --workers $(WORKERS)

.PHONY: replay
replay: setup ## the real event log followed by MOMENTS=30 deltas, held against the log after each (LOG=file, SEED=1)
	@$(BIN)/python -m snow_assets_tests.replay --moments $(or $(MOMENTS),30) --seed $(SEED) $(if $(LOG),--log $(LOG))

.PHONY: peers
peers: setup ## other clients' own test suites against the simulator
	@bench/peers.sh

.PHONY: format
format: setup ## let ruff put things right
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

##@ Packaging

.PHONY: lock
lock: setup ## requirements.lock anew from pyproject.toml (`make lock UPGRADE=--upgrade`)
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 $(UPGRADE) \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet \
		--output-file requirements.lock

.PHONY: wheel
wheel: setup ## dist/*.whl
	@$(BIN)/python -m hatchling build -t wheel

.PHONY: clean
clean: ## remove what is made here, but neither data/ nor .dagster/
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache dbt/target dbt/logs

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' \
		$(firstword $(MAKEFILE_LIST))

# A file is the sign that this is done, so that a second call takes no time.

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 to 3.13 on the PATH; name one: make PYTHON=..." >&2; exit 2; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml deploy/install.py | $(BIN)/python
	@echo "Installing from requirements.lock" >&2
	@$(BIN)/python deploy/install.py
	@touch $@

.dagster/dagster.yaml: | $(VENV)/.installed
	@$(BIN)/python -m snow_assets.dagster_home
