# Every target sets up what it needs, from a fresh clone, with Python 3.11 or newer and make alone.
#   make venv       the environment, from requirements/base.txt
#   make demo       prepare, pretrain, fill and four tasks on built-in text; offline, four to eight minutes
#   make test       the tests, about three minutes on two cores; make test-slow: the long ones
#   make lint       ruff and import-linter;  make types: mypy;  make bench: speed and memory, side by side
# Use another interpreter with PYTHON=python3.12, another place for the environment with VENV=somewhere.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help venv venv-dev demo test test-slow lint format types bench clean

help:
	@sed -n 's/^#   //p' Makefile

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found. Install one, or say make PYTHON=/its/path."; exit 2; }
	$(PYTHON) -m venv $(VENV)

# A stamp is newer than the lock that it stands for; a changed lock is installed again.
$(VENV)/.base: requirements/base.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/base.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@

venv: $(VENV)/.base
	@echo "Ready: . $(BIN)/activate, then sesame --help"

venv-dev: $(VENV)/.dev

demo: $(VENV)/.base
	$(BIN)/sesame demo

# One thread a worker, one worker a core: small tensors gain nothing from threads that wait for each other.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not gpu"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python bench/prepare.py
	$(BIN)/python bench/pretrain_bert.py

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache build dist
