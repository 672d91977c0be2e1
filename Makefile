# `make demo` and `make test` set everything up, in a virtual environment of their own, and need Python >= 3.10, a C++20 compiler
# and make. VENV and PYTHON may be given: make test PYTHON=python3.12 VENV=.venv-3.12
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES = $(shell find csrc cmake python -type f -not -name '*.pyc') CMakeLists.txt pyproject.toml LICENSE README.md

CMAKE ?= cmake
CLANGXX ?= clang++
FUZZ_SECONDS ?= 600
WORKERS ?= auto

.PHONY: demo test test-peers soak bench lint format wheel wheel-check clean native asan asan-native tsan fuzz clang clang-arm

demo: $(VENV)/.demo
	$(BIN)/frazil demo

test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

# Long runs: minutes, gigabytes. The test session of `make test` has a short form of each.
soak: $(VENV)/.test native
	$(BIN)/python -m pytest -m soak
	build/native/tests/native/frazil_native --fuzz $(FUZZ_SECONDS) --seed $$(date +%s)

# The native tests (tests/native) alone, without Python.
native: build/native/.built
	build/native/tests/native/frazil_native

build/%/.built: $(SOURCES) $(shell find tests/native -type f) CMakePresets.json
	$(CMAKE) --preset $* $(CMAKE_ARGUMENTS) >/dev/null
	$(CMAKE) --build build/$* -j2
	touch $@

# The same, compiled by Clang, also for 64-bit ARM.
clang clang-arm: CMAKE_ARGUMENTS = -DCMAKE_CXX_COMPILER=$(CLANGXX)
clang: build/clang/.built clang-arm
	build/clang/tests/native/frazil_native --quick
clang-arm: build/clang-aarch64/.built
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/clang-aarch64/tests/native/frazil_native --emulated --quick

# AddressSanitizer and UndefinedBehaviorSanitizer: the native tests, then the Python tests that need neither torch nor other programs.
asan: asan-native build/asan/.python
	ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libstdc++.so)" \
		build/asan/venv/bin/python -m pytest -p no:cacheprovider --capture=sys $(ASAN_TESTS)

ASAN_TESTS = $(addprefix tests/test_, format.py kernels.py properties.py search.py sketch.py threads.py)

asan-native: build/asan/.built
	build/asan/tests/native/frazil_native --quick
	build/asan/tests/native/frazil_native --fuzz 20

build/asan/.python: $(SOURCES) | build/asan/.built
	$(PYTHON) -m venv build/asan/venv
	build/asan/venv/bin/python -m pip install --quiet numpy pytest hypothesis ml_dtypes
	build/asan/venv/bin/python -m pip install --quiet --force-reinstall --no-deps . --config-settings=build-dir=build/asan/python \
		--config-settings=cmake.build-type=RelWithDebInfo --config-settings=cmake.define.FRAZIL_SANITIZE=address,undefined \
		--config-settings=cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1"
	touch $@

# ThreadSanitizer: the pool, searches and packing by many threads at once, fork.
tsan: build/tsan/.built
	TSAN_OPTIONS=halt_on_error=1:die_after_fork=0 build/tsan/tests/native/frazil_native --threads

# libFuzzer; what it finds interesting stays in build/fuzz/corpus. The same tests without libFuzzer: frazil_native --fuzz.
fuzz: CMAKE_ARGUMENTS = -DCMAKE_CXX_COMPILER=$(CLANGXX)
fuzz: build/fuzz/.built
	mkdir -p build/fuzz/corpus
	build/fuzz/tests/native/frazil_fuzz -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -len_control=0 -artifact_prefix=build/fuzz/ build/fuzz/corpus

# The bench's tests of the other libraries that it can measure, with these.
test-peers: $(VENV)/.test $(VENV)/.peers
	$(BIN)/python -m pytest tests/test_bench.py -k "peer or packer"

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
