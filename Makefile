# Everything runs in .venv, made here from Python 3.11 or later; nothing else is needed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OUT ?= genomix-demo
JOBS ?= 2
WORK ?= genomix-benchmark

.PHONY: demo oracles test lint types contract check docs test-faults test-statistics test-studies benchmark benchmark-variants benchmark-records clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/.base

.venv-aces/.done:  ## the reference program of ACES, in an environment of its own: it needs an older Polars
	$(PYTHON) -m venv .venv-aces
	.venv-aces/bin/python -m pip install --quiet "es-aces==0.7.3"
	touch $@

.venv-dcurves/.done:  ## net benefit by its authors, in an environment of its own: it needs an older pandas
	$(PYTHON) -m venv .venv-dcurves
	.venv-dcurves/bin/python -m pip install --quiet "dcurves==1.1.7"
	touch $@

oracles: .venv-aces/.done .venv-dcurves/.done  ## other people's programs that tests compare with, beside plink2 and bcftools

demo: $(VENV)/.base  ## run the main job on bundled data and print the path of the report
	$(BIN)/genomix demo --out $(OUT)

test: $(VENV)/.dev  ## the test suite (minutes; what takes longer has its own target below)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow" --cov --cov-report=term:skip-covered

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

contract: $(VENV)/.dev  ## imports point down only
	$(BIN)/lint-imports

check: lint types contract test

docs: $(VENV)/.dev  ## make the reference pages again from the code
	$(BIN)/python docs/make_reference.py

test-faults: $(VENV)/.dev  ## kill the demo study at every write and rename, and run it again
	$(BIN)/python -m pytest -m slow tests/cli/test_demo_faults.py

test-statistics: $(VENV)/.dev  ## what the demo must find, and must not find, over seeds fixed beforehand
	$(BIN)/python -m pytest -n $(JOBS) -m slow tests/validation/test_demo_statistics.py

test-studies: $(VENV)/.dev  ## the real studies that take minutes
	$(BIN)/python -m pytest -n $(JOBS) -m slow tests/validation/test_real_studies.py

benchmark: $(VENV)/.base
	$(BIN)/python benchmarks/end_to_end.py

benchmark-variants: $(VENV)/.base  ## conversion, quality control, scores, components, association, beside plink2 and cyvcf2
	$(BIN)/python benchmarks/variants.py --work $(WORK)

benchmark-records: $(VENV)/.base  ## conversion of every format, and features beside DuckDB and Polars
	$(BIN)/python benchmarks/ehr.py --work $(WORK)

clean:
	rm -rf $(VENV) .venv-aces .venv-dcurves $(OUT) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
