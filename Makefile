# Everything runs from a virtual environment of its own, .venv, built from the hash-locked requirements.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
PYTEST_ARGS ?=

# Some containers set it; each of the many processes of a stack, and of the tests, would compile
# all of the project's modules anew.
unexport PYTHONDONTWRITEBYTECODE

ifeq ($(shell command -v $(PYTHON) 2>/dev/null),)
PYTHON := python3
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo run test chaos fuzz previous screenshots berka bench bench-quick check format lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Make .venv with the pinned packages

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP) ## Start a throw-away stack, move money through faults, prove the ledger, stop
	$(BIN)/transfers demo

run: $(STAMP) ## Start the local stack and keep it up until Ctrl-C
	$(BIN)/transfers dev

test: $(STAMP) ## Run all tests (PYTEST_ARGS="-k name" for some)
ifdef PYTEST_ARGS
	$(BIN)/pytest $(PYTEST_ARGS)
else
	# Side by side, each on servers of its own: most tests wait more than they work. In the order of
	# the files: those of tests/chaos have the fewest tests, take longest, and must not come last.
	$(BIN)/pytest --numprocesses $(or $(PROCESSES),4) --dist loadfile --no-loadscope-reorder
endif

fuzz: $(STAMP) ## Search TIMES (20) times as long for what breaks the API or the models
	EXAMPLES_TIMES=$(or $(TIMES),20) $(BIN)/pytest tests/property tests/fuzzing $(PYTEST_ARGS)

previous: $(STAMP) ## Let an older version (OLD=REF) pass transfers on the newest schema
	$(BIN)/python -m tests.support.previous_version --old $(OLD) $(PREVIOUS_ARGS)

screenshots: $(STAMP) ## Take pictures of every page of the console into docs/console (needs Chromium)
	$(BIN)/python -m tests.support.screenshots docs/console

chaos: $(STAMP) ## Break everything at random for DURATION=300 seconds and prove the ledger (SEED=...)
	$(BIN)/python -m tests.chaos --json chaos-report.json \
		$(if $(DURATION),--duration $(DURATION)) $(if $(SEED),--seed $(SEED))

berka: $(STAMP) ## Import all 9,021 rows of the Berka data and compare every balance
	$(BIN)/pytest tests/e2e/test_berka.py $(PYTEST_ARGS)

$(BENCH_STAMP): $(STAMP) requirements/bench.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $(BENCH_STAMP)

bench: $(BENCH_STAMP) ## Measure the service beside the engine's floor and its peers
	API_PIN_TO_CORES=true $(BIN)/python -m benchmarks --output docs/performance --document docs/performance.md

bench-quick: $(STAMP) ## Hold the ratios to the floor against the recorded ones, in a minute
	API_PIN_TO_CORES=true $(BIN)/python -m benchmarks.quick

check: $(STAMP) ## Lint, types, import rules, migrations, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.support.check_migrations
	$(BIN)/python -m tests.support.audit_dependencies

format: $(STAMP) ## Format and fix what can be fixed safely
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(STAMP) ## Refresh the pinned requirements from pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --custom-compile-command "make lock" \
		--extra embedded --extra dev pyproject.toml --output-file requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --custom-compile-command "make lock" \
		--constraint requirements/dev.txt pyproject.toml --output-file requirements/production.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --custom-compile-command "make lock" \
		--constraint requirements/dev.txt \
		--extra embedded --extra bench pyproject.toml --output-file requirements/bench.txt
	echo "hatchling>=1.27" | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		--constraint requirements/dev.txt - --output-file requirements/build.txt

clean: ## Remove the environment and caches (the local stack's data in .local stays)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
