# make            what there is
# make test       everything a change has to pass
#
# PYTHON=python3.12 make env    another interpreter
# make pytest ARGS="tests/unit -k retry"

PYTHON ?= python3
ARGS   ?=
ENGINE ?= native

BIN := .venv/bin
PIP := -m pip --disable-pip-version-check -qq
UV  := 0.13.8

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help env lint format types pytest test matrix demo demo-serve bench bench-services services soak lock changelog clean
.SILENT:

help: ## this text
	echo "Flask-Later. Needs make and Python 3.11 or newer; everything else lands in .venv."
	echo
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target text; do \
		printf '%-20s %s\n' "$$target" "$$text"; done

env: .venv/.dev ## .venv with the locked tools and this checkout, editable

.venv/bin/python .venv-demo/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than 3.11. Name a newer one: make env PYTHON=python3.12"; exit 1; }
	echo "env: $(@D:/bin=), $$($(PYTHON) --version)"
	$(PYTHON) -m venv $(@D:/bin=) \
		|| { rm -rf $(@D:/bin=); echo "$(PYTHON) cannot make an environment. On Debian: make services, as root"; exit 1; }

.venv/.dev: requirements/dev.txt pyproject.toml | .venv/bin/python
	echo "env: tools of requirements/dev.txt"
	$(BIN)/python $(PIP) install --require-hashes -r requirements/dev.txt
	$(BIN)/python $(PIP) install --no-deps --no-build-isolation -e .
	touch $@

.venv/.bench: requirements/bench.txt .venv/.dev
	echo "env: tools of requirements/bench.txt"
	$(BIN)/python $(PIP) install --require-hashes -r requirements/bench.txt
	touch $@

# Only what a user of the library would have, so that the demo starts in seconds.
.venv-demo/.ready: requirements/demo.txt pyproject.toml | .venv-demo/bin/python
	echo "env: tools of requirements/demo.txt"
	.venv-demo/bin/python $(PIP) install --require-hashes -r requirements/demo.txt
	.venv-demo/bin/python $(PIP) install --no-deps --no-build-isolation -e .
	touch $@

lint: env ## style, format, and which part may import which
	echo "lint: ruff check"
	$(BIN)/ruff check --quiet .
	echo "lint: ruff format"
	$(BIN)/ruff format --quiet --diff .
	echo "lint: imports"
	said=$$($(BIN)/lint-imports --no-logo --cache-dir .cache/imports 2>&1) || { echo "$$said"; exit 1; }

format: env ## put the code in order
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format .

types: env ## mypy and pyright, both strict
	echo "types: mypy"
	$(BIN)/mypy --no-error-summary src $(wildcard tests/typing)
	echo "types: pyright"
	$(BIN)/pyright

pytest: env ## the tests on this interpreter; ARGS="..." narrows them
	$(BIN)/python -m pytest $(ARGS)

test: env lint types pytest matrix ## everything: lint, types, tests, matrix

matrix: env ## the tests on every supported Python found here, oldest and newest Flask
	$(BIN)/python scripts/matrix

# On an engine that needs a library and services, with what the tests have of both.
DEMO_ENV := $(if $(filter native,$(ENGINE)),.venv-demo/.ready,.venv/.dev)
DEMO      = $(dir $(DEMO_ENV))bin/python examples/shop/demo.py --engine $(ENGINE)

demo: $(DEMO_ENV) ## the shop, once through; ENGINE=celery or rq: on their workers
	$(DEMO) $(ARGS)

demo-serve: $(DEMO_ENV) ## the shop, in a browser
	$(DEMO) --serve $(ARGS)

bench: .venv/.bench ## ours against its peers
	$(BIN)/python -m bench $(ARGS)

bench-services: ## as root: the brokers that bench compares with
	services/install bench.txt

soak: env ## the tests of faults for hours; figures in build/faults.json
	SOAK=1 $(BIN)/python -m pytest tests/faults --timeout=0 $(ARGS)

services: ## as root: the Debian packages the tests need
	services/install

LOCK = $(BIN)/uv --quiet pip compile --system-certs --universal --python-version 3.11 --upgrade \
	--generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml

lock: .venv/bin/python ## newest tools into requirements/
	$(BIN)/python $(PIP) install uv==$(UV)
	$(LOCK) --group dev -o requirements/dev.txt
	$(LOCK) --group bench -c requirements/dev.txt -o requirements/bench.txt
	$(LOCK) --group demo -c requirements/dev.txt -o requirements/demo.txt
	$(LOCK) --group test -c requirements/dev.txt -o requirements/matrix-newest.txt
	$(LOCK) --group test -c requirements/floor.in -o requirements/matrix-floor.txt
	git --no-pager diff --stat -- requirements

changelog: env ## what changelog.d/ would make of the next release
	$(BIN)/towncrier build --draft $(ARGS)

clean: ## remove all that make made
	rm -rf .venv .venv-demo .venvs .cache build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
