# make install | demo | test | check | soak | model
# PYTHON picks the interpreter the environment is made with; TORCH_INDEX another package index for torch alone,
# such as the one of its CPU-only build.
PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install demo test check soak model prerequisites

help:
	@echo "make install   set up .venv"; echo "make demo      a real OpenSearch, before and after"; echo "make test      everything, on real engines"; echo "make check     lint, types, import layers"; echo "make soak      the long tests"; echo "make model     train a reranker: DATA=FOLDER of a catalogue, OUT=FOLDER of the model, SEED=N"

prerequisites:
	@command -v $(PYTHON) >/dev/null || { echo "es-rerank needs Python 3.11 or newer; none was found as '$(PYTHON)'. Install it, or name it: make PYTHON=/path/to/python3 ..."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "es-rerank needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1 | head -n 1). Name a newer one: make PYTHON=/path/to/python3 ..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make virtual environments: install its venv module (Debian and Ubuntu: apt-get install python3-venv)."; exit 2; }
	@command -v mvn >/dev/null || { echo "es-rerank fetches its local engines with Maven, and no 'mvn' was found. Install it (Debian and Ubuntu: apt-get install maven; macOS: brew install maven)."; exit 2; }

$(VENV)/.installed: setup.cfg pyproject.toml es_rerank/__init__.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "Installing es-rerank and its dependencies into $(VENV) (torch is large; a few minutes) ..."
	@if [ -n "$(TORCH_INDEX)" ]; then $(BIN)/python -m pip install --quiet torch --index-url "$(TORCH_INDEX)"; fi
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $@

install: prerequisites $(VENV)/.installed

demo: install
	$(BIN)/es-rerank demo

test: install
	$(BIN)/python -m pytest -m 'not soak'

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Half an hour; SOAK_SECONDS=60 makes it shorter.
soak: install
	$(BIN)/python -m pytest -m soak -s

# Weak labels alone: DATA is a folder of products (*.jsonl), the sample catalogue without it. Stopped and called again
# it goes on.
DATA ?= sample
OUT ?= model
SEED ?= 1
model: install
	$(BIN)/es-rerank train reranker --data "$(DATA)" --out "$(OUT)" --run "training/seed-$(SEED)" --seed $(SEED)
