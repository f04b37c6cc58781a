# make demo    a real model is judged, rewarded, optimised naively and carefully, and reported on, in runs/demo
# make test    everything that must hold before a change is handed in
# make lint    style and types          make docs    the documentation, in site/
# make bench   the benchmarks, ours alone (docs/benchmarks.md says how to add the peers)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -c constraints.txt

.PHONY: demo test lint docs bench

demo: $(VENV)/.installed
	$(BIN)/custodes quickstart --out runs/demo --arms all

test: lint docs
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.installed
	for name in sampling rl_step reward_training annotators ledger sandbox episodes; do $(BIN)/python benchmarks/$$name.py --json || exit; done

# Installed once, and again when what is required changes.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/.installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Custodes needs Python 3.11 or newer; say where it is: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; }
