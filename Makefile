# The commands of a newcomer. Those that need a set-up make it first; the second time that is quick.
PYTHON ?= python3
DEVSTACK := devstack/.venv/bin/devstack
IF_PYTHON = command -v $(PYTHON) >/dev/null || { echo "There is no program $(PYTHON). Install Python 3.11, 3.12 or 3.13," \
	"or name yours: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12" >&2; exit 1; }
IF_SET_UP = test -x $(DEVSTACK) || { echo "Nothing is set up here yet: make setup" >&2; exit 1; }

.PHONY: help setup dev demo up down status reset site test test-story test-others check snapshots lock

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup:  ## tools, virtual environments, dbt manifests
	@$(IF_PYTHON)
	@$(PYTHON) tools/setup.py

dev: setup  ## the whole workspace: stack, code locations, UI; Ctrl-C stops everything
	@$(DEVSTACK) run --with-parent -- .venv/bin/python tools/dev.py

demo: setup  ## one full pass without a browser: lineage, first rows of each mart, times
	@.venv/bin/python tools/demo.py

up: setup  ## the stack and the workers (Postgres, Airbyte, GitHub, broker), in the background
	@$(DEVSTACK) up
	@.venv/bin/python tools/limits.py

down:  ## stop the stack
	@$(IF_SET_UP)
	@$(DEVSTACK) down

status:  ## which servers of the stack run, on which ports, and in which state
	@$(IF_SET_UP)
	@$(DEVSTACK) status

reset:  ## stop the stack and delete its data, after asking
	@$(IF_SET_UP)
	@$(DEVSTACK) reset

site: setup  ## the documentation as a site, its links checked, in .local/site/html
	@.venv/bin/tox run -e site
	@echo "site: open $(CURDIR)/.local/site/html/index.html"

test: setup  ## lint, types, each location's tests in its own environment, end-to-end tests
	@$(MAKE) --no-print-directory --jobs 2 --keep-going test-story test-others

# The story of freshness mostly waits, but is timed to the second: the others give way to it.
test-story:
	@.venv/bin/tox run -e freshness

test-others:
	@nice -n 19 .venv/bin/tox run-parallel --parallel 2 --parallel-no-spinner --skip-env freshness

check: setup  ## the gate: does a deploy break another team's lineage?
	@.venv/bin/freshline check -w workspace.yaml

snapshots: setup  ## rewrite the reviewed files: contracts, lineages, ports
	@.venv/bin/python tools/snapshots.py

lock: setup  ## resolve every project's lock file again; pins that still fit stay
	@.venv/bin/python tools/lock.py
