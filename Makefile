# Every target sets up what it needs: a virtual environment in .venv with the package in it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PEERS := .venv-peers/.ready

.PHONY: help demo test slow bench lint format clean

help:
	@echo "make demo   train Real NVP on 1,797 real images of digits (about two minutes, most of it"
	@echo "            installation), print its likelihood, draw samples"
	@echo "make test   lint, types and tests (a few minutes)"
	@echo "make slow   the long tests; those on MNIST and CIFAR-10 need PUSHFORWARD_DATA"
	@echo "make bench  speed and memory beside other libraries (a quarter of an hour; leave the machine"
	@echo "            alone meanwhile)"
	@echo "make format rewrite the sources in the project's style"
	@echo "make clean  remove the environment and what tools left behind"

$(READY): pyproject.toml constraints.txt
	@echo "==> Setting up .venv (the first time takes a few minutes: PyTorch is large)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pushforward needs Python 3.11 or newer; name one with: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)
	@echo "==> Training Real NVP on the embedded digits for one minute"
	@$(BIN)/pushforward train digits --out runs/demo --force
	@echo "==> Is the model what it says? pushforward verify runs/demo"
	@$(BIN)/pushforward verify runs/demo digits
	@echo "==> Look at runs/demo/samples.png: digits that nobody ever wrote"

test: $(READY) lint
	@echo "==> Tests"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto

slow: $(READY)
	@echo "==> Long tests"
	@$(BIN)/python -m pytest -m slow

# The other libraries have an environment of their own, PyTorch first: theirs to share, not to move.
$(PEERS): pyproject.toml constraints.txt
	@echo "==> Setting up .venv-peers with the libraries to compare with (some minutes)"
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[peers]'
	@touch $(PEERS)

bench: $(PEERS)
	@echo "==> Speed and memory; one workload only: make bench BENCH='rows-train --threads 1'"
	@.venv-peers/bin/python benchmarks/speed.py $(BENCH)

lint: $(READY)
	@echo "==> Lint and format"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "==> Types"
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-peers .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
