"""The typed stub of the extension says what the extension has."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import frazil
from frazil import _native

STUB = Path(frazil.__file__).with_name("_native.pyi")
FUNCTIONS = {node.name: node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_stubtest(tmp_path):
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\n[mypy-frazil.encoder,frazil.backends.*]\nfollow_imports = skip\n")  # they take in torch
    command = [sys.executable, "-m", "mypy.stubtest", "--mypy-config-file", str(config), "frazil._native"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters(name):
    """Check what stubtest cannot see: pybind11 tells its parameters only in the docstring."""
    signature = getattr(_native, name).__doc__.splitlines()[0]
    inside = signature[signature.index("(") + 1 : signature.rindex(") ->")]
    shown = re.findall(r"(?:^|, )(\w+): ", inside)
    assert shown == [argument.arg for argument in FUNCTIONS[name].args.args]


def test_nothing_is_left_out():
    public = {name for name in dir(_native) if not name.startswith("_")}
    assert public == FUNCTIONS.keys()
