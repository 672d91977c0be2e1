"""What all tests share: every instruction set in turn, and real embeddings where they are at hand."""

import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import frazil
from frazil import _native

# What these test, or test with, is more than NumPy, and some need the whole source tree and compilers.
BEYOND_THE_CORE = (
    "bench",
    "bench_gpu",
    "cli",
    "collection_cli",
    "collection_exchange",
    "collection_files",
    "demo",
    "encoder",
    "encoder_stream",
    "gpu",
    "gpu_large",
    "native",
    "quality_commands",
    "stub",
    "torch",
    "wheel",
)


def pytest_addoption(parser):
    parser.addoption(
        "--core", action="store_true", help="only the tests that frazil[test-core] and a wheel suffice for"
    )


def pytest_ignore_collect(collection_path, config):
    if config.getoption("core") and collection_path.stem in {f"test_{name}" for name in BEYOND_THE_CORE}:
        return True
    return None


def pytest_collection_modifyitems(items):
    """The longest file first, so that another process may do all the others meanwhile."""
    items.sort(key=lambda item: item.path.stem != "test_native")


def pytest_configure(config):
    if config.option.markexpr != "gpu":  # Triton asks when it is imported; nothing else here uses it
        os.environ.setdefault("TRITON_INTERPRET", "1")
    required = {name for name in os.environ.get("FRAZIL_REQUIRE_KERNELS", "").split(",") if name}
    missing = required.difference(frazil.kernels())
    if missing:
        raise pytest.UsageError(f"FRAZIL_REQUIRE_KERNELS: {', '.join(sorted(missing))} cannot run here")


def pytest_report_header():
    return [
        f"instruction sets compiled in: {', '.join(_native.compiled_kernels())}",
        f"instruction sets that run here, all of them tested: {', '.join(frazil.kernels())}",
    ]


@pytest.fixture(params=frazil.kernels())
def isa(request):
    """Force one instruction set after the other, and see that it, and no other, has run."""
    before = _native.kernel_calls()
    with frazil.use_kernels(request.param):
        yield request.param
    ran = {name for name, calls in _native.kernel_calls().items() if calls > before[name]}
    assert ran == {request.param}, f"forced {request.param}, but {ran or 'none'} ran"


def data_folder():
    """Return where collections of real text and embeddings are, if they are."""
    return Path(os.environ.get("FRAZIL_DATA", Path(__file__).parents[2] / "shared" / "data"))


def real_embeddings():
    """Return (name, float16 documents, float16 queries) of each collection of real embeddings at hand."""
    return [
        (path.parent.name, np.load(path, mmap_mode="r"), np.load(path.with_name("queries.f16.npy"), mmap_mode="r"))
        for path in sorted(data_folder().glob("*/corpus.f16.npy"))
    ]


@pytest.fixture(scope="session")
def collections():
    """Real embeddings; skips where there are none."""
    found = real_embeddings()
    if not found:
        pytest.skip("no real embeddings at hand (FRAZIL_DATA names their folder)")
    return found


@pytest.fixture
def fake(monkeypatch):
    """The encoder of tests that need none."""
    from commands_common import FakeEncoder

    module = types.ModuleType("frazil.encoder")
    module.Encoder = FakeEncoder
    monkeypatch.setitem(sys.modules, "frazil.encoder", module)
    FakeEncoder.loaded = 0
