# Everything that a contributor runs. Needs Python 3.11 or newer and make; the rest goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
POSTGRES_15 ?= /usr/lib/postgresql/15/bin
# What pytest is given besides: make test ARGS="-k spans"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-system test-reliability check bench format clean
.DELETE_ON_ERROR:

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.all ## run the service and a real workflow, then open the address it prints
	$(BIN)/spane-otel demo $(ARGS)

test: $(VENV)/.dev ## run the tests that need nothing but Python
	$(BIN)/python -m pytest $(ARGS)

test-system: $(VENV)/.dev ## run the tests that need a browser, SIGKILL or Debian's packages
	@test -x $(POSTGRES_15)/initdb || { echo "PostgreSQL 15 is missing: sudo apt-get install postgresql-15"; exit 1; }
	TEST_SPANE_POSTGRES_BIN=$(POSTGRES_15) $(BIN)/python -m pytest tests/conformance tests/integration tests/migration \
	  --ignore tests/integration/test_embedded.py $(ARGS)
	$(BIN)/python -m pytest -m system $(ARGS)

test-reliability: $(VENV)/.dev ## run the long profiles: random histories, with and without faults
	$(BIN)/python -m pytest -m reliability $(ARGS)

check: $(VENV)/.dev ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.dev ## measure what README says about speed (minutes)
	$(BIN)/python benchmarks/ingest.py $(ARGS)
	$(BIN)/python benchmarks/state.py $(ARGS)
	$(BIN)/python benchmarks/lists.py
	$(BIN)/python benchmarks/engine.py $(ARGS)

format: $(VENV)/.dev ## format the code, and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# An installation is as old as its stamp; one for development serves the demo too.
$(VENV)/.all: pyproject.toml | $(BIN)/python
	test -e $(VENV)/.dev -a ! $(VENV)/.dev -ot pyproject.toml || $(BIN)/python -m pip install --quiet --editable '.[all]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

# Debian 12's pip 23 gives up on the newest OpenTelemetry packages, though they fit together: it is upgraded.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is missing or older than 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "the package python3-venv is missing: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
