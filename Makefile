# The only door: every task of a developer or a user starts here.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := .venv-torch
CONFIG ?= config.json
IMAGES ?=
ONLY ?=
MINUTES ?= 10
DEVICE ?= cpu
SECONDS ?= 60

.PHONY: demo install dev torch lint format test chaos bench bench-runtimes fuzz clean

demo: $(VENV)/.installed ## index IMAGES, or what config.json names, and start everything
	$(BIN)/python prepare/prepare.py --config $(CONFIG) $(IMAGES)
	$(BIN)/python -m common.supervisor --config $(CONFIG)

install: $(VENV)/.installed ## what serving needs
dev: $(VENV)/.installed-dev ## what tests, lint and benchmarks need

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	@echo "installing Python packages (290 MB, once)"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.installed-dev: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $(VENV)/.installed $@

torch: $(TORCH)/.installed ## what exporting models and TorchServe need: torch, 5.7 GB

$(TORCH)/.installed: requirements.txt requirements-torch.txt requirements-dev.txt
	$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/pip install --quiet --disable-pip-version-check -r requirements-torch.txt -r requirements-dev.txt
	touch $@

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
	$(BIN)/python -m pytest $(TESTS)
	$(if $(TESTS),,$(TORCH)/bin/python -m pytest tests/torch)

fuzz: dev ## fuzz everything that reads what others send, SECONDS each
	$(BIN)/python -m pytest tests/fuzz --seconds $(SECONDS)

chaos: dev ## everything that can go wrong, for long: faults at random for MINUTES, 100 kills, 200 flips, 20 restarts
	$(BIN)/python tests/chaos/chaos.py --minutes $(MINUTES) $(if $(ONLY),--only $(ONLY))
	$(if $(ONLY),,$(BIN)/python tests/chaos/sabotage.py)

bench: torch ## everything beside others, its limits and its targets, in one run; writes benchmarks/results/
	$(TORCH)/bin/python benchmarks/bench.py $(if $(ONLY),--only $(ONLY))

bench-runtimes: torch ## images and texts a second of each runtime on DEVICE, cpu or cuda
	$(TORCH)/bin/python benchmarks/runtimes.py --device $(DEVICE)

clean: ## forget the environment and the demo's data
	rm -rf $(VENV) $(TORCH) data
