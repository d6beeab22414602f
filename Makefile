# The front door: each target makes its own virtual environment in .venv on first use.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint format clean

demo: .venv/demo.stamp
	$(BIN)/housevis run examples/sample-market.toml

test: .venv/test.stamp
	$(BIN)/python -m pytest

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/repository_check.py

format: .venv/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e .
	touch $@

.venv/test.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e ".[test,lint,research]"
	touch $@ .venv/demo.stamp

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
