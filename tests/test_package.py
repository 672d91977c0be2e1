"""The installed package: its version, what importing it costs, its public names, and the codec as an object."""

import ast
import copy
import importlib.metadata
import json
import pickle
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

import frazil
from frazil import ARCTIC_INT4, ARCTIC_INT8, Codec, Hits

PACKAGE = Path(frazil.__file__).parent
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_version_is_written_once():
    assert frazil.__version__ == importlib.metadata.version("frazil")
    if not PYPROJECT.is_file():
        pytest.skip("the installed package alone, without its sources")
    assert re.findall(r'^version = "(.*)"$', PYPROJECT.read_text(), re.MULTILINE) == [frazil.__version__]


def modules_after(statement):
    program = f"{statement}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_takes_numpy_alone():
    added = modules_after("import frazil") - modules_after("import numpy, dataclasses, numbers")
    foreign = {name.partition(".")[0] for name in added} - set(sys.stdlib_module_names)
    assert foreign <= {"frazil", "numpy"}
    assert "frazil.encoder" not in added
    assert not [name for name in added if name.startswith("frazil.backends")]
    after = modules_after("import numpy, frazil; frazil.ARCTIC_INT4.pack(numpy.ones((1, 256)))")  # nor does a call
    assert not after & {"torch", "triton", "frazil.backends"}


def test_typed():
    assert (PACKAGE / "py.typed").is_file()
    assert (PACKAGE / "_native.pyi").is_file()


def test_public_names():
    assert sorted(frazil.__all__) == dir(frazil)
    for name in frazil.__all__:
        assert getattr(frazil, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = frazil.nonsense


@pytest.mark.parametrize("name", [name for name in frazil.__all__ if name not in ("__version__", "Encoder")])
def test_everything_public_is_documented(name):
    thing = getattr(frazil, name)
    kind = thing if isinstance(thing, type) or callable(thing) else type(thing)
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")  # what dataclasses and named tuples make up
    for name, member in vars(kind).items() if isinstance(kind, type) else ():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            assert member.__doc__, name


def public(nodes):
    """Yield the public functions, classes and methods below a list of syntax nodes, overloads' signatures left out."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if "overload" in [ast.unparse(decorator) for decorator in node.decorator_list]:
                continue
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_public_definition_is_documented(path):
    """Read the sources, so that Encoder needs no torch here."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    assert [node.name for node in public(module.body) if not ast.get_docstring(node)] == []


def test_codec_defaults():
    assert Codec() == ARCTIC_INT4 == Codec(256, 4, 0.18)
    assert Codec(bits=8) == ARCTIC_INT8 == Codec(dim=256, bits=8, limit=0.30)
    assert (ARCTIC_INT4.row_bytes, ARCTIC_INT4.levels) == (128, 15)
    assert (ARCTIC_INT8.row_bytes, ARCTIC_INT8.levels) == (256, 255)
    assert ARCTIC_INT4.step == pytest.approx(0.024)
    assert ARCTIC_INT8.step == pytest.approx(0.6 / 255)
    assert Codec(768, 8).row_bytes == 768


def test_codec_is_a_value():
    codec = Codec(64, 8, 0.25)
    assert repr(codec) == "Codec(dim=64, bits=8, limit=0.25)"
    assert eval(repr(codec)) == codec
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert copy.copy(codec) == copy.deepcopy(codec) == codec
    assert {codec: 1}[Codec(np.int64(64), np.uint8(8), np.float64(0.25))] == 1
    assert len({codec, Codec(64, 8, 0.26), Codec(64, 4, 0.25), Codec(66, 8, 0.25)}) == 4
    with pytest.raises(FrozenInstanceError):
        codec.dim = 3
    fields = Codec(np.int64(64), np.uint8(8), np.float32(0.25))
    assert (type(fields.dim), type(fields.bits), type(fields.limit)) == (int, int, float)


def test_hits_unpack():
    hits = ARCTIC_INT4.search(np.ones(256), ARCTIC_INT4.pack(np.ones((3, 256))), k=np.int32(2))
    assert isinstance(hits, Hits)
    assert isinstance(hits, tuple)
    assert Hits._fields == ("scores", "rows")
    scores, rows = hits
    assert rows.tolist() == [0, 1]
    assert scores is hits.scores
