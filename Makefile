# Everything starts from a bare python3 (3.11 or newer, with venv): `make` makes .venv and installs into it.
PYTHON ?= python3
WORKERS ?= 2
ONLY ?= not long
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test check lint types imports lock prove clean

help: ## Show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## Make .venv with everything in it

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv is missing: install the package python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## Simulate people, run the pipeline, report, serve API and Dagster UI until Ctrl-C
	@$(BIN)/cdp demo

test: $(STAMP) ## Run the tests, a module to a worker; the long proofs only with ONLY=
	@$(BIN)/python -m pytest -n $(WORKERS) -m "$(ONLY)" $(ARGS)

check: lint types imports ## Lint, types and import rules

lint: $(STAMP)
	@$(BIN)/ruff check .

types: $(STAMP)
	@$(BIN)/mypy

imports: $(STAMP)
	@$(BIN)/lint-imports

prove: $(STAMP) ## The long proofs: tests of minutes, then what is measured, into benchmarks/results
	@$(BIN)/python -m pytest -n $(WORKERS) -m long
	@$(BIN)/python -m benchmarks $(ARGS)

lock: ## Resolve the dependencies again (needs uv); hashes for every platform, no addresses
	@uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.lock

clean: ## Remove .venv and caches; a workspace is never touched
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
