# make drill: rehearse the whole recovery here, with no cloud.  make test: what runs on loopback alone.
# Both make .venv and install into it, once; nothing is written outside this folder.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pip asks rustc for its version; where rustup has no folder yet, that would make one in the home folder.
ifeq ($(RUSTUP_HOME)$(wildcard $(HOME)/.rustup),)
export RUSTUP_HOME := $(CURDIR)/.venv/rustup
endif

.PHONY: drill test test-full bench soak lint clean

drill: .venv/.sandbox
	@$(BIN)/python -m compileall -q drkit
	@$(BIN)/drkit run-drill --sandbox

test: .venv/.dev
	@$(BIN)/python -m compileall -q drkit
	@$(BIN)/python tests/run_suites.py quick

test-full: .venv/.dev
	@$(BIN)/python -m compileall -q drkit
	@.ci/tools
	@$(BIN)/python tests/run_suites.py full

soak: .venv/.dev
	@$(BIN)/python tests/run_suites.py soak

bench: .venv/.dev
	@$(BIN)/python -m bench

lint: .venv/.dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find drkit tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "drkit needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 2; }
	@echo "making a virtual environment in .venv"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "python3 -m venv failed; on Debian: apt install python3-venv"; exit 2; }

.venv/.sandbox: pyproject.toml | .venv/bin/python
	@echo "installing drkit and what its sandbox needs into .venv (once)"
	@$(BIN)/python -m pip install -qq --editable '.[sandbox]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	@echo "installing drkit, its sandbox and its test tools into .venv (once)"
	@$(BIN)/python -m pip install -qq --editable '.[sandbox,dev]'
	@touch $@ .venv/.sandbox
