# `make run`: everything, from nothing to the page. `make test`: the tests. Both set up .venv first.
PYTHON ?= python3
BIN = .venv/bin
PYTEST = OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup run serve test test-long check audit fmt docs mutants notebook lesson bench clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 11

setup: .venv/ready  ## create .venv and install everything in it

.venv/ready: requirements.txt requirements-dev.txt requirements-gpus.txt requirements-heic.txt requirements-hf.txt requirements-offline.txt requirements-parquet.txt requirements-ray.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev,gpus,heic,parquet,ray]"
	@if command -v npm >/dev/null; then $(BIN)/bears assets; else echo "npm is not here: pages without a server need it (bears assets)"; fi || true
	@touch $@

run: setup  ## train on the embedded starter set, then serve the page on 127.0.0.1:7860
	@trap : INT; $(BIN)/bears run --source starter --serve || [ $$? -eq 130 ]  # 130: Ctrl-C closed it

serve: setup  ## serve the page of models/bears on 127.0.0.1:7860
	@trap : INT; $(BIN)/bears serve models/bears || [ $$? -eq 130 ]

test: setup  ## run the tests, two files at a time
	$(PYTEST) -m "not long"

test-long: setup  ## run the long tests, and those that train with the instructions of another processor
	$(PYTEST) -m long
	ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) -m "trains and not long"

check: setup  ## lint, import rules and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	$(BIN)/mypy

audit: setup  ## compare the pinned packages with the database of known faults (needs the internet)
	$(BIN)/pip-audit --no-deps --disable-pip $(addprefix -r ,requirements.txt requirements-gpus.txt requirements-heic.txt requirements-hf.txt requirements-offline.txt requirements-parquet.txt requirements-ray.txt)

fmt: setup  ## format the code
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

mutants: setup  ## plant known faults; each must turn a test red
	$(BIN)/python tests/mutants.py

notebook: setup  ## run notebooks/bears.ipynb from top to bottom, in a folder that is gone afterwards
	$(BIN)/python tests/execute_notebook.py

LESSON = --project starter --data build/lesson/data --models build/lesson/models
lesson: setup  ## build every page of the lesson in build/lesson; fails where a claim falls (TOLD=1: only tells)
	$(BIN)/bears run $(LESSON) --quiet
	$(BIN)/bears lesson all $(LESSON) --save build/lesson/pages \
	  $(if $(TOLD),|| [ $$? -eq 1 -a -f build/lesson/pages/privacy.html ])

PHOTOS ?= ../shared/photos/bears
WEIGHTS ?= ../shared/weights/mobilenet_v2-imagenet.pth
bench: setup  ## run the speed programs of benchmarks/, write docs/BENCHMARKS.md (ONLY=NAME: one of them)
	PHOTOS=$(PHOTOS) WEIGHTS=$(WEIGHTS) $(BIN)/python benchmarks/all.py $(if $(ONLY),--only $(ONLY))

docs: setup  ## write the generated parts of docs/, the notebooks of the lesson and the card of models/bears
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/bears_card.py
	$(BIN)/python docs/lesson_notebooks.py

clean:  ## remove what was built; data and models stay
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
