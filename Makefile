# Everything a developer does, on a machine with Python 3.11 and make. Set-up happens once and is not repeated until
# pyproject.toml or constraints.txt change.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers

.DEFAULT_GOAL := help
.PHONY: help setup demo test nightly lint format docs bench clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(READY) ## Make .venv with vaekit and everything its tests need

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY) ## A photograph through the built-in VAE and back, into demo/
	@mkdir -p demo
	@cp "$$($(BIN)/python -c 'from importlib.resources import files; print(files("sklearn.datasets.images") / "china.jpg")')" demo/china.jpg
	$(BIN)/vaekit reconstruct demo/china.jpg --out demo --side-by-side
	@echo "Look at demo/china.side-by-side.png"

test: $(READY) ## Run the tests, two at a time (one thread each: the networks in them are tiny)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not nightly"

nightly: $(READY) ## Run the slow sweeps that make test leaves out, then read 20,000 mutants of real files
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m nightly
	OMP_NUM_THREADS=1 VAEKIT_MUTANTS=20000 $(BIN)/python -m pytest -rP tests/attacks/test_mutants.py

lint: $(READY) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## Write docs/cli.md from the help pages, and docs/vae-files.md from the tables of families
	$(BIN)/python docs/write_cli_page.py
	$(BIN)/python docs/write_vae_files_page.py

bench: $(PEERS) ## Time beside diffusers, torch.compile, OpenVINO and ONNX Runtime; peak memory and budgets (long)
	$(BIN)/python bench/cpu.py
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/forecast.py
	$(BIN)/python bench/folder.py
	$(BIN)/python bench/defects.py skimage
	$(BIN)/python bench/cuda.py

$(PEERS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

clean: ## Remove what make made
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
