# The only door: every task of a developer or a user starts here.
PYTHON ?= python3
# The oldest is what the tests run on.
PYTHONS := 3.11 3.12 3.13
VENV := .venv
BIN := $(VENV)/bin
TORCH := .venv-torch
CONFIG ?= config.json
IMAGES ?=
ONLY ?=
MINUTES ?= 10
DEVICE ?= cpu
SECONDS ?= 60
UPGRADE ?= --upgrade
WORKERS ?= 2

# Ends with one line unless $(1) is a Python of PYTHONS; comes before anything is made.
supported = @v=$$($(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); \
	case " $(PYTHONS) " in *" $$v "*) ;; *) echo "clip-search needs one of Python $(PYTHONS)," \
	"and $(1) is $${v:-none}: make PYTHON=python3.13 $(or $(MAKECMDGOALS),demo)" >&2; exit 1;; esac
# Every file that is installed has a hash that the index published when the lock was made. What
# compiles hnswlib (setuptools, pybind11) is fetched for that alone, and is not locked.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --require-hashes
# The versions are those that an index has today: of the oldest Python, for every platform.
LOCK := $(BIN)/uv pip compile --quiet --no-config --universal --generate-hashes \
	--python-version $(firstword $(PYTHONS)) --annotation-style line --custom-compile-command "make lock"

.PHONY: demo install dev torch lock lint format test chaos bench bench-runtimes fuzz reference clean

demo: $(VENV)/.installed ## index IMAGES, or what config.json names, and start everything
	$(BIN)/python prepare/prepare.py --config $(CONFIG) $(IMAGES)
	$(BIN)/python -m common.supervisor --config $(CONFIG)

install: $(VENV)/.installed ## what serving needs
dev: $(VENV)/.installed-dev ## what tests, lint and benchmarks need

$(VENV)/bin/python:
	$(call supported,$(PYTHON))
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock | $(VENV)/bin/python
	$(call supported,$(BIN)/python)
	@echo "installing Python packages (290 MB, once)"
	$(BIN)/python $(PIP_INSTALL) -r requirements.lock
	touch $@

$(VENV)/.installed-dev: requirements-dev.lock | $(VENV)/bin/python
	$(call supported,$(BIN)/python)
	$(BIN)/python $(PIP_INSTALL) -r requirements-dev.lock
	touch $(VENV)/.installed $@

torch: $(TORCH)/.installed ## what exporting models and TorchServe need: torch, 5.7 GB

$(TORCH)/.installed: requirements-torch.lock
	$(call supported,$(PYTHON))
	$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python $(PIP_INSTALL) -r requirements-torch.lock
	touch $@

# One resolution after the other, so that a package has one version in all three environments.
lock: dev ## renew requirements*.lock; with UPGRADE= only what the ranges ask for
	$(LOCK) $(UPGRADE) requirements-dev.txt --output-file requirements-dev.lock
	$(LOCK) $(UPGRADE) requirements.txt --constraints requirements-dev.lock --output-file requirements.lock
	$(LOCK) $(UPGRADE) requirements-torch.txt requirements-dev.txt --constraints requirements-dev.lock \
		--output-file requirements-torch.lock

lint: dev ## ruff, mypy, bandit and pip-audit, as CI runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive common front middle inference search prepare
	.ci/audit $(BIN)

format: dev ## what ruff can put right by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: dev $(if $(TESTS),,torch) ## all tests, against real services; or those of TESTS that need no torch
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)
	$(if $(TESTS),,OMP_NUM_THREADS=1 $(TORCH)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadgroup tests/torch)

fuzz: dev ## search for what breaks anything that reads what others send, SECONDS each
	$(BIN)/python -m pytest tests/fuzz/search.py tests/fuzz/test_schema.py --seconds $(SECONDS)

chaos: dev ## everything that can go wrong, for long: faults at random for MINUTES, 100 kills, 200 flips, 20 restarts
	$(BIN)/python tests/chaos/chaos.py --minutes $(MINUTES) $(if $(ONLY),--only $(ONLY))
	$(if $(ONLY),,$(BIN)/python tests/chaos/sabotage.py)

bench: torch ## everything beside others, its limits and its targets, in one run; writes benchmarks/results/
	$(TORCH)/bin/python benchmarks/bench.py $(if $(ONLY),--only $(ONLY))

bench-runtimes: torch ## images and texts a second of each runtime on DEVICE, cpu or cuda
	$(TORCH)/bin/python benchmarks/runtimes.py --device $(DEVICE)

reference: dev ## write the pages of docs/reference that are made from the code
	$(BIN)/python devtools/reference/write.py

clean: ## forget the environment and the demo's data
	rm -rf $(VENV) $(TORCH) data
