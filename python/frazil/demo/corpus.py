"""The demo's corpus: what the running Python's standard library says about its functions, classes and methods."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from frazil._files import whole_file

__all__ = ["Entry", "cached_stdlib_docs", "stdlib_docs"]

# The modules that people ask about most come first: they are what a short encoding budget is spent on.
_EVERYDAY = (
    "builtins time datetime os os.path pathlib re json random math itertools functools collections string shutil csv "
    "subprocess statistics textwrap glob tempfile io copy heapq bisect operator contextlib threading queue "
    "urllib.request urllib.parse socket hashlib base64 zlib gzip zipfile tarfile pickle sqlite3 struct decimal "
    "fractions calendar zoneinfo logging argparse configparser collections.abc concurrent.futures asyncio types typing "
    "dataclasses enum inspect traceback sys uuid secrets locale fnmatch difflib platform signal weakref html "
    "http.client smtplib"
)
_RANKS = {module: rank for rank, module in enumerate(_EVERYDAY.split())}
_SELDOM = {"tkinter", "turtle", "xml", "email", "ctypes", "multiprocessing", "unittest", "wsgiref", "pdb", "curses"}

# Modules, wholly or partly in C, whose docstrings are not in source files; importing these does nothing but define.
_IN_C = (
    "builtins time datetime os math cmath itertools functools collections operator re random io string struct json "
    "decimal statistics array bisect heapq binascii zlib bz2 lzma hashlib hmac csv pickle sqlite3 socket select ssl "
    "threading queue signal sys gc atexit weakref contextvars types typing abc codecs unicodedata locale mmap marshal "
    "errno faulthandler tracemalloc zoneinfo fcntl grp pwd resource termios syslog"
)

_DROPPED = (  # tests, tools, what is deprecated, other systems' twins of modules that are in
    "test tests idlelib lib2to3 turtledemo ensurepip pydoc_data distutils encodings site-packages lib-dynload "
    "__pycache__ ntpath.py nturl2path.py sre_compile.py sre_constants.py sre_parse.py msilib this.py"
)
_SHOWN_AS = {"posixpath": "os.path", "genericpath": "os.path", "_collections_abc": "collections.abc"}
_LONGEST = 200  # characters kept of a docstring, about 50 tokens: more makes answers no better, and encoding slower
_SIGNATURE = re.compile(r"([\w.]+)\([^)]*\)\s*(->|--?|:)?\s*")
_SIGNATURE_LINE = re.compile(r"[\w.]+\(.*\)(\s*->.*)?$")


class Entry(NamedTuple):
    """One documented thing."""

    name: str
    """where users find it, for example "time.strptime" """
    doc: str
    """the beginning of its docstring, on one line, without its signature"""

    @property
    def text(self) -> str:
        """What is embedded."""
        return f"{self.name}: {self.doc}"


def cached_stdlib_docs(folder: Path) -> list[Entry]:
    """Return `stdlib_docs()`, cached in `folder` for this Python and this version of the demo."""
    key = hashlib.sha256(repr((sys.version, sysconfig.get_path("stdlib"))).encode() + Path(__file__).read_bytes())
    path = folder / f"corpus-{key.hexdigest()[:24]}.json"
    try:
        return [Entry(str(name), str(doc)) for name, doc in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):  # none yet, or broken
        entries = stdlib_docs()
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(json.dumps(entries), encoding="utf-8")
        return entries


def stdlib_docs() -> list[Entry]:
    """Collect the public functions, classes and methods of the standard library that have docstrings.

    Source files are parsed, not imported; of the modules in C a fixed list of harmless ones is imported.

    Returns:
        One entry for each thing, those that people ask about most first.
    """
    docs = _docs_from_source(Path(sysconfig.get_path("stdlib")))
    _add_docs_from_c(docs)
    entries: dict[tuple[str, str], Entry] = {}
    for name in sorted(docs, key=_priority):
        last = name.rpartition(".")[2]
        if doc := _beginning(docs[name], last):  # a second name for the same thing adds nothing
            entries.setdefault((last, doc), Entry(name.removeprefix("builtins."), doc))
    return list(entries.values())


class _Source(NamedTuple):
    """What one source file defines, imports from elsewhere, and lists in `__all__`."""

    docs: dict[str, str]
    imports: list[ast.ImportFrom]
    listed: set[str]


def _docs_from_source(root: Path) -> dict[str, str]:
    sources = {}
    dropped = set(_DROPPED.split())
    for top in root.iterdir():
        if top.name in dropped or top.name.startswith("config-"):
            continue
        for path in top.rglob("*.py") if top.is_dir() else [top]:
            parts = path.relative_to(root).parts
            if path.suffix == ".py" and not dropped.intersection(parts):
                module = ".".join(parts).removesuffix(".py").removesuffix(".__init__")
                sources[module] = _read_source(path)

    shown_as: dict[str, str] = {}  # "json.decoder.JSONDecoder" -> "json.JSONDecoder"
    for module in filter(_is_public, sources):
        shown_as.update(_reexports(module, sources))
    docs: dict[str, str] = {}
    for module, source in sources.items():
        for name, doc in source.docs.items():
            outer, dot, inner = name.partition(".")
            home = shown_as.get(f"{module}.{outer}", f"{_SHOWN_AS.get(module, module)}.{outer}")
            if _is_public(home):
                docs.setdefault(home + dot + inner, doc)
    return docs


def _read_source(path: Path) -> _Source:
    body = ast.parse(path.read_bytes()).body
    listed = set()
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            listed |= {str(item.value) for item in ast.walk(node) if isinstance(item, ast.Constant)}
    imports = [node for node in body if isinstance(node, ast.ImportFrom)]
    return _Source(dict(_definitions(body)), imports, listed)


def _definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (qualified name, docstring) of the public definitions in a body, and in its classes."""
    for node in body:
        if isinstance(node, (ast.If, ast.Try)):
            yield from _definitions(node.body + node.orelse, prefix)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and _is_public(node.name):
            yield prefix + node.name, ast.get_docstring(node) or ""
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, f"{prefix}{node.name}.")


def _reexports(module: str, sources: dict[str, _Source]) -> Iterator[tuple[str, str]]:
    """Yield (where it is defined, where users find it) of what a module has from its submodules and private ones."""
    listed = sources[module].listed
    for node in sources[module].imports:
        source = f"{module}.{node.module}" if node.level else str(node.module)
        if source in sources and (source.startswith(f"{module}.") or not _is_public(source)):
            for alias in node.names:
                name = alias.asname or alias.name
                if name == "*":
                    for name in sources[source].listed or sources[source].docs:
                        yield f"{source}.{name}", f"{module}.{name}"
                elif _is_public(name) and (not listed or name in listed):
                    yield f"{source}.{alias.name}", f"{module}.{name}"
    for source, (docs, _, _) in sources.items():  # what a package lists but imports on demand, as concurrent.futures
        if source.rpartition(".")[0] == module:
            for name in listed.intersection(docs).difference(sources[module].docs):
                yield f"{source}.{name}", f"{module}.{name}"


def _add_docs_from_c(docs: dict[str, str]) -> None:
    """Add what the modules of `_IN_C`, or the private C modules behind them, define without Python source."""
    seen = set()
    for module_name in _IN_C.split():
        try:
            module = importlib.import_module(module_name)
        except ImportError:  # not on this system
            continue
        for name, value in vars(module).items():
            full = f"{module_name}.{name}"
            if not _is_public(name) or isinstance(value, ModuleType) or id(value) in seen:
                continue
            if inspect.isbuiltin(value):
                seen.add(id(value))
                docs.setdefault(full, value.__doc__ or "")
            elif inspect.ismethod(value):  # random.choice is a method of a random.Random in the module
                docs[full] = docs.pop(f"{module_name}.{value.__func__.__qualname__}", "")
            elif isinstance(value, type) and _is_of(value, module_name) and value.__name__ in (name, name.lower()):
                seen.add(id(value))
                for key, doc in _docs_of_type(value, full):
                    docs.setdefault(key, doc)


def _is_of(kind: type, module: str) -> bool:
    return kind.__module__ == module or not _is_public(kind.__module__)


def _docs_of_type(kind: type, full: str) -> Iterator[tuple[str, str]]:
    """Yield (name, docstring) of a class and its methods, those that it inherits from a private C class among them."""
    yield full, kind.__doc__ or ""
    for base in kind.__mro__:
        if base is kind or not _is_public(base.__module__):
            for name, member in vars(base).items():
                if _is_public(name) and (inspect.isroutine(member) or inspect.isdatadescriptor(member)):
                    yield f"{full}.{name}", inspect.getdoc(member) or ""


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _priority(name: str) -> tuple[int, int, str]:
    """Order: functions and classes of everyday modules, their methods (and exceptions), other modules, seldom ones."""
    parts = name.split(".")
    home = next((home for home in (".".join(parts[:2]), parts[0]) if home in _RANKS), None)
    if home is None:
        return 2 + (parts[0] in _SELDOM), 0, name
    inner = name.removeprefix(f"{home}.")
    exception = home == "builtins" and inner[0].isupper()
    return int("." in inner or exception), _RANKS[home], name


def _beginning(doc: str, name: str) -> str:
    """Return a docstring's first paragraphs on one line, without signature and examples; "" if it says nothing."""
    first, *others = re.split(r"\n\s*\n", inspect.cleandoc(doc))
    lines = first.splitlines()
    while others and lines and _SIGNATURE_LINE.match(lines[0]):
        del lines[0]
    text = " ".join(" ".join(lines).split())
    for paragraph in others:
        if len(text) > _LONGEST // 2 or ">>>" in text:
            break
        text = f"{text} {' '.join(paragraph.split())}".strip()
    text = text.partition(">>>")[0].rstrip()
    signature = _SIGNATURE.match(text)
    if signature and signature[1].endswith(name):
        text = text[signature.end() :]
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rpartition(" ")[0] + " …"
    return text if len(text) > 12 else ""
