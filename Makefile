# The doors of swarmstate. `make` alone lists them; each one builds .venv first when it is not there.
.DEFAULT_GOAL := help
SHELL := /bin/sh

BIN := .venv/bin
WORKERS ?= 2
# Servers, port, data folder: make run ARGS="--servers 3 --port 9000"
ARGS ?=
INSTALLED := .venv/.installed
BENCH_INSTALLED := .venv/.installed-bench
AZURITE := tests/azurite/node_modules/.installed
CALLS := tests/unit/agents/test_sound.py tests/integration/api/test_live_sound.py tests/integration/api/test_telephony.py
MUTATE_INSTALLED := .venv/.installed-mutate

.PHONY: help install run demo demo-voice test rooms nginx prove azurite livekit check bench mutate lock format clean

help: ## List the doors
	@echo "swarmstate: the state backbone of multi-bot LiveKit voice rooms"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Options: ARGS=\"--servers 3\" (run, demo), PYTHON=python3.12 (install), WORKERS=4 (test)"

install: $(INSTALLED) ## Build .venv from the pinned requirements (Python >= 3.11 is all it needs)
	@:

$(INSTALLED): pyproject.toml requirements-dev.txt requirements-uv.txt scripts/install.sh
	@echo "install: building .venv from requirements-dev.txt"
	@PYTHON="$(PYTHON)" scripts/install.sh requirements-dev.txt
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED) requirements-bench.txt
	@scripts/install.sh requirements-dev.txt requirements-bench.txt
	@touch $@

$(MUTATE_INSTALLED): $(INSTALLED) requirements-mutate.txt
	@scripts/install.sh requirements-dev.txt requirements-mutate.txt
	@touch $@

run: install ## Two servers with their own PostgreSQL and Redis; Ctrl-C drains and stops
	@$(BIN)/swarmstate dev $(ARGS)

demo: install ## Keep every promise in front of your eyes, kill -9 included
	@$(BIN)/swarmstate demo $(ARGS)

demo-voice: install ## Bots and people in a real LiveKit room: who is heard when, and after kill -9
	@$(BIN)/swarmstate demo --voice $(ARGS)

test: install ## The whole suite on real PostgreSQL and Redis
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(ARGS)
ifeq ($(ARGS),)
	$(BIN)/pytest -q tests/acceptance/test_voice_*.py
	$(BIN)/pytest -q $(CALLS) tests/integration/agents
endif

rooms: install livekit ## Whole voice rooms inside the test process, on a real livekit-server
	$(BIN)/pytest -q tests/integration/agents $(ARGS)

nginx: install ## Tests of the API and acceptance, asking two servers behind a real nginx (needs nginx)
	SWARMSTATE_TEST_THROUGH_NGINX=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile tests/integration/api tests/acceptance $(ARGS)

prove: install ## The long proof: faults by the hundred under load, into docs/proof.md
	@$(BIN)/python -m tests.prove $(ARGS)

azurite: $(AZURITE) ## Fetch Azure's blob emulator for the tests of az:// (needs Node.js >= 20 with npm)
	@:

$(AZURITE): tests/azurite/package-lock.json
	@cd tests/azurite && npm ci --loglevel=error
	@touch $@

livekit: ## Build livekit-server for the tests of rooms (needs Go >= 1.26, or have it on PATH)
	@scripts/livekit.sh

check: install ## Lint, format, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(BENCH_INSTALLED) ## Measure against the bare parts and the peers, into docs/benchmarks.md
	$(BIN)/python -m tests.benchmarks $(ARGS)

mutate: $(MUTATE_INSTALLED) ## Change the code on purpose and see which test notices, into docs/mutation.md
	@$(BIN)/python -m tests.mutation $(ARGS)

lock: install ## Pin the dependencies of pyproject.toml again (UPGRADE=1: newest versions)
	@scripts/lock.sh

format: install ## Repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove .venv and every cache (data folders stay)
	rm -rf .venv .cache .livekit tests/azurite/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
