# `make run` and `make test` need Debian's python3, python3-venv and make, and nothing else.
PYTHON ?= python3
LISTEN ?= 127.0.0.1:8080
BIN = .venv/bin

run: .venv/made
	@$(BIN)/mailapi serve --init --listen $(LISTEN)

test: .venv/made
	$(BIN)/python -m pytest

.venv/made: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .hypothesis

.PHONY: run test clean
