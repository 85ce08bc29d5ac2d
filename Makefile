# make demo: the study in small, offline. make test: linters and tests. Both set up .venv from constraints.txt first.
PYTHON ?= python3

.PHONY: demo test setup
demo: setup
	.venv/bin/memlake demo

test: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports
	.venv/bin/python -m pytest

setup: .venv/current

.venv/current: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "memlake needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@
