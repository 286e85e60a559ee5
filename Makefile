# `make demo` and `make test` work on a fresh Debian 12 with python3, python3-venv, make and curl, and elsewhere
# without root; `make help` lists the rest. Everything is installed into .venv from pinned hashes.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := engine schema cli tests benchmarks __init__.py

# A stamp is named after the checksum of what it was made from: a changed pin or pyproject.toml makes it anew.
key = $(shell cat $(1) | cksum | tr ' ' -)
BASE_STAMP := $(VENV)/.installed-base-$(call key,requirements/base.txt pyproject.toml)
TEST_STAMP := $(VENV)/.installed-test-$(call key,requirements/test.txt pyproject.toml)
PINS := .cache/pins

.DEFAULT_GOAL := help
.PHONY: help demo test lint types contracts pytest pytest-services pytest-contracts pytest-rest nightly nightly-mutants nightly-others bench fixtures pins format install install-test browser clean

help:  ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

# The SDK is what a user would profile with, no part of this project: it is not pinned, and may be missing.
demo: $(BASE_STAMP)  ## Install, ingest sample profiles, show them, profile a program; writes demo/flame.html.
	@$(BIN)/python -c 'import pyroscope' 2>/dev/null || \
		timeout 60 $(BIN)/pip install --quiet --disable-pip-version-check pyroscope-io 2>/dev/null || true
	@$(BIN)/flameduck demo

test: $(TEST_STAMP) browser  ## Install what tests need, run the linters, the type checker and every test.
	@$(MAKE) --no-print-directory --keep-going lint types contracts pytest

lint: $(TEST_STAMP)  ## ruff: rules and format.
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .

types: $(TEST_STAMP)  ## mypy, strict, over the package, the tests and the benchmarks.
	$(BIN)/mypy --no-error-summary
	$(BIN)/mypy --no-error-summary tests $(if $(wildcard benchmarks/*.py),benchmarks)

contracts: $(TEST_STAMP)  ## import-linter: the layers, one door an outside library.
	@$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter

pytest: $(TEST_STAMP)  ## Only the tests, in three portions side by side.
	@$(MAKE) --no-print-directory --keep-going --jobs 3 --output-sync=target pytest-services pytest-contracts pytest-rest

# Two mostly wait for servers, stores and programs, the third keeps a core busy.
SERVICES := tests/engine/services tests/clients tests/browser
CONTRACTS := tests/contracts tests/cli tests/engine/compaction

pytest-services:
	@$(BIN)/pytest -q -ra $(SERVICES)

pytest-contracts:
	@$(BIN)/pytest -q -ra $(CONTRACTS)

pytest-rest:
	@$(BIN)/pytest -q -ra $(addprefix --ignore ,$(SERVICES) $(CONTRACTS))

nightly: $(TEST_STAMP) browser  ## Every test, with the long ones and those that need rare toolchains.
	@$(MAKE) --no-print-directory --keep-going --jobs 2 nightly-mutants nightly-others

# Side by side: the one keeps a core busy, the other mostly waits.
nightly-mutants:
	@$(BIN)/pytest -q -ra -m "" tests/fuzz

nightly-others:
	@$(BIN)/pytest -q -ra -m "" --ignore tests/fuzz

bench: $(TEST_STAMP)  ## Every benchmark; each prints one line of JSON.
	@for program in $$(grep -l __main__ benchmarks/*.py | grep -v corpus); do \
		$(BIN)/python -m "benchmarks.$$(basename "$$program" .py)" || exit 1; done

fixtures: $(TEST_STAMP)  ## Record tests/fixtures anew with the toolchains that are on this machine.
	@$(BIN)/python -m tests.fixtures.programs.record

format: $(TEST_STAMP)  ## Let ruff rewrite what it can.
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

pins:  ## Resolve the requirements anew and pin them with hashes.
	@test -x $(PINS)/bin/uv || { $(PYTHON) -m venv $(PINS) && $(PINS)/bin/pip install --quiet uv; }
	$(PINS)/bin/uv pip compile $(PIN_FLAGS) --extra server --output-file requirements/base.txt pyproject.toml
	$(PINS)/bin/uv pip compile $(PIN_FLAGS) --extra test --output-file requirements/test.txt pyproject.toml

# Universal: one file for every platform and Python from 3.11 on. No header and no index, so that no host is named.
PIN_FLAGS := --quiet --universal --python-version 3.11 --generate-hashes --group build --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --upgrade

install: $(BASE_STAMP)  ## Make .venv with flameduck in it, editable.

install-test: $(TEST_STAMP)  ## The same with what tests need.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "flameduck needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)

# $(1): the requirements. Hashes hold for what is downloaded; flameduck itself is this folder, so it has none.
define install
	@echo "installing $(1) into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . 2>$(VENV)/editable.log \
		|| { cat $(VENV)/editable.log; exit 1; }
	@rm -f $(VENV)/.installed-$(2)-* && touch $@
endef

$(BASE_STAMP): | $(BIN)/python
	$(call install,requirements/base.txt,base)

$(TEST_STAMP): | $(BIN)/python
	$(call install,requirements/test.txt,test)

# Chromium, and a library that its driver needs, come from Debian, which takes root; elsewhere the browser tests find
# their own or are skipped by name.
browser:
	@command -v chromium >/dev/null && ls /usr/lib/*/libatomic.so.1 >/dev/null 2>&1 || [ -e .cache/no-chromium ] || { \
		grep -qs '^ID=debian' /etc/os-release && [ "$$(id -u)" = 0 ] || exit 0; \
		echo "installing chromium"; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium libatomic1; } \
			>/dev/null 2>&1 \
		|| { mkdir -p .cache && touch .cache/no-chromium; echo "no chromium here: browser tests will be skipped"; }; }

clean:  ## Remove what make and the tools wrote.
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist demo ./*.egg-info
