# The commands of a newcomer. All but down, status and reset set up first; doing so twice is quick.
PYTHON ?= python3
DEVSTACK := devstack/.venv/bin/devstack

.PHONY: help setup dev demo up down status reset test check lock

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup:  ## tools, virtual environments, dbt manifests
	@$(PYTHON) tools/setup.py

dev: setup  ## the whole workspace: stack, code locations, UI; Ctrl-C stops it all
	@$(DEVSTACK) run -- .venv/bin/python tools/dev.py

demo: setup  ## one full pass without a browser: lineage, first rows of each mart, times
	@.venv/bin/python tools/demo.py

up: setup  ## the stack alone (Postgres, Airbyte, GitHub), in the background
	@$(DEVSTACK) up
	@.venv/bin/python tools/limits.py

down:  ## stop the stack
	@$(DEVSTACK) down

status:  ## what of the stack is running, where, and how it is
	@$(DEVSTACK) status

reset:  ## stop the stack and delete its data, after asking
	@$(DEVSTACK) reset

test: setup  ## lint, types, each location's tests in its own environment, end-to-end tests
	@.venv/bin/tox

check: setup  ## the gate: does a deploy break another team's lineage?
	@.venv/bin/freshline check -w workspace.yaml

lock: setup  ## resolve every project's lock file; pins that still fit stay
	@.venv/bin/python tools/lock.py
