# `make quickstart` needs nothing but Python 3.11 to 3.13 (PYTHON=python3.12 chooses one).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RECIPE ?= quickstart

.PHONY: install quickstart test test-fast test-long lint bench bench-frameworks bench-ray soak clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

quickstart: install
	$(BIN)/wd run $(RECIPE)

# All but the longest: also what starts clusters, servers and training runs, which go by file to one
# process each; three for two cores, since who starts a cluster waits a lot.
test: install
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n 3 --dist loadgroup -m "not long"

test-fast: install
	$(BIN)/python -m pytest -q -m "not slow and not long"

# Whole acceptances, minutes long each.
test-long: install
	$(BIN)/python -m pytest -q -m long

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# ARGUMENTS="..." goes to each of the following commands; their files say what they take.

# What a generator step costs beside a fine-tuning step; ends in one line of JSON.
bench: install
	$(BIN)/python tests/benchmarks/phase_one.py wmt14-ende-base $(ARGUMENTS)

# Training speed beside MarianMT, eole and JoeyNMT, each in an environment made on first use.
bench-frameworks: install
	$(BIN)/python tests/benchmarks/frameworks.py wmt14-ende-base $(ARGUMENTS)

# Ray Train beside a bare loop: make bench-ray ARGUMENTS="corpus.dir=DIR root=ROOT"
bench-ray: install
	$(BIN)/python tests/benchmarks/ray_overhead.py multi30k $(ARGUMENTS)

# Training with more than twenty kills, beside the same undisturbed: about an hour.
soak: install
	$(BIN)/python -m tests.faults.soak quickstart $(ARGUMENTS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
