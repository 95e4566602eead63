# The two commands for a newcomer are `make demo` and `make test`. Both set up everything that they need in .venv.

PYTHON ?= python3.11
BIN := .venv/bin
# Each worker takes whole files, in order. The many small files of unit/ come last, so that no worker is idle at the end. There is one
# worker more than cores (we count on two), since a third of the time of the end-to-end tests is waiting.
AT_ONCE := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-all check tree bench bench-quality train schema pictures clean

demo: .venv/ready
	$(BIN)/mapseek demo

# Where Discord's OpenAPI document is at hand, the tests check requests and answers against it: docs/discord-simulator.md.
test test-all: export MAPSEEK_DISCORD_OPENAPI ?= $(abspath $(wildcard ../shared/discord/openapi.json))

test: .venv/ready
	$(BIN)/pytest $(AT_ONCE)

# The long proofs run one at a time, because some of them measure how long a search takes.
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

# Write the JSON Schemas, the AsyncAPI document, and a golden file for each new version of a fact.
schema: .venv/ready
	$(BIN)/mapseek schema
	$(BIN)/python -m tests.support.golden_facts

# Draw the pictures in docs/images. Needs Chromium.
pictures: .venv/ready
	$(BIN)/python -m tests.pictures

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embed,dev]'
	touch $@

clean:
	rm -rf .venv demo-report
