# Everything a newcomer needs. `make help` lists it.
.DEFAULT_GOAL := help
BIN := .venv/bin
ARGS ?=

.PHONY: help venv demo test simulate faults lint types contracts check bench direct-report lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

venv: ## install what is missing, and make .venv
	@tools/setup

demo: venv ## bridge a private chat on real servers, and stay up (ARGS=--check: verify and leave)
	@exec $(BIN)/dm-bridge demo $(ARGS)

test: ## the whole suite, on real servers
	@tools/setup --tests
	@exec $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

simulate: venv ## 10,000 histories with faults, in virtual time (ARGS: --kind K --seed S | --histories N --first S)
	@exec $(BIN)/python -m dm_bridge.testing.simulator $(ARGS)

lint: venv ## ruff: rules and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: venv ## mypy, strict
	@$(BIN)/mypy

contracts: venv ## who may import whom
	@$(BIN)/lint-imports

check: lint types contracts test ## all of the above

bench: venv ## the figures in docs/, measured here
	@exec $(BIN)/python -m benchmarks $(ARGS)

direct-report: venv ## m.direct under every writer, by strategy (ARGS: --histories N --seed S --json)
	@exec $(BIN)/python -m benchmarks.direct_report $(ARGS)

faults: venv ## real servers and a real bridge under every fault (ARGS: --rounds N --seed S --only NAME)
	@exec $(BIN)/python -m tests.faults $(ARGS)

lock: venv ## resolve requirements/*.txt anew (ARGS=-U: newest releases)
	@exec $(BIN)/python tools/lock $(ARGS)

clean: ## remove .venv, caches and builds
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
