# make demo: the study in small, offline. make test: linters, types and tests. make format: mend what ruff can.
# All set up .venv from constraints.txt first.
PYTHON ?= python3
HERE = .venv/here

.PHONY: demo test lint types format setup
demo: setup
	.venv/bin/memlake demo

test: lint types
	.venv/bin/python -m pytest

lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports

types: setup
	.venv/bin/mypy

format: setup
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

setup: .venv/current

# mypy finds packages by their folders' names, and the root's may be any: it is told of it as .venv/here/memlake.
.venv/current: constraints.txt pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "memlake needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[compute,test]'
	@mkdir -p $(HERE) && ln -sfn ../.. $(HERE)/memlake
	@touch $@
