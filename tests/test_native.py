"""The native tests (tests/native), built here and for 64-bit ARM, and run by emulated CPUs that lack what this one has.

Where a tool is missing its tests are skipped, unless FRAZIL_REQUIRE_TOOLS=1: then they fail.
"""

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import frazil

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "native" / "golden"


class Emulated(NamedTuple):
    """A CPU that qemu plays; it must run all sets that are compiled in but those that it lacks.

    Its best one is tested, beside `scalar`: the others are on a CPU that lacks that one, or on this machine's.
    """

    preset: str
    cpu: str
    lacks: frozenset[str]
    tests: tuple[str | int, ...] = ("--quick",)


# Of this machine's own sets, which it has swept itself, any instruction that the CPU does not have would do.
FEW = ("--fuzz", 4)
EMULATED = [
    Emulated("aarch64", "cortex-a72", frozenset({"neondot", "neoni8mm"})),
    Emulated("aarch64", "neoverse-n1", frozenset({"neoni8mm"})),
    Emulated("aarch64", "max", frozenset()),
    Emulated("native", "Nehalem", frozenset({"avx2", "avxvnni", "avx512vnni", "amxint8"}), FEW),
    Emulated("native", "Haswell", frozenset({"avxvnni", "avx512vnni", "amxint8"}), FEW),
]


def tool(name):
    """Return where a program is; skips, or fails, without it."""
    found = shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("FRAZIL_REQUIRE_TOOLS") == "1" else pytest.skip)(f"{name} is not installed")
    return found


def run(*command, **options):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)


@functools.cache
def built(preset):
    """Return the build folder of a CMake preset, as `make native` has it."""
    cmake = tool("cmake")
    tool("aarch64-linux-gnu-g++" if preset == "aarch64" else "c++")
    for command in ((cmake, "--preset", preset), (cmake, "--build", f"build/{preset}", "-j2")):
        done = run(*command, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / preset


def program(preset):
    return built(preset) / "tests" / "native" / "frazil_native"


def emulator(preset, cpu):
    """Return the command that runs a preset's programs on an emulated CPU."""
    if preset == "aarch64":
        return [tool("qemu-aarch64"), "-L", "/usr/aarch64-linux-gnu", "-cpu", cpu]
    if platform.machine() != "x86_64":
        pytest.skip("this machine's own programs are not x86's")
    return [tool("qemu-x86_64"), "-cpu", cpu]


def sets(output, what):
    return re.search(rf"^{what}: (.*)$", output, re.MULTILINE)[1].split()


def check_counts(output, expected):
    """See that each of the sets, and no other, was checked, and that nothing failed."""
    counts = re.findall(r"^(\w+): (\d+) of \d+ slots its own, (\d+) passed, (\d+) failed$", output, re.MULTILINE)
    assert [name for name, *_ in counts] == expected, output
    for name, own, passed, failed in counts:
        assert int(own) > 0, f"{name} has nothing of its own"
        assert int(passed) > 100, output
        assert int(failed) == 0, output
    assert re.search(r"^\d+ passed, 0 failed$", output, re.MULTILINE), output


def test_here():
    done = run(program("native"), "--require", ",".join(frazil.kernels()))
    assert done.returncode == 0, done.stdout + done.stderr
    check_counts(done.stdout, list(frazil.kernels()))


@pytest.mark.parametrize("emulated", EMULATED, ids=lambda e: e.cpu)
def test_emulated(emulated):
    command = [*emulator(emulated.preset, emulated.cpu), program(emulated.preset)]
    listing = run(*command, "--list").stdout
    runnable = [name for name in sets(listing, "compiled in") if name not in emulated.lacks]
    assert sets(listing, "runnable") == runnable
    done = run(*command, "--emulated", *emulated.tests, "--only", runnable[0])
    assert done.returncode == 0, done.stdout + done.stderr
    check_counts(done.stdout, runnable[:1])


@pytest.mark.soak
@pytest.mark.parametrize("emulated", EMULATED, ids=lambda e: e.cpu)
def test_emulated_in_full(emulated):
    command = [*emulator(emulated.preset, emulated.cpu), program(emulated.preset)]
    done = run(*command, "--emulated")
    assert done.returncode == 0, done.stdout + done.stderr
    check_counts(done.stdout, sets(done.stdout, "runnable"))


def test_fuzzer():
    """A short run; `make soak` and `make fuzz` are the long ones. What fails names the seed that shows it again."""
    done = run(program("native"), "--fuzz", 2 * len(frazil.kernels()))
    assert done.returncode == 0, done.stdout + done.stderr
    check_counts(done.stdout, list(frazil.kernels()))


def test_fuzzer_emulated():
    done = run(*emulator("aarch64", "max"), program("aarch64"), "--fuzz", 4)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_listed_sets_are_compiled_for_one_architecture_or_the_other():
    listed = set(re.findall(r"^FRAZIL_ISA\((\w+),", (ROOT / "csrc" / "isa_list.inc").read_text(), re.MULTILINE))
    here = sets(run(program("native"), "--list").stdout, "compiled in")
    there = sets(run(*emulator("aarch64", "max"), program("aarch64"), "--list").stdout, "compiled in")
    assert {*here, *there} == listed


def test_what_must_fail_does(tmp_path):
    done = run(program("native"), "--quick", "--require", "scalar,sse9")
    assert done.returncode == 1
    assert "required, but not runnable here: sse9" in done.stdout
    assert run(program("native"), "--only", "sse9").returncode == 2
    wrong = tmp_path / "golden"
    shutil.copytree(GOLDEN, wrong)
    kernels = wrong / "kernels.txt"
    name = "sketch_rows int8 256 "
    kernels.write_text(
        re.sub(rf"^{name}.", lambda m: name + ("0" if m[0][-1] != "0" else "1"), kernels.read_text(), flags=re.M)
    )
    done = run(program("native"), "--quick", "--only", "scalar", "--golden", wrong)
    assert done.returncode == 1
    assert f"the golden digest of '{name.strip()}'" in done.stdout
    assert re.search(r"^\d+ passed, 1 failed$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(("preset", "nm"), [("native", "nm"), ("aarch64", "aarch64-linux-gnu-nm")])
def test_kernel_files_export_their_tables_alone(preset, nm):
    """Of an inline function that several files define, the linker would keep one copy: perhaps not for this CPU."""
    library = built(preset) / "libfrazil_core.a"
    listing = run(tool(nm), "--demangle", "--defined-only", "--extern-only", library).stdout
    members = dict(re.findall(r"^(\w+)\.cpp\.o(?:bj)?:\n((?:.+\n)*)", listing, re.MULTILINE))
    for name in sets(
        run(program(preset), "--list").stdout
        if preset == "native"
        else run(*emulator(preset, "max"), program(preset), "--list").stdout,
        "compiled in",
    ):
        exported = [line.split(maxsplit=2)[1:] for line in members[name].splitlines()]
        assert [symbol for _, symbol in exported] == [f"frazil::kernels_{name}"], members[name]
        assert exported[0][0] in "DRB"  # data, and not weak


OLD_CPU = """
import sys
sys.path.insert(0, sys.argv[1])
import golden
import frazil

print(*frazil.kernels())
for name, (x, dim, bits, limit) in golden.vectors().items():
    codec = frazil.Codec(dim, bits, limit)
    codes = codec.pack(x)
    assert codes.tobytes().hex() == golden.CODES[name], name
    hits = codec.search(x, codes, k=1, sketch=frazil.Sketch.build(codec, codes), threads=2)
    assert hits.scores.shape == (len(x), 1), name
"""


@pytest.mark.parametrize("emulated", [e for e in EMULATED if e.preset == "native"], ids=lambda e: e.cpu)
def test_installed_package_on_an_old_cpu(emulated, tmp_path):
    """Python, NumPy and all: no instruction that the CPU does not have, at import or anywhere."""
    command = [*emulator("native", emulated.cpu), sys.executable, "-W", "error", "-c", OLD_CPU, ROOT / "tests"]
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    compiled = sets(run(program("native"), "--list").stdout, "compiled in")
    assert done.stdout.split() == [name for name in compiled if name not in emulated.lacks]
