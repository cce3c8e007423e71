# make demo         show it: PostgreSQL with sample data, Howdah in front, a comparison
# make test         set up, check style and types, run all tests
# make bench        measure against PostgreSQL, PgBouncer and Pgpool-II
# make bench-quick  the same, shorter
# make model        check the model of the protocol, exhaustively (needs spin and gcc)
# make mutations    break the consistency code in every way of a table: each must be noticed
# make consistency  30 minutes of the checker, with chaos, on PostgreSQL 18
# make fuzz         10,000 random configuration files: new rules, or one line and the old ones
# make lint         style and types only
# make reference    bring the generated tables in config/ up to date
# make clean        remove what the targets above have made
#
# Needs Python >= 3.11; `make demo PYTHON=/path/to/python3` names one.

VENV := .venv
BIN := $(VENV)/bin
SOURCES := proxy tests model $(wildcard bench)
PYTEST_ARGS ?=
BENCH_ARGS ?=

# The first Python that is new enough and can make virtual environments.
FIND_PYTHON = for python in $(PYTHON) python3.13 python3.12 python3.11 python3.14 python3; do \
	if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
		>/dev/null 2>&1; then echo "$$python"; break; fi; done

.PHONY: demo test lint bench bench-quick model mutations consistency fuzz reference clean
.DEFAULT_GOAL := test

demo: $(VENV)/.demo
	@$(BIN)/howdah demo $(DEMO_ARGS)

test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(SOURCES)

bench: $(VENV)/.dev
	$(BIN)/python -m bench $(BENCH_ARGS)

bench-quick: $(VENV)/.dev
	$(BIN)/python -m bench --quick $(BENCH_ARGS)

model: $(VENV)/.dev
	$(BIN)/python -m model.run $(MODEL_ARGS)

mutations: $(VENV)/.dev
	$(BIN)/python -m tests.mutations $(MUTATIONS)

consistency: $(VENV)/.dev
	$(BIN)/python -m tests.consistency $(CONSISTENCY_ARGS)

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.rulefuzz $(FUZZ_ARGS)

reference: $(VENV)/.dev
	$(BIN)/python -m proxy.reference

# Each stamp says that the environment fits pyproject.toml, with these extras.
$(VENV)/.dev: pyproject.toml
	@$(MAKE) --no-print-directory install EXTRA=dev
	@touch $(VENV)/.demo $@

$(VENV)/.demo: pyproject.toml
	@$(MAKE) --no-print-directory install EXTRA=demo
	@touch $@

.PHONY: install
install:
	@if ! $(BIN)/python -c '' >/dev/null 2>&1; then \
		python=$$($(FIND_PYTHON)); \
		if [ -z "$$python" ]; then \
			echo "make: no Python >= 3.11 with venv was found." >&2; \
			echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv)," >&2; \
			echo "or name one: make PYTHON=/path/to/python3" >&2; \
			exit 1; \
		fi; \
		echo "Setting up $(VENV) with $$python"; \
		"$$python" -m venv --clear $(VENV); \
	fi
	@echo "Installing Howdah and its packages (extra: $(EXTRA))"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRA)]'

clean:
	rm -rf $(VENV) build dist howdah.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find proxy tests -name __pycache__ -type d -prune -exec rm -rf {} +
