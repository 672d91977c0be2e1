"""The table of each instruction set, and the fixture that every sweep trusts: it fails where a set did not run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import frazil
from frazil import _native


def test_empty_slots_inherit_from_the_next_slower_set():
    sets, slots = frazil.kernels(), _native.kernel_slots()
    assert list(slots) == list(sets)
    assert set(sets) <= set(_native.compiled_kernels())
    for name, slower in zip(sets, [*sets[1:], "scalar"], strict=True):
        assert slots[name].keys() == slots["scalar"].keys()
        assert name in slots[name].values(), "a set that has nothing of its own"
        for slot, origin in slots[name].items():
            assert origin in (name, slots[slower][slot])
    assert set(slots["scalar"].values()) == {"scalar"}


def test_calls_are_counted_for_the_set_that_runs(isa):
    codec = frazil.Codec(2, 8)
    codes = codec.pack([[1.0, 2.0]])
    sketch = frazil.Sketch.build(codec, codes)
    operations = [
        lambda: codec.pack([[1.0, 2.0]]),
        lambda: codec.unpack(codes),
        lambda: codec.score([1.0, 2.0], codes),
        lambda: codec.search([1.0, 2.0], codes),
        lambda: frazil.Sketch.build(codec, codes),
        lambda: codec.search([1.0, 2.0], codes, sketch=sketch),
        lambda: _native.dot_peak(1, 1),
    ]
    for operation in operations:
        before = _native.kernel_calls()
        operation()
        assert _native.kernel_calls() == {**before, isa: before[isa] + 1}


def test_one_object_entered_again_under_another():
    best = frazil.active_kernels()
    try:
        kept = frazil.use_kernels("scalar")
        with kept:
            with frazil.use_kernels(frazil.kernels()[0]):
                with kept:
                    assert frazil.active_kernels() == "scalar"
                assert frazil.active_kernels() == frazil.kernels()[0]
            assert frazil.active_kernels() == "scalar"
        assert frazil.active_kernels() == best
        assert _native.force_kernels(None) is None  # nothing is forced any more
    finally:
        frazil.use_kernels(None)


def test_a_name_that_holds_a_zero():
    with pytest.raises(ValueError, match=r"none of .*'scalar'"):
        frazil.use_kernels("scalar\0x")


TESTS = """
import frazil
codec = frazil.Codec(2, 8)
def test_that_runs_nothing(isa):
    pass
def test_that_runs_another(isa):
    frazil.use_kernels([name for name in [*frazil.kernels(), "scalar"] if name != isa][0])
    codec.pack([[1.0, 2.0]])
def test_that_runs_it(isa):
    codec.pack([[1.0, 2.0]])
"""


def run_pytest(folder, *arguments, **environment):
    (folder / "test_it.py").write_text(TESTS)
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *arguments]
    everything = {**os.environ, "FRAZIL_REQUIRE_KERNELS": "", **environment}
    return subprocess.run(command, cwd=folder, env=everything, capture_output=True, text=True, check=False)


def test_the_fixture_fails_where_the_forced_set_did_not_run(tmp_path):
    done = run_pytest(tmp_path, "-k", "nothing or runs_it")
    sets = len(frazil.kernels())
    assert f" {2 * sets} passed, " in done.stdout, done.stdout
    assert f" {sets} error" in done.stdout, done.stdout  # in the fixture's tear-down
    assert "but none ran" in done.stdout
    assert done.returncode == 1


@pytest.mark.skipif(len(frazil.kernels()) < 2, reason="only one instruction set runs here")
def test_the_fixture_fails_where_another_set_ran(tmp_path):
    done = run_pytest(tmp_path, "-k", "another")
    assert f" {len(frazil.kernels())} passed, " in done.stdout, done.stdout
    assert f" {len(frazil.kernels())} error" in done.stdout, done.stdout
    assert done.returncode == 1


def test_a_required_set_that_cannot_run_fails(tmp_path):
    done = run_pytest(tmp_path, "-k", "runs_it", FRAZIL_REQUIRE_KERNELS="scalar,sse9")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "FRAZIL_REQUIRE_KERNELS: sse9 cannot run here" in done.stderr
    done = run_pytest(tmp_path, "-k", "runs_it", FRAZIL_REQUIRE_KERNELS=",".join(frazil.kernels()))
    assert done.returncode == 0, done.stdout
    assert f"instruction sets compiled in: {', '.join(_native.compiled_kernels())}" in done.stdout
