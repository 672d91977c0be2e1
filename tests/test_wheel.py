"""The wheel that `make test` has built: what it holds, and that it works alone, where nothing can be compiled."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import frazil

DIST = Path(__file__).parents[1] / "dist"

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


@pytest.fixture(scope="module")
def wheel() -> Path:
    wheels = list(DIST.glob(f"frazil-{frazil.__version__}-*.whl"))
    if len(wheels) != 1:
        pytest.skip("no wheel in dist/: `make test` builds it")
    return wheels[0]


def test_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wheel.stat().st_size < 2_000_000
    assert {"frazil/__init__.py", "frazil/py.typed", "frazil/_native.pyi"} <= names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if "test" in name.lower() or name.endswith((".cpp", ".h", ".inc", ".a"))]


def test_empty_environment_without_compiler(wheel, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / Path(sys.executable).name
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PATH"] = str(python.parent)  # no compiler, no cmake
    environment.pop("CC", None)
    environment.pop("CXX", None)

    def run(*arguments: str) -> str:
        command = [python, *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "pip", "install", "--quiet", "--only-binary=:all:", str(wheel))
    installed = {line.split("==")[0] for line in run("-m", "pip", "freeze").splitlines() if "==" in line}
    assert installed == {"numpy"}  # and frazil, which pip names by the wheel's path
    run("-W", "error", "-c", USE_IT)
    info = run("-m", "frazil", "info")
    assert frazil.__version__ in info
    assert frazil.active_kernels() in info
