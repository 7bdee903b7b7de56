# `make test` and `make demo` do all their own set-up; nothing has to be installed before.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo-out

.PHONY: install test lint demo clean faults limits

install: $(VENV)/.installed

# torch goes first and alone: where a CPU build of the tested version is offered, it is what gets installed.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --durations 15

demo: install
	$(BIN)/python -m pipelines.demo --out $(DEMO)

# An NTU-120-sized cache and a build of 20,000 samples against what is promised; 6 GB of scratch disk.
limits: install
	$(BIN)/python -m pipelines.limits

# Kills builds and training runs, fails disks, compares what comes of it byte for byte.
faults: install
	$(BIN)/python -m pipelines.faults

clean:
	rm -rf $(VENV) build dist *.egg-info
