# What a developer runs. `make` alone lists it. Steps are quiet; errors are not.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
BIN := .venv/bin
WORKERS ?= 2
FUZZ_FRAMES ?= 200000
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help venv system-packages demo-packages queue-packages check format lint types layers dead-code test demo
.PHONY: bench fuzz clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

venv: .venv/installed ## create .venv with Hotplate and the tools of development

.venv/installed: pyproject.toml tests/tools/make_venv.sh
	@bash tests/tools/make_venv.sh .venv
	@touch $@

system-packages: ## install what tests and benchmarks run beside Python
	@bash tests/tools/system_packages.sh

check: lint types layers dead-code test ## everything a change must pass

format: venv ## format and fix what a tool can fix
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

lint: venv
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/ruff check --quiet .

types: venv
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/pyright --warnings server commands clients

layers: venv
	@$(BIN)/lint-imports --no-cache

dead-code: venv
	@$(BIN)/vulture

test: venv system-packages demo-packages queue-packages ## the whole test suite
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

demo-packages: venv
	@bash tests/tools/demo_packages.sh .venv

queue-packages: venv system-packages
	@bash tests/tools/queue_packages.sh .queue-packages

demo: venv ## a real model with its KV cache in Hotplate
	@bash tests/tools/demo_packages.sh .venv --required
	@$(BIN)/hotplate demo --check

bench: venv system-packages ## Hotplate beside a redis-server on this machine
	@$(BIN)/hotplate bench

fuzz: venv ## random requests, FUZZ_FRAMES of them (200000)
	@$(BIN)/python -m tests.fuzz.frames --frames $(FUZZ_FRAMES)

clean: ## remove what the other targets made, .venv too
	@rm -rf .venv .queue-packages build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
