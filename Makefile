# `make` lists the targets. The environment is .venv; PYTHON chooses the interpreter it is made with.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
NAME ?= figure/width

.PHONY: help setup run sweep test test-slow lint format bench lock clean check-python

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F '\t' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo '  PYTHON=<path>   interpreter for .venv (3.11 or newer); ARGS="seed=1" adds settings to make run and sweep'

setup: check-python $(READY)  ## Make .venv with the pinned packages (first time: about 2 minutes)

# A given PYTHON of another version than .venv's replaces it; without one, an existing .venv is kept.
check-python:
ifneq ($(origin PYTHON),undefined)
	@if [ -x $(BIN)/python ] && [ "$$($(BIN)/python -V)" != "$$($(PYTHON) -V)" ]; then rm -rf $(VENV); fi
endif

$(READY): requirements.lock pyproject.toml | check-python
	@python=$$(for p in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python); do \
	  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done); \
	if [ -z "$$python" ]; then echo "No Python 3.11 or newer was found: give one with PYTHON=<path>." >&2; exit 1; fi; \
	echo "Setting up $(VENV) with $$($$python -V) ..."; \
	[ -x $(BIN)/python ] || "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $(READY)

run: setup  ## Meta-train a µCelo2 on the embedded data, evaluate it on wider networks, draw the picture
	$(BIN)/python -m mulo.run $(ARGS)

sweep: setup  ## Run a sweep: NAME=figure/width (sweeps/README.md lists them), ARGS="scale=smoke"
	$(BIN)/python -m mulo.run -m +$(subst /,=,$(NAME)) $(ARGS)

test: setup lint  ## Lint, types and the test suite (under 8 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: setup  ## The slower checks
	$(BIN)/python -m pytest -m slow

lint: setup  ## Formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## Format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## Time updates, training steps, meta-training and devices; write benchmarks/results/latest.*
	$(BIN)/python -m benchmarks $(NAMES)

lock:  ## Pin the newest packages into requirements.lock (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  --extra dev pyproject.toml -o requirements.lock

clean:  ## Remove .venv and caches (runs/ stays)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
