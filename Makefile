# The only door: every task of a developer or a user starts here.
PYTHON ?= python3
# The oldest is what the tests run on.
PYTHONS := 3.11 3.12 3.13
VENV := .venv
BIN := $(VENV)/bin
TORCH := .venv-torch
CONFIG ?= config.json
# As it was written, for the shell to split at colons alone: a path may hold blanks, & and $$.
override IMAGES := $(value IMAGES)
export IMAGES
ONLY ?=
BESIDE ?=
MINUTES ?= 10
DEVICE ?= cpu
SECONDS ?= 60
UPGRADE ?= --upgrade
WORKERS ?= 3

# What an environment takes on the disk and what is downloaded for it, in MB as measured on Linux.
DISK_MB = 330
DOWNLOAD_MB = 90
$(VENV)/.installed-dev: DISK_MB = 1640
$(VENV)/.installed-dev: DOWNLOAD_MB = 520
$(TORCH)/.installed: DISK_MB = 7140
$(TORCH)/.installed: DOWNLOAD_MB = 3680

# Tells all that Python $(1) lacks for the environment of this target, before anything is made;
# CHECK has more options. Once the environment is whole, its size is no question.
check = @command -v $(1) >/dev/null || { echo "error: there is no $(1). Install one of Python" \
	"$(PYTHONS), then run: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 2; }; \
	$(1) common/preflight.py --pythons $(PYTHONS) --goal "$(MAKECMDGOALS)" $(CHECK) --folder $(2) \
	$(if $(wildcard $@),,--disk-mb $(DISK_MB) --download-mb $(DOWNLOAD_MB))
# Every file that is installed has a hash that the index published when the lock was made. What
# compiles hnswlib (setuptools, pybind11) is fetched for that alone, and is not locked.
PIP_INSTALL := -m pip install --disable-pip-version-check --require-hashes
announce = @echo "installing Python packages, once: $(DOWNLOAD_MB) MB to download, $(DISK_MB) MB on the disk"
# The versions are those that an index has today: of the oldest Python, for every platform.
LOCK := $(BIN)/uv pip compile --quiet --no-config --universal --generate-hashes \
	--python-version $(firstword $(PYTHONS)) --annotation-style line --custom-compile-command "make lock"

# What is named when make is called is handed on: compose.yaml says which variables it reads.
COMPOSE = DEVICE=$(DEVICE) docker compose -f compose.yaml $(if $(filter cuda,$(DEVICE)),-f edge/cuda.yaml)

.PHONY: help demo install dev torch lock lint format test test-dev test-torch clients chaos hosts bench bench-runtimes fuzz build_all c_up c_down reference clean

help: ## show this list
	@echo "Begin with: make demo IMAGES=~/Pictures"
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: CHECK = --config $(CONFIG)
demo: $(VENV)/.installed ## add IMAGES (FOLDER:FOLDER) to the collection, index it, start everything
	@$(BIN)/python -m common.supervisor --config $(CONFIG) --check-ports
	set -f; IFS=:; $(BIN)/python prepare/prepare.py --config "$(CONFIG)" $(if $(IMAGES),add --) $$IMAGES \
		|| [ $$? -eq 3 ] # images are offline, and are found still
	$(BIN)/python -m common.supervisor --config $(CONFIG)

install: $(VENV)/.installed ## install what serving needs
dev: $(VENV)/.installed-dev ## install what tests, lint and benchmarks need

$(VENV)/bin/python:
	$(call check,$(PYTHON),$(VENV))
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock | $(VENV)/bin/python
	$(call check,$(BIN)/python,$(VENV))
	$(announce)
	$(BIN)/python $(PIP_INSTALL) -r requirements.lock
	touch $@

$(VENV)/.installed-dev: requirements-dev.lock | $(VENV)/bin/python
	$(call check,$(BIN)/python,$(VENV))
	$(announce)
	$(BIN)/python $(PIP_INSTALL) -r requirements-dev.lock
	touch $(VENV)/.installed $@

torch: $(TORCH)/.installed ## install what exports and TorchServe need: torch, 7.1 GB

$(TORCH)/.installed: CHECK = --variable TORCH
$(TORCH)/.installed: requirements-torch.lock
	$(call check,$(PYTHON),$(TORCH))
	$(announce)
	$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python $(PIP_INSTALL) -r requirements-torch.lock
	touch $@

# One resolution after the other, so that a package has one version in all environments.
lock: dev ## renew requirements*.lock; with UPGRADE= only what the ranges ask for
	$(LOCK) $(UPGRADE) requirements-dev.txt --output-file requirements-dev.lock
	$(LOCK) $(UPGRADE) requirements.txt --constraints requirements-dev.lock --output-file requirements.lock
	$(LOCK) $(UPGRADE) requirements-torch.txt requirements-dev.txt --constraints requirements-dev.lock \
		--output-file requirements-torch.lock
	$(LOCK) $(UPGRADE) requirements-image.txt --constraints requirements-dev.lock --output-file requirements-image.lock
	$(LOCK) $(UPGRADE) requirements-cuda.txt --constraints requirements-dev.lock --output-file requirements-cuda.lock

lint: dev ## run ruff, mypy, bandit and pip-audit, as CI does
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive clip_server common front gateway middle inference search prepare
	$(BIN)/python .ci/vocabulary
	.ci/audit $(BIN)

format: dev ## put right what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: test-dev $(if $(TESTS),,test-torch) ## run all tests, against real services; or those of TESTS that need no torch

# Without MAKEFLAGS, as tests that run make would otherwise wait for a turn of this one.
test-dev: dev ## run those that need no torch
	MAKEFLAGS= $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

test-torch: torch ## run those of exports and TorchServe
	OMP_NUM_THREADS=1 $(TORCH)/bin/python -m pytest --numprocesses 2 --dist loadfile tests/torch

CLIENTS := tests/gateway tests/front/test_wires.py tests/front/test_clip_retrieval.py
clients: dev ## run other projects' clients against our services, each in its own environment (7 GB)
	ALL_CLIENTS=1 $(BIN)/python -m pytest -vv --durations=0 --durations-min=1 $(CLIENTS)

fuzz: dev ## search for what breaks anything that reads what others send, SECONDS each
	$(BIN)/python -m pytest tests/fuzz/search.py tests/fuzz/test_schema.py --seconds $(SECONDS)

chaos: dev ## try all that can go wrong, for long: faults at random for MINUTES, 100 kills, 200 flips, 20 restarts
	$(BIN)/python tests/chaos/chaos.py --minutes $(MINUTES) $(if $(ONLY),--only $(ONLY))
	$(if $(ONLY),,$(BIN)/python tests/chaos/sabotage.py)

hosts: dev ## test four hosts in network namespaces, as root on Linux: cut off, killed, added, removed
	ALL_ORDERS=1 $(BIN)/python -m pytest -v tests/hosts tests/prepare/test_ray.py

bench: torch ## measure all beside others, limits and targets, or the sections of ONLY
	$(TORCH)/bin/python benchmarks/bench.py $(if $(ONLY),--only $(ONLY)) $(if $(BESIDE),--beside $(BESIDE))

bench-runtimes: torch ## measure images and texts a second of each runtime on DEVICE, cpu or cuda
	$(TORCH)/bin/python benchmarks/bench.py --only runtimes --device $(DEVICE)

build_all: ## build the images of the containers: for the CPU, for CUDA and for TorchServe (needs docker)
	DEVICE=cpu docker compose --profile torchserve build
	DEVICE=cuda docker compose build

c_up: ## start everything in containers, with IMAGES, CONFIG, PORT, DEVICE and COMPOSE_PROFILES (needs docker)
	$(COMPOSE) up --build --detach

c_down: ## stop the containers; what they have indexed stays in their volume
	$(COMPOSE) --profile "*" down

reference: dev ## write the pages of docs/reference that are made from the code
	$(BIN)/python devtools/reference/write.py

clean: ## delete the environments and data/: embeddings, index, uploads and the log
	rm -rf $(VENV) $(TORCH) data
