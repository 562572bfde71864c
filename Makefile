# Everything a person does here, one target each. `make` and `make help` list them.
# PYTHON=... chooses the interpreter, VENV=... the environment's folder, ARGS=... goes to the program that is run.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
CLIENTS := tests/clients
UI := ui
PAGE := baton/web/static/app/index.html
ARGS ?=
# Much of it is waiting for processes and for real time (a link that is gone): three at a time keep two cores busy.
WORKERS ?= 3
# Where this is set, each of the hundreds of servers and bridges that tests start would compile all of Baton again.
unexport PYTHONDONTWRITEBYTECODE

# --- environment ----------------------------------------------------------------------------------------------

# The first interpreter that is new enough. A shim that answers `command -v` may still refuse to run, so each is asked.
define FIND_PYTHON
found=; \
for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python3.14 python); do \
  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$candidate; break; fi; \
done; \
if [ -z "$$found" ]; then \
  echo "Baton needs Python 3.11 or newer, and none was found. Install one (https://www.python.org/downloads/)," >&2; \
  echo "or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; \
fi
endef

# Debian ships python3 without ensurepip: then `uv` or `virtualenv` do as well, and else the cure is named.
define MAKE_VENV
if [ -e "$(VENV)" ] && [ ! -e "$(VENV)/pyvenv.cfg" ]; then \
  echo "$(VENV) is there and is no virtual environment: remove it, or choose another folder with VENV=..." >&2; exit 1; \
fi; \
rm -rf "$(VENV)"; \
"$$found" -m venv "$(VENV)" >/dev/null 2>&1 \
  || { rm -rf "$(VENV)"; uv venv --quiet --seed --python "$$found" "$(VENV)" 2>/dev/null; } \
  || { rm -rf "$(VENV)"; "$$found" -m virtualenv --quiet "$(VENV)" 2>/dev/null; } \
  || { rm -rf "$(VENV)"; \
       echo "$$found cannot make a virtual environment (ensurepip is missing). Cure on Debian and Ubuntu:" >&2; \
       echo "  sudo apt install python3-venv      or      pip install --user virtualenv" >&2; exit 1; }
endef

$(VENV)/.made:
	@$(FIND_PYTHON); echo "Making $(VENV) with $$($$found --version)"; $(MAKE_VENV)
	@touch $@

# One stamp per set of extras; a change of the metadata installs again.
$(VENV)/.run: $(VENV)/.made setup.cfg pyproject.toml
	@echo "Installing Baton with Claude's SDK (once, some hundred megabytes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[claude]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made setup.cfg pyproject.toml
	@echo "Installing Baton with everything that checks and tests need (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[acp,claude,dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.audit: $(VENV)/.dev
	@echo "Installing what audits Baton (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[audit]'
	@touch $@

$(CLIENTS)/node_modules/.installed: $(CLIENTS)/package.json
	@$(NEED_NODE)
	@echo "Installing the JavaScript client of the tests (once)"
	@cd $(CLIENTS) && npm install --silent --no-package-lock --no-audit --no-fund
	@touch $@

# Installed anew where the lock file has changed; `npm ci` takes exactly what it names.
$(UI)/node_modules/.installed: $(UI)/package-lock.json
	@$(NEED_NODE)
	@echo "Installing what the page is built with (once)"
	@cd $(UI) && npm ci --silent --no-audit --no-fund
	@touch $@

# --- the page -------------------------------------------------------------------------------------------------

define NEED_NODE
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null \
  || { echo "This needs Node.js 20.19 or newer (https://nodejs.org/)." >&2; exit 1; }
endef

PAGE_SOURCES := $(UI)/index.html $(UI)/vite.config.ts $(UI)/package-lock.json baton/__init__.py \
  $(shell find $(UI)/src -type f -not -name '*.test.*' 2>/dev/null)

$(PAGE): $(UI)/node_modules/.installed $(PAGE_SOURCES)
	@echo "Building the page"
	@cd $(UI) && npm run --silent build
	@touch $@

# --- people ---------------------------------------------------------------------------------------------------

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.run ## Start Baton on http://localhost:3001 (ARGS="--port 4000" and the like)
	@if node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then \
	  $(MAKE) --no-print-directory $(PAGE) || echo "The page could not be built; the server starts without it." >&2; \
	else echo "Without Node.js 20 the web page is not built; a small status page takes its place." >&2; fi
	@exec $(BIN)/baton serve $(ARGS)

.PHONY: dev
dev: $(VENV)/.run $(UI)/node_modules/.installed ## The page with hot reload on http://localhost:5173, beside a server on 3001
	@$(BIN)/baton serve $(ARGS) & server=$$!; trap 'kill $$server 2>/dev/null; wait $$server' EXIT; cd $(UI) && npm run --silent dev

.PHONY: ui
ui: $(PAGE) ## Build the page into the package

.PHONY: ui-types
ui-types: $(VENV)/.dev ## Write the page's wire types anew from the schemas
	@$(BIN)/python -m baton.schemas.typescript $(UI)/src/wire/types.ts

.PHONY: screenshots
screenshots: $(VENV)/.run $(PAGE) ## Take the pictures in docs/screenshots anew (needs chromium)
	@PYTHON=$(abspath $(BIN))/python node $(UI)/scripts/screenshots.mjs

.PHONY: bench-page
bench-page: $(VENV)/.dev $(PAGE) ## Measure the page in Chromium (ARGS="--against ../other-checkout", ARGS=--keep)
	@$(BIN)/python -m benchmarks.page $(ARGS)

.PHONY: test
test: $(VENV)/.dev $(CLIENTS)/node_modules/.installed $(PAGE) ## Run all tests (ARGS="-k prompt" and the like; WORKERS=0 in one process)
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS)

.PHONY: test-mongo
test-mongo: $(VENV)/.dev ## Run the store's contract on every store and server to be had (ARGS="ferretdb": only that one)
	@$(BIN)/python -m tests.mongo_servers $(ARGS)

.PHONY: test-faults
test-faults: $(VENV)/.dev ## Break real processes by a plan, and hold what is left against every promise (ARGS="--rounds 1000")
	@$(BIN)/python -m tests.faults.suite $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## Half an hour of load with faults: does anything grow? (ARGS="--minutes 5")
	@$(BIN)/python -m tests.faults.soak $(ARGS)

RELAYS := benchmarks/relays

# SQLite for Node.js is built on the spot where no ready one can be had: minutes, once.
$(RELAYS)/node_modules/.installed: $(RELAYS)/package.json
	@$(NEED_NODE)
	@echo "Installing the relays that Baton is compared with (once)"
	@cd $(RELAYS) && npm install --silent --no-package-lock --no-audit --no-fund
	@touch $@

.PHONY: bench
bench: $(VENV)/.dev $(RELAYS)/node_modules/.installed ## Measure Baton beside relays (ARGS=--quick: two minutes; ARGS="--only relay,idle")
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-docs
bench-docs: $(VENV)/.dev ## Write the tables of docs/performance.md anew from what `make bench` found
	@$(BIN)/python -m benchmarks.report

.PHONY: check
check: $(VENV)/.dev $(UI)/node_modules/.installed ## Check format, lint, types and import contracts, and the page's too
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m baton.schemas.typescript --check $(UI)/src/wire/types.ts
	@cd $(UI) && npm run --silent check

.PHONY: audit
audit: $(VENV)/.audit ## Look for unsafe patterns in the source, and for known vulnerabilities in what it stands on
	@# Where several checks meet one line, bandit warns of those that had nothing to say: that is no news.
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive baton migrations 2> >(grep -v 'no failed test' >&2)
	@$(BIN)/python scripts/audit-dependencies.py $(UI) $(CLIENTS) benchmarks/relays

.PHONY: check-deploy
check-deploy: $(VENV)/.audit ## Check the Dockerfile, docker-compose.yml, the Procfile and the shell scripts
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	@$(BIN)/yamllint --strict --config-file .yamllint.yaml docker-compose.yml .yamllint.yaml
	@$(BIN)/honcho check 2> >(grep -v 'Valid procfile' >&2)
	@command -v shellcheck >/dev/null || { echo "This needs shellcheck (apt install shellcheck)." >&2; exit 1; }
	@shellcheck scripts/*.sh baton/agents/*.sh .ci/run

.PHONY: fuzz
fuzz: $(VENV)/.dev ## Try a million malformed events and frames (ARGS="--count 100000 --seed 1" and the like)
	@$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: fmt
fmt: $(VENV)/.dev ## Format the code and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: docs
docs: $(VENV)/.dev ## Write the tables of docs/settings.md anew from the code
	@$(BIN)/python -m tests.support.settings_reference

.PHONY: db-check
db-check: $(VENV)/.run ## Look whether the database is healthy (ARGS=--repair mends what is safe)
	@$(BIN)/baton db check $(ARGS)

.PHONY: db-migrate
db-migrate: $(VENV)/.run ## Bring the database up to date (ARGS=--dry-run only names what would be done)
	@$(BIN)/baton db migrate $(ARGS)

.PHONY: db-seed
db-seed: $(VENV)/.run ## Add some conversations to look at (ARGS="--messages 1000": a large one)
	@$(BIN)/baton db seed $(ARGS)

.PHONY: db-sync
db-sync: $(VENV)/.run ## Bring migrations, indexes and counts in line, and say what was done
	@$(BIN)/baton db sync $(ARGS)

.PHONY: prisma-sync
prisma-sync: db-sync ## The same, under the name that old guides use

.PHONY: backup
backup: $(VENV)/.run ## Make a backup that was read back (ARGS="/mnt/disk --keep 14" and the like)
	@$(BIN)/baton db backup $(ARGS)

.PHONY: restore
restore: $(VENV)/.run ## Bring a backup back (ARGS="FILE", ARGS="FILE --conversation ID")
	@$(BIN)/baton db restore $(ARGS)

.PHONY: bridge
bridge: $(VENV)/.run ## Run agents on this machine for a server (ARGS="--backend https://... --workspace ~/my-project")
	@exec $(BIN)/baton bridge $(ARGS)

.PHONY: doctor
doctor: $(VENV)/.run ## Find out what is wrong, and the command that cures it
	@$(BIN)/baton doctor $(ARGS)

.PHONY: status
status: $(VENV)/.run ## Page, server, database and bridge in four lines
	@$(BIN)/baton doctor --brief $(ARGS)

.PHONY: debug-info
debug-info: $(VENV)/.run ## Collect what helps others to help you: no content, no tokens
	@$(BIN)/baton debug-info $(ARGS)

# The server makes the bridge's token at its first start; the bridge has a data folder of its own, where it then lies.
.PHONY: docker-up
docker-up: ## Start Baton, MongoDB and a bridge in containers
	@docker compose up --detach --build --wait mongodb backend
	@docker compose exec -T backend baton token show bridge \
	  | docker compose run --rm -T --no-deps --build bridge sh -c 'umask 077; cat > /data/bridge.token'
	@docker compose up --detach --build --wait bridge
	@docker compose exec -T backend baton token show | sed 's|^|http://localhost:3001/?token=|'

.PHONY: docker-down
docker-down: ## Stop the containers; the data stays
	@docker compose down

.PHONY: docker-restart
docker-restart: ## Restart the containers (ARGS=backend only that one); nothing that is stored is lost
	@docker compose restart $(ARGS)

.PHONY: logs
logs: ## Follow the logs of the containers (ARGS=backend only its own)
	@docker compose logs --follow --tail 200 $(ARGS)

.PHONY: clean
clean: ## Remove the environment, caches and builds; never data
	@if [ -e "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	@rm -rf $(CLIENTS)/node_modules $(UI)/node_modules $(RELAYS)/node_modules baton/web/static/app build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find baton tests migrations benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
