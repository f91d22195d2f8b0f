# `make repro` and `make test` set up everything they need; `make` alone lists the targets.
# the first of these that the machine has and that runs; PYTHON=... for another
SUPPORTED := 3.11 3.12 3.13
PYTHON ?= $(firstword $(foreach version,$(SUPPORTED),$(shell python$(version) -c "" 2>/dev/null && \
	echo python$(version))))
VENV := .venv
BIN := $(VENV)/bin
# stages and hooks find python, ricenet and dvc of this environment first
export PATH := $(CURDIR)/$(BIN):$(PATH)

# help, repro, ui, server: what a project of `ricenet init` runs too
include pipeline.mk

# a worker a core: threads beside them would wait for each other
PYTEST := OMP_NUM_THREADS=1 python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder -q

# strict: where the index does not know a package, that is no clean bill
AUDIT := python -m pip_audit -r requirements.lock --no-deps --disable-pip --strict --progress-spinner off

VIEWER := src/ricenet/evaluation/occlusion/page/viewer.js

.PHONY: setup viewer test test-durations test-faults real-data check audit format docs lock

setup: $(VENV)/.installed $(VIEWER) ## Install everything into .venv; again only when the pins change

# torch first: with plain pip a CPU build is taken where one is offered
$(VENV)/.installed: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "No Python $(SUPPORTED) found. Install one of them with its venv module" \
	  "(Debian: apt install python3 python3-venv), or give its path: make $(MAKECMDGOALS) PYTHON=/path/to/python" \
	  >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.lock)"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

viewer: $(VIEWER) ## Bundle the case pages' viewer from npm packages, with Node.js from PyPI

# npm and node are those of this environment, whatever the system has
$(VIEWER): $(wildcard viewer/*.json viewer/*.mjs viewer/src/* viewer/licences/*) | $(VENV)/.installed
	npm ci --prefix viewer --ignore-scripts --no-audit --no-fund --silent
	node viewer/build.mjs

test: setup ## Run the tests, in parallel
	$(PYTEST)

test-durations: setup ## Run the tests, and list the slowest twenty
	$(PYTEST) --durations=20

# a worker a core; a file's tests follow each other. As root also full disks and read-only cohorts
test-faults: setup ## Kill, fill the disk, stop the server, spoil inputs: a quarter of an hour (docs/faults.md)
	OMP_NUM_THREADS=1 python -m pytest -n logical --maxprocesses 2 --dist loadfile -q tests/faults

real-data: setup ## Run the commands on real files that you have: DIR=FOLDER (docs/real-data.md)
	@test -d "$(DIR)" || { echo "make real-data needs DIR=FOLDER, with a folder a data set (docs/real-data.md)." >&2; \
	  exit 1; }
	RICENET_REAL_DATA="$(abspath $(DIR))" RICENET_SAMPLES="$(abspath $(DIR))" python -m pytest -v \
	  tests/test_real_data.py tests/test_{burdenko,cfb_gbm,dose_placement}.py tests/test_dicom_*.py -k real

check: setup ## Lint, types, import contracts; known vulnerabilities, where the index tells of any
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	@$(AUDIT) || echo "audit: not clean, or the index tells of no vulnerabilities (see above); make audit fails then, make check does not"

audit: setup ## Known vulnerabilities of what is pinned; fails where one is found, or the index tells of none
	$(AUDIT)

format: setup ## Format the code
	ruff check --fix .
	ruff format .

docs: setup ## Build the website of the docs into site/, with every link checked
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	@echo "open site/index.html; it needs no server"

lock: setup ## Write requirements.lock from what is installed
	pip freeze --exclude-editable | grep -vE '^(pip|setuptools)==' | sed 's/+cpu$$//' > requirements.lock
