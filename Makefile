# `make demo` and `make test` start from a bare Debian or Ubuntu machine; PYTHON=... picks the interpreter (3.11+).
python := .venv/bin/python

.PHONY: install test lint
install:
	@bash scripts/bootstrap.sh

# PYTEST_ARGS="tests/native -x" and the like
test: install
	$(python) -m pytest $(PYTEST_ARGS)

lint: install
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
