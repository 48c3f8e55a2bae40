# Everything a developer or CI runs. Each target sets up what it needs, and reuses what is there.
#
#   make setup    the tools, a local Pyodide and a Chromium     make demo    the demo page, served
#   make check    style, types and the tests on CPython         make bench   docs/benchmarks.md
#   make test     check, then all the tests in a browser        make wheel   dist/durably-*.whl
#   make format   rewrite the sources in the house style        make clean   remove what make made
#   make faults   500 random schedules of faults; SEED=7 plays one of them again, COUNT=50 fewer,
#                 REPORT=docs/faults.md writes down what came of them
#   make bench PARTS="peers idle" measures some parts only, and writes nothing
#   make demo-open opens the browser itself; PORT=9000 chooses the demo's port

PYTHON ?= python3
PORT ?= 8000

python := .venv/bin/python
venv := .venv/installed
peers := .venv/installed-bench
node := node_modules/.package-lock.json
pyodide := build/pyodide/pyodide-lock.json
site := build/site/simple/index.html
sources := $(shell find src -type f -not -name '*.pyc')
browser_rings := tests/browser tests/e2e tests/faults/test_campaign.py
fast_rings := tests/core tests/contracts tests/crash tests/faults/test_checker.py \
	tests/faults/test_planted.py

.PHONY: setup check test browser-tests faults demo demo-open bench wheel format clean chromium
.DELETE_ON_ERROR:

setup: $(venv) $(node) $(pyodide) chromium

check: $(venv) $(node)
	@$(python) -m ruff format --check --quiet . || { echo 'Some files are not formatted; run: make format'; exit 1; }
	@$(python) -m ruff check --quiet .
	@$(python) -m mypy --no-error-summary
	@node_modules/.bin/tsc --noEmit
	@$(python) -m pytest -q --numprocesses=auto --dist=worksteal $(fast_rings)

test: check browser-tests

browser-tests: $(venv) $(pyodide) $(site) chromium
	@$(python) -m pytest -q --numprocesses=auto --dist=worksteal $(browser_rings)

faults: $(venv) $(pyodide) $(site) chromium
	@$(python) -m tests.faults $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT)) \
		$(if $(REPORT),--report $(REPORT))

demo: $(venv) $(pyodide) $(site)
	@$(python) scripts/demo.py --port $(PORT) $(if $(OPEN),--open)

demo-open: OPEN = 1
demo-open: demo

bench: $(venv) $(peers) $(node) $(pyodide) $(site) chromium
	@$(python) -m bench $(PARTS)

wheel: $(venv) $(node)
	@$(python) scripts/make_site.py --wheel

format: $(venv)
	@$(python) -m ruff check --quiet --fix-only .
	@$(python) -m ruff format --quiet .

clean:
	rm -rf .venv node_modules build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

chromium: $(venv)
	@$(python) scripts/find_chromium.py --install --quiet

$(venv): pyproject.toml scripts/make_venv.py
	@$(PYTHON) scripts/make_venv.py .venv
	@touch $@

$(peers): $(venv)
	@$(PYTHON) scripts/make_venv.py .venv bench
	@touch $@

$(node): package.json package-lock.json
	@echo 'Installing the npm packages into node_modules (half a minute) ...'
	@npm ci --silent
	@touch $@

$(pyodide): $(venv) $(node) scripts/make_dist.py scripts/compile_stdlib.mjs
	@$(python) scripts/make_dist.py
	@touch $@

$(site): $(venv) $(node) $(sources) pyproject.toml scripts/make_site.py scripts/browser_wheel.py
	@echo 'Building the wheels into build/site ...'
	@$(python) scripts/make_site.py
	@touch $@
