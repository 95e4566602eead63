# Two commands for a newcomer: `make demo` and `make test`. Both set up everything they need in .venv.

PYTHON ?= python3.11
BIN := .venv/bin
# Whole files, in their order: the many small ones of unit/ come last, so that no worker is idle at the end.
AT_ONCE := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-all check tree bench bench-quality train schema pictures clean

demo: .venv/ready
	$(BIN)/mapseek demo

test: .venv/ready
	$(BIN)/pytest $(AT_ONCE)

# The long proofs run one at a time: some of them measure how long people wait meanwhile.
test-all: test
	$(BIN)/pytest -m slow

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mapseek schema --check

tree: .venv/ready
	$(BIN)/python -m tests.tree

bench: .venv/ready
	$(BIN)/python -m tests.benchmarks

train: .venv/ready
	$(BIN)/python -m infra.sandbox.training

bench-quality: .venv/ready
	$(BIN)/python -m tests.quality --report docs/quality

# The documents of the contracts, and a golden file for each new version of a fact.
schema: .venv/ready
	$(BIN)/mapseek schema
	$(BIN)/python -m tests.support.golden_facts

# The pictures in docs/images. It needs Chromium.
pictures: .venv/ready
	$(BIN)/python -m tests.pictures

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embed,dev]'
	touch $@

clean:
	rm -rf .venv demo-report
