# Every target makes its own environment: `make checks` or `make test` on a fresh clone is all the set-up there is.
#   make checks PYTHON=python3.12     another interpreter (3.11 or newer)
#   make checks ARGS="--profile full" arguments for the command behind the target
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Idle OpenMP threads spin; work is spread over processes instead, one thread each.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help env checks bench lessons test test-slow lint mutants docs clean
help:
	@echo "make env      make the environment in .venv, and nothing else; the others do it first where it is missing"
	@echo "make checks   check the claims; figures and report in results/index.html"
	@echo "make bench    the benchmark on real handwritten digits; table and figures in results/bench/digits"
	@echo "make lessons  run the notebooks in lessons/ and keep what they print and draw"
	@echo "make test     the fast tests          make test-slow  the slow ones too"
	@echo "make lint     ruff and mypy           make mutants    plant faults in the losses, see the tests go red"
	@echo "make docs     worlds, measures and losses in docs/; its verdicts: python docs/verdicts.py RESULTS"
	@echo "make clean    remove builds, caches and .venv (results/ is kept)"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "expected Python 3.11 or newer, found $$($(PYTHON) --version 2>&1); choose one with: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench,test]'
	@touch $@

env: $(STAMP)

checks: $(STAMP)
	$(BIN)/python -m paper_checks $(ARGS)

bench: $(STAMP)
	$(BIN)/ssl-bench digits $(ARGS)

lessons: $(STAMP)
	$(BIN)/python lessons/run.py $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow" $(ARGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

mutants: $(STAMP)
	$(BIN)/python -m tests.mutants $(ARGS)

docs: $(STAMP)
	$(BIN)/python -m ssl_theory.losses > docs/losses.md
	$(BIN)/python docs/worlds.py
	$(BIN)/python docs/measures.py

clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info $(VENV)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
