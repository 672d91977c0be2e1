# `make demo` and `make test` set everything up, in a virtual environment of their own, and need Python >= 3.10, a C++20 compiler
# and make. VENV and PYTHON may be given: make test PYTHON=python3.12 VENV=.venv-3.12
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES = $(shell find csrc cmake python -type f -not -name '*.pyc') CMakeLists.txt pyproject.toml LICENSE README.md

.PHONY: demo test test-peers soak bench lint format wheel wheel-check clean

demo: $(VENV)/.demo
	$(BIN)/frazil demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

# Long runs: minutes, gigabytes. The test session of `make test` has a short form of each.
soak: $(VENV)/.test
	$(BIN)/python -m pytest -m soak

# The bench's tests once more, with the other libraries that it can measure.
test-peers: $(VENV)/.test $(VENV)/.peers
	$(BIN)/python -m pytest tests/test_bench.py

bench: $(VENV)/.bench
	$(BIN)/frazil bench

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.h')
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.h')

wheel: build/.wheel

# All core tests against the wheel, installed alone; `make test` runs some of them so.
wheel-check: $(VENV)/.test-wheel
	$(BIN)/python -m pytest tests/test_wheel.py -m "soak or not soak"

clean:
	rm -rf build dist $(VENV)

# The wheel is what gets installed and tested, never the source tree; it is built from the sdist.
build/.wheel: $(SOURCES) | $(VENV)/.made
	rm -rf dist
	$(PIP) build
	$(BIN)/python -m build --quiet --config-setting=cmake.define.FRAZIL_WERROR=ON .
	mkdir -p build && touch $@

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

# Reinstalls the wheel alone when only sources have changed; the libraries stay.
$(VENV)/.demo $(VENV)/.bench $(VENV)/.peers $(VENV)/.test $(VENV)/.test-wheel $(VENV)/.dev: $(VENV)/.%: build/.wheel constraints.txt
	$(PIP) --force-reinstall --no-deps dist/*.whl
	$(PIP) "$$(ls dist/*.whl)[$*]"
	touch $@
