# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

STATIC := src/bitdose/service/web/static/assets.json

# One test process per core, as far as memory goes; each file's tests stay together, with what they share.
JOBS ?= logical
PYTEST := $(BIN)/python -m pytest -q -n $(JOBS) --maxprocesses 8 --dist loadfile

.PHONY: demo test check-style check-types check-tests check-long check-sanitize house lint docs results figure web clean

demo: $(VENV)/.core
	$(BIN)/bitdose demo --out demo-run

test: $(VENV)/.dev
	if command -v npm >/dev/null; then $(MAKE) web || echo 'the pages were not built: their tests skip' >&2; fi
	$(MAKE) -j3 check-style check-types check-tests

check-style: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: $(VENV)/.dev
	$(BIN)/mypy

check-tests: $(VENV)/.dev
	$(PYTEST)

# What `make test` leaves out: simulations, endurance, and whole benchmarks.
check-long: $(VENV)/.dev
	$(PYTEST) -m long

house: $(VENV)/.core
	$(BIN)/python docs/house.py

check-sanitize: $(VENV)/.dev
	$(BIN)/python tests/native/sanitize.py

web: $(STATIC)

$(STATIC): web/package-lock.json web/build.mjs $(shell find web/src src/bitdose/service/web/locale -type f)
	cd web && npm ci --no-audit --no-fund && npm run build

lint: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

figure: demo
	mkdir -p docs/img
	cp demo-run/run/figures/accuracy_file.png docs/img/demo-accuracy.png

docs: $(VENV)/.dev
	$(BIN)/python docs/make_reference.py

results: $(VENV)/.dev
	$(BIN)/python docs/make_results.py

$(VENV)/.core: pyproject.toml hatch_build.py $(wildcard src/bitdose/native/*.[ch])
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'BitDose needs Python 3.11 or newer; try: make PYTHON=python3.11')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo-run
