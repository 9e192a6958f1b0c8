# `make demo` and `make test` set everything up by themselves in .venv; a second run does not reinstall.
PYTHON ?= python3.11
BIN := .venv/bin
# What needs no torch.
BASE_TESTS := tests/field tests/labels tests/search

.PHONY: demo docs test test-install test-cuda test-lower-bounds lint clean

demo: .venv/installed
	$(BIN)/embedkit demo --out demo

test: lint .venv/installed-dev
	$(BIN)/python -m pytest -n auto

# What is installed: the base without extras, the wheel, and what Numba compiles. The other tests
# leave these out.
test-install: .venv/installed-dev
	$(BIN)/python -m pytest -m install -n auto tests/install tests/pages/test_map.py

# The documentation site, into site/.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# On a machine with a GPU: what the other tests leave out.
test-cuda: .venv/installed-dev
	$(BIN)/python -m pytest -m cuda

# The base with the oldest libraries that pyproject.toml allows, in an environment of its own. What
# these warn of has been mended since.
test-lower-bounds:
	$(PYTHON) -m venv --clear .venv-lowest
	$(PYTHON) tests/lowest.py > .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip install --quiet --requirement .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip install --quiet --no-deps --editable .
	.venv-lowest/bin/python -m pytest -W default -m '' tests/install/test_base_install.py $(BASE_TESTS)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/installed: pyproject.toml
	@echo "Setting up .venv, once: a minute and 900 MB"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-docs: pyproject.toml .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

.venv/installed-dev: pyproject.toml .venv/installed
	@echo "Setting up what the tests need, once: torch makes it a few minutes and 5 GB"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-lowest build dist site *.egg-info
