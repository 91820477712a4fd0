# `make run` and `make test` need Debian's python3, python3-venv and make, and nothing else.
PYTHON ?= python3
LISTEN ?= 127.0.0.1:8080
BIN = .venv/bin
SERVERS = $(shell cat tests/support/servers.txt)
WORKERS ?= 4
SHARED = $$(command -v eatmydata) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

run: .venv/made
	@$(BIN)/mailapi serve --init --listen $(LISTEN)

# WORKERS processes share the test files: twice as many as two cores, as tests wait for servers.
# `.venv/bin/python -m pytest tests/core/test_wire.py` is quicker with one.
# No test takes the power away: with eatmydata nobody waits for the disk.
# Then what concerns the master database once more, with it on a server.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/tested servers lint
	$(SHARED)
	MAILAPI_TEST_DB=mariadb $(SHARED)

# What a change is most likely to break, in less than two minutes: no real servers, on SQLite only.
quick: export PYTHONDONTWRITEBYTECODE =
quick: .venv/tested lint
	$$(command -v eatmydata) $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" \
		tests/core tests/api tests/state tests/directory tests/project

# The style of the code and of the prose: rules, format, types, spelling, clichés. proselint.json switches checks off that
# take code for prose: waitress, straight quotes, "md5", Reply-To, a heading and its first word.
lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy mailapi.py modules
	$(BIN)/codespell
	$(BIN)/proselint check --config proselint.json README.md CHANGELOG.md bench docs

# Longer than in `make test`: ten minutes for each part.
fuzz: .venv/tested
	FUZZ=100 $(BIN)/python -m pytest tests/core/test_fuzz.py tests/core/test_fuzz_mail.py
	FUZZ_SECONDS=600 $(BIN)/python -m pytest tests/project/test_guided_fuzz.py

# Longer than in `make test`: eight writers for two minutes, a server killed 120 times.
stress: .venv/tested
	STRESS=120 $(BIN)/python -m pytest tests/deploy/test_survival.py

# How mailapi compares with the original and with a floor; some ten minutes. `ARGS="--server uwsgi"` for a part of it.
bench: .venv/tested servers
	$(BIN)/python -m bench traffic $(ARGS)

# mailapi and the packages that it needs in one file: dist/mailapi.pyz.
pyz: .venv/bundled
	@$(BIN)/python build_pyz.py

# A Debian package of mailapi.pyz, with a service: dist/mailapi-server_VERSION_all.deb.
deb: .venv/bundled
	@$(BIN)/python packaging/build_deb.py

# The pictures of docs/panel.md, anew.
pictures: .venv/tested
	PANEL_PICTURES=docs $(BIN)/python -m pytest tests/panel/test_panel_day.py -k pictures

# The servers that tests start as private instances: Debian's packages, where we may install them.
servers:
	@missing=$$(for name in $(SERVERS); do dpkg -s $$name >/dev/null 2>&1 || echo $$name; done); \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -qq && \
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $$missing >/dev/null; \
	else echo "Tests that need these Debian packages are skipped:" $$missing; fi

.venv/made: pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/bundled: .venv/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[mariadb]'
	@touch $@

.venv/tested: .venv/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: 'atheris>=3' || \
		echo "atheris is not to be had here: guided fuzzing is skipped"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'axe-playwright-python>=0.1.8' || \
		echo "axe-core is not to be had here: the panel's accessibility is not tested"
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .hypothesis

.PHONY: run test quick lint servers pictures fuzz stress bench pyz deb clean
