"""Files of texts and of embeddings, read part by part from any position on."""

from __future__ import annotations

import csv
import itertools
import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from frazil._batches import lone_surrogate
from frazil._files import load_array
from frazil.collection.exchange import count_rows, is_export, need_arrow

__all__ = ["Part", "Source", "absolute", "open_source"]

_TEXT_FIELDS, _ID_FIELDS = ("title", "text"), ("_id", "id")
_JSON = (str, int, float, list, dict, type(None))  # dates and their like, in Parquet, become strings
_MOST_NUMBERS = 16  # a list of more floats is an embedding
_SUFFIXES = ".jsonl, .csv, .parquet, .npy, .fvecs, .fbin"


class Part(NamedTuple):
    """Some items of a source: texts, or embeddings."""

    ids: list[Any] | None
    """None: the source has none"""
    texts: list[str] | None
    embeddings: Any
    """floats (n, d), or None"""
    metadatas: list[dict[str, Any]] | None
    first: int
    """where it lies in the file: of lines, from 1, or of rows, from 0, the first"""
    last: int
    """and the last"""


class Source(ABC):
    """A file of `count` items. `is_text` says of which kind; `fingerprint`, of what its items are made."""

    is_text: bool
    unit = "row"
    """what its parts are counted in: lines or rows"""
    dim = 0
    """of embeddings"""

    def __init__(self, path: Path) -> None:
        self.path = path
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path}: expected a file, got a folder, or a pipe, which can be read once only")
        self.fingerprint = f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns"

    @property
    @abstractmethod
    def count(self) -> int:
        """How many items the file holds; a file of texts is read for it."""

    @abstractmethod
    def parts(self, start: int, size: int) -> Iterator[Part]:
        """Yield the items from the `start`-th on, at most `size` at a time."""


def open_source(path: Path, text_fields: Sequence[str] = (), id_field: str | None = None) -> Source:
    """Open a file by what its name ends in.

    Args:
        path: the file.
        text_fields: whose texts, joined by spaces, are the document; none: title and text, as far as they are there.
        id_field: whose values are ids; None: _id or id, if there is one.

    Raises:
        ValueError: it is of no known kind, or damaged.
        OSError: it cannot be read.
    """
    if path.suffix in (".npy", ".fvecs", ".fbin"):
        return _Embeddings(path)
    if path.suffix in (".jsonl", ".csv", ".parquet"):
        return _Texts(path, tuple(text_fields), id_field)
    hint = "; frazil import reads what frazil export wrote" if path.suffix == ".arrow" else ""
    raise ValueError(f"{path}: expected a file name that ends in {_SUFFIXES}{hint}")


class _Embeddings(Source):
    is_text = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._read = {".npy": self._npy, ".fvecs": self._fvecs, ".fbin": self._fbin}[path.suffix]
        self._array = self._read()
        self.dim = self._array.shape[1] - (path.suffix == ".fvecs")

    @property
    def count(self) -> int:
        return len(self._array)

    def parts(self, start: int, size: int) -> Iterator[Part]:
        for first in range(start, self.count, size):
            rows = self._array[first : first + size]
            if self.path.suffix == ".fvecs":
                if not (rows[:, 0].view(np.int32) == self.dim).all():
                    raise ValueError(f"{self.path}: rows from {first:,} on are not all of {self.dim:,} dimensions")
                rows = rows[:, 1:]
            yield Part(None, None, rows, None, first, first + len(rows) - 1)

    def _npy(self) -> Any:
        array = load_array(self.path)
        if array.ndim != 2 or array.dtype.kind != "f":
            hint = "; of codes, frazil import makes a collection" if array.dtype == np.uint8 else ""
            raise ValueError(f"{self.path}: expected floats (n, d), got {array.dtype} {array.shape}{hint}")
        return array

    def _fvecs(self) -> Any:
        """Rows of an int32, the dimensions, and as many float32."""
        size = self.path.stat().st_size
        head = np.fromfile(self.path, "<i4", 1)
        dim = int(head[0]) if head.size else 0
        if dim < 1 or size % (4 + 4 * dim):
            raise ValueError(f"{self.path}: {size:,} bytes are no rows of {dim} dimensions")
        return np.memmap(self.path, "<f4", "r", shape=(size // (4 + 4 * dim), 1 + dim))

    def _fbin(self) -> Any:
        """Two uint32, rows and dimensions, and the rows of float32."""
        size = self.path.stat().st_size
        head = np.fromfile(self.path, "<u4", 2)
        rows, dim = map(int, head) if head.size == 2 else (0, 0)
        if dim < 1 or size != 8 + 4 * rows * dim:
            raise ValueError(f"{self.path}: {size:,} bytes are not {rows:,} rows of {dim} dimensions")
        return np.memmap(self.path, "<f4", "r", offset=8, shape=(rows, dim)) if rows else np.empty((0, dim), np.float32)


class _Texts(Source):
    is_text = True

    def __init__(self, path: Path, text_fields: tuple[str, ...], id_field: str | None) -> None:
        super().__init__(path)
        self._text_fields, self._id_field = text_fields, id_field
        if text_fields or id_field is not None:
            self.fingerprint += f", fields {json.dumps([text_fields, id_field])}"
        if path.suffix == ".parquet":
            if is_export(path):
                raise ValueError(f"{path}: holds the codes of a collection, not texts alone: use frazil import")
        else:
            self.unit = "line"

    @property
    def count(self) -> int:
        return count_rows(self.path) if self.unit == "row" else sum(1 for _ in self._records())

    def parts(self, start: int, size: int) -> Iterator[Part]:
        records = itertools.islice(self._records(), start, None)
        while some := list(itertools.islice(records, size)):
            yield self._part(some)

    def _records(self) -> Iterator[tuple[int, Any]]:
        """Yield each record, a dict or a line of JSON, and where it lies."""
        read = {".parquet": self._rows, ".csv": self._csv, ".jsonl": self._lines}[self.path.suffix]
        number = 0
        try:
            for number, record in read():
                yield number, record
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path}: line {number + 1:,} or a later one is not UTF-8: {error.reason}") from None

    def _rows(self) -> Iterator[tuple[int, Any]]:
        arrow = need_arrow()
        try:
            with arrow.parquet.ParquetFile(self.path) as file:
                yield from enumerate(row for batch in file.iter_batches(1000) for row in batch.to_pylist())
        except arrow.ArrowInvalid as error:
            raise ValueError(f"{self.path}: {error}") from None

    def _csv(self) -> Iterator[tuple[int, Any]]:
        csv.field_size_limit(2**31 - 1)  # else 128 KiB, which texts may exceed
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            try:
                names = list(reader.fieldnames or ())
                if len(set(names)) < len(names):
                    raise ValueError(f"{self.path}: the first line has a name twice: {', '.join(names)}")
                for record in reader:
                    place = f"{self.path}: line {reader.line_num:,}:"
                    if None in record:
                        raise ValueError(f"{place} more fields than the first line has names")
                    if None in record.values():
                        raise ValueError(f"{place} fewer fields than the first line has names")
                    yield reader.line_num, record
            except csv.Error as error:
                raise ValueError(f"{self.path}: line {reader.reader.line_num:,}: {error}") from None

    def _lines(self) -> Iterator[tuple[int, Any]]:
        with self.path.open(encoding="utf-8-sig") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())

    def _part(self, some: list[tuple[int, Any]]) -> Part:
        ids: list[Any] = []
        texts: list[str] = []
        metadatas: list[dict[str, Any]] = []
        for number, record in some:
            place = f"{self.path}: {self.unit} {number:,}"
            if isinstance(record, str):  # a line of JSON
                try:
                    record = json.loads(record)  # noqa: PLW2901
                except json.JSONDecodeError as error:
                    what = f"{error.msg}; expected a JSON object in each line"
                    raise ValueError(f"{place}, character {error.pos + 1:,}: {what}") from None
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{place}: {error}") from None
            if not isinstance(record, dict) or not all(isinstance(name, str) for name in record):
                raise ValueError(f"{place}: expected named fields, got {str(record)[:80]!r}")
            for name, value in record.items():
                if _is_embedding(value):
                    raise ValueError(
                        f"{place}: {name}: holds {len(value):,} numbers, an embedding it seems; here texts are encoded "
                        "by a model. Embeddings alone are indexed as .npy, .fvecs or .fbin; with ids, documents and "
                        "metadata, Collection.add takes them"
                    )
            names = self._text_fields or tuple(name for name in _TEXT_FIELDS if name in record)
            missing = [name for name in names if name not in record]
            if missing or not names:
                wanted = missing[0] if missing else " or ".join(_TEXT_FIELDS)
                hint = "; --text-fields names others" if not self._text_fields else ""
                raise ValueError(f"{place} has no field {wanted}, but {', '.join(record)}{hint}")
            texts.append(
                " ".join(_as_text(record[name], place, name) for name in names if record[name] not in (None, ""))
            )
            if fault := lone_surrogate(texts[-1]):
                raise ValueError(f"{place}: expected Unicode, got {fault} of its text")
            id_names = _ID_FIELDS if self._id_field is None else (self._id_field,)
            id_name = next((name for name in id_names if name in record), None)
            if id_name is None and (ids or self._id_field is not None):
                raise ValueError(f"{place} has no field {' or '.join(id_names)}")
            if id_name is not None:
                ids.append(record[id_name])
            rest = {name: value for name, value in record.items() if name not in (*names, id_name)}
            metadatas.append({name: value if isinstance(value, _JSON) else str(value) for name, value in rest.items()})
        if ids and len(ids) < len(some):
            raise ValueError(f"{self.path}: some items have ids and some have none")
        return Part(ids or None, texts, None, metadatas, some[0][0], some[-1][0])


def _is_embedding(value: Any) -> bool:
    """Tell whether a field is no metadata that anybody filters by: without a word it would be kept, and of no use."""
    return isinstance(value, list) and len(value) > _MOST_NUMBERS and all(isinstance(one, float) for one in value)


def _as_text(value: Any, place: str, name: str) -> str:
    if isinstance(value, list | dict):
        raise ValueError(f"{place}: {name}: expected a text, got {str(value)[:80]!r}")
    return str(value)


def absolute(path: Path) -> str:
    """Return the name by which a source is remembered."""
    return os.path.abspath(path)  # noqa: PTH100  resolve() would follow links
