"""The catalog: every statement of SQL that a collection runs, but for those that a filter compiles to."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat, starmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frazil.codec import Codec
from frazil.collection.codec_rows import codec_of_row, row_of_codec
from frazil.collection.codefiles import BLOCK_ROWS, Block
from frazil.collection.errors import CollectionError
from frazil.collection.filters import Condition
from frazil.collection.indexes import Indexes
from frazil.metric import Metric

__all__ = [
    "FORMAT_VERSION",
    "NAME",
    "Catalog",
    "Item",
    "Properties",
    "State",
    "create_schema",
    "is_there",
]

NAME = "catalog.sqlite3"
FORMAT_VERSION = 1
_APPLICATION_ID = 0x667A6331  # "fzc1", at byte 68 of the file
_AT_ONCE = 500  # values of an IN (…): old SQLites take 999 parameters
_TEXT_OF = 1 << 20  # row numbers in one text
_FILTERED_AT_ONCE = 1 << 25  # rows that one filter's text may name: SQLite's texts end at 1 GB
_MOST_ROWS = 1 << 48

_TABLES = {
    "properties": "(model TEXT, revision TEXT)",
    "codecs": "(kind TEXT PRIMARY KEY, dim INTEGER NOT NULL, bits INTEGER NOT NULL, code_limit REAL NOT NULL, "
    "spacing TEXT NOT NULL, projection BLOB, refine INTEGER NOT NULL, metric BLOB, crc32 INTEGER NOT NULL) "
    "WITHOUT ROWID",
    "state": "(generation INTEGER NOT NULL, rows INTEGER NOT NULL, dead INTEGER NOT NULL, version INTEGER NOT NULL, "
    "sketch_rows INTEGER NOT NULL)",
    "items": "(row INTEGER PRIMARY KEY, id NOT NULL UNIQUE, document TEXT, metadata TEXT, crc32 INTEGER NOT NULL)",
    "dead": "(number INTEGER PRIMARY KEY, row INTEGER NOT NULL)",
    "blocks": "(file TEXT NOT NULL, block INTEGER NOT NULL, bytes INTEGER NOT NULL, crc32 INTEGER NOT NULL, "
    "PRIMARY KEY (file, block)) WITHOUT ROWID",
    "fields": "(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "notes": "(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
}

Item = tuple[int, Any, Any, Any]
"""a row of the table `items`: row, id, document, metadata as JSON text"""


@dataclass(frozen=True)
class Properties:
    """What a collection is from its creation on."""

    codec: Codec
    rerank: Codec | None = None
    refine: bool | Metric = False
    """how the first codec's codes are chosen"""
    model: str | None = None
    revision: str | None = None


class State(NamedTuple):
    """What a commit changes."""

    generation: int
    """which files: a compaction begins a new one"""
    rows: int
    """rows of this generation's files, dead ones too"""
    dead: int
    """how many of them are deleted or replaced"""
    version: int
    """counts commits"""
    sketch_rows: int
    """the sketch is of the first so many; 0: there is none"""


class Catalog(Indexes):
    """One connection to a collection's catalog. Its methods run within a transaction; all numbers they return are sane.

    Args:
        path: the database.
        create: make it if there is none.

    Raises:
        CollectionError: there is none, it is not a collection's, or of a newer format.
    """

    is_new: bool
    """nothing has been committed: so does a crash while it is made leave it"""

    def _prepare(self) -> None:
        self.is_new = not self._run("SELECT 1 FROM sqlite_master LIMIT 1") and self._pragma("user_version") == 0
        if not self.is_new:
            self._check()
        elif self._create:
            self._run("PRAGMA journal_mode = WAL")

    def _pragma(self, name: str) -> Any:
        return self._run(f"PRAGMA {name}")[0][0]

    def _check(self) -> None:
        if self._pragma("application_id") != _APPLICATION_ID:
            raise CollectionError(f"{self.path}: is a database, but not of a frazil collection")
        version = self._pragma("user_version")
        if version != FORMAT_VERSION:
            raise CollectionError(
                f"{self.path}: is of format version {version}; this frazil reads version {FORMAT_VERSION}"
                + (": a newer frazil wrote it" if version > FORMAT_VERSION else "")
            )
        found = self._run("SELECT type, name, tbl_name, sql FROM sqlite_master")
        tables = {name: f"CREATE TABLE {name} {columns}" for name, columns in _TABLES.items()}
        wanted: set[Any] = {
            ("index", f"sqlite_autoindex_{name}_1", name, None) for name in ("items", "fields")
        }  # of UNIQUE
        if ("table", "fields", "fields", tables["fields"]) in found:
            for number, column in self.field_columns().items():
                tables["items"] = f"{tables['items'][:-1]}, {column})"
                name, columns = self.list_table(number)
                tables[name] = f"CREATE TABLE {name} {columns}"
                wanted.add(("index", f"sqlite_autoindex_{name}_1", name, None))
        wanted |= {("table", name, name, sql) for name, sql in tables.items()}
        if len(found) != len(wanted) or set(found) != wanted:
            names = sorted({str(name) for _, name, _, _ in wanted ^ set(found)} or {str(found[-1][1])})
            raise CollectionError(
                f"{self.path}: {', '.join(map(repr, names))}: not what a frazil collection's catalog has by this name"
            )

    # What a collection is.

    def properties(self) -> Properties:
        """Return what was fixed at the creation."""
        found = self._run("SELECT model, revision FROM properties LIMIT 2")
        if len(found) != 1 or not all(text is None or isinstance(text, str) for text in found[0]):
            raise self._broken("properties: expected one row of two texts")
        codecs = {kind: row for kind, *row in self._run("SELECT * FROM codecs LIMIT 3")}
        if not {"codes"} <= codecs.keys() <= {"codes", "rerank"}:
            raise self._broken("codecs: expected one for codes, and at most one for rerank")
        try:
            known = {kind: codec_of_row(kind, row) for kind, row in codecs.items()}
        except (TypeError, ValueError, OverflowError) as error:
            raise self._broken(f"codecs: {error}") from None
        codec, refine = known["codes"]
        return Properties(codec, known.get("rerank", (None,))[0], refine, *found[0])

    def state(self) -> State:
        """Return what the last commit left."""
        found = self._run("SELECT generation, rows, dead, version, sketch_rows FROM state LIMIT 2")
        if len(found) != 1 or not all(isinstance(value, int) and 0 <= value <= _MOST_ROWS for value in found[0]):
            raise self._broken("state: expected one row of five counts")
        state = State(*found[0])
        if state.dead > state.rows or state.sketch_rows > state.rows:
            raise self._broken(
                f"state: counts {state.dead:,} dead and {state.sketch_rows:,} sketched of {state.rows:,}"
            )
        return state

    def set_state(self, state: State) -> None:
        """Write the state that the commit leaves."""
        self._run("UPDATE state SET generation = ?, rows = ?, dead = ?, version = ?, sketch_rows = ?", state)

    # Items.

    def insert(self, first: int, ids: Sequence[Any], **columns: Sequence[Any] | None) -> None:
        """Add items at the rows from `first` on; raises sqlite3.IntegrityError where an id is there already.

        Args:
            first: the first one's row.
            ids: of n items.
            columns: document= and metadata=, n values each; None: nulls, which to name takes half as long again.
        """
        given = {name: values for name, values in columns.items() if values is not None}
        names, marks = "".join(f", {name}" for name in given), ", ?" * len(given)
        texts = (repeat(None) if values is None else values for values in columns.values())
        checksums = starmap(_checksum, zip(ids, *texts, strict=False))
        self._connection.executemany(
            f"INSERT INTO items (row, id, crc32{names}) VALUES (?, ?, ?{marks})",
            zip(range(first, first + len(ids)), ids, checksums, *given.values(), strict=True),
        )

    def items_of_ids(self, ids: Sequence[Any]) -> Iterator[Item]:
        """Yield the items that have these ids, in no order."""
        yield from self._select_in("row, id, document, metadata", "id", ids)

    def items_of_rows(self, rows: Sequence[int]) -> Iterator[Item]:
        """Yield the items of these rows, in no order."""
        yield from self._select_in("row, id, document, metadata", "row", rows)

    def rows_of_ids(self, ids: Sequence[Any]) -> list[tuple[int, Any]]:
        """Return the row and the id of those that are there, in no order."""
        return list(self._select_in("row, id", "id", ids))

    def _select_in(self, what: str, column: str, values: Sequence[Any]) -> Iterator[Any]:
        values = list(dict.fromkeys(values))  # or one in two parts would be found twice
        for start in range(0, len(values), _AT_ONCE):
            part = values[start : start + _AT_ONCE]
            length = next(size for size in (1, 16, 128, _AT_ONCE) if size >= len(part))  # few statements, kept prepared
            part += part[-1:] * (length - len(part))
            marks = ", ".join("?" * length)
            yield from self._run(f"SELECT {what} FROM items WHERE {column} IN ({marks})", part)

    def items(self, size: int, columns: str = "row, id, document, metadata") -> Iterator[list[Item]]:
        """Yield all items by row, in lists of `size`."""
        cursor = self._connection.execute(f"SELECT {columns} FROM items ORDER BY row")
        while found := cursor.fetchmany(size):
            yield found

    def ids_of_rows(self, first: int, stop: int, most: int) -> list[Any]:
        """Return the ids of at most `most` of the rows from `first` on, below `stop`."""
        query = "SELECT id FROM items WHERE row >= ? AND row < ? ORDER BY row LIMIT ?"
        return [name for (name,) in self._run(query, (first, stop, most))]

    def rows_where(
        self, condition: Condition, first: int, rows: int, among: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Return the rows, from `first` on, of the items that meet a condition, ascending, int64 (n,).

        Args:
            condition: on `items`.
            first: of the rows.
            rows: how many there are.
            among: these alone are looked at; None: all.
        """
        # One text is several times as fast as a tuple for each row.
        found = [_numbers(None)]
        if among is None:
            for start in range(first, rows, _FILTERED_AT_ONCE):
                stop = min(start + _FILTERED_AT_ONCE, rows)
                query = f"SELECT group_concat(row) FROM items WHERE row >= ? AND row < ? AND ({condition.sql})"
                found.append(_numbers(self._run(query, [start, stop, *condition.values])[0][0]))
        else:
            query = (
                f"SELECT group_concat(row) FROM json_each(?) CROSS JOIN items ON row = value WHERE ({condition.sql})"
            )
            for start in range(0, len(among), _TEXT_OF):
                text = str(among[start : start + _TEXT_OF].tolist())
                found.append(_numbers(self._run(query, [text, *condition.values])[0][0]))
        return self._checked_rows(np.concatenate(found), rows, "items")

    def delete_rows(self, rows: Sequence[int], dead: int) -> None:
        """Delete items, and count their rows as dead; `dead` is how many were before."""
        self._connection.executemany("DELETE FROM items WHERE row = ?", ((row,) for row in rows))
        self._connection.executemany("INSERT INTO dead (number, row) VALUES (?, ?)", enumerate(rows, start=dead + 1))

    def dead_rows(self, known: int, state: State) -> NDArray[np.int64]:
        """Return the rows that have died since `known` were dead, int64 (n,)."""
        query = "SELECT group_concat(row) FROM dead WHERE number > ? AND number <= ?"
        starts = range(known, state.dead, _TEXT_OF)
        texts = (self._run(query, (start, min(start + _TEXT_OF, state.dead)))[0][0] for start in starts)
        found = self._checked_rows(np.concatenate([_numbers(None), *map(_numbers, texts)]), state.rows, "dead")
        if len(found) != state.dead - known:
            raise self._broken(f"dead: holds {len(found):,} rows where {state.dead - known:,} are counted")
        return found

    def _checked_rows(self, rows: NDArray[np.int64], count: int, table: str) -> NDArray[np.int64]:
        rows.sort()
        if rows.size and (rows[0] < 0 or rows[-1] >= count):
            wrong = rows[0] if rows[0] < 0 else rows[-1]
            raise self._broken(f"{table}: row {wrong:,}, of {count:,}")
        return rows

    def renumber(self, first: int, rows: int) -> None:
        """Close the gaps in the rows from `first` on, all of which change: dead ones are gone, and `rows` are left."""
        columns = "id, document, metadata, crc32"  # checksums too: what is damaged stays so
        self._run(f"CREATE TEMP TABLE moved AS SELECT {columns} FROM items WHERE row >= ? ORDER BY row", (first,))
        self._run("DELETE FROM items WHERE row >= ?", (first,))
        self._run(
            f"INSERT INTO items (row, {columns}) SELECT rowid - 1 + ?, {columns} FROM moved ORDER BY rowid", (first,)
        )
        self._run("DROP TABLE moved")
        self._run("DELETE FROM dead")
        self.reenter_rows(first, rows)

    # Checksums.

    def blocks(self, file: str) -> list[Block]:
        """Return the blocks of a file, in order."""
        return [Block(*found) for found in self._blocks("file = ? ORDER BY block", (file,))]

    def last_block(self, file: str, rows: int) -> Block | None:
        """Return the block that the next row of a file belongs to, if others are in it."""
        number, filled = divmod(rows, BLOCK_ROWS)
        if not filled:
            return None
        found = self._blocks("file = ? AND block = ?", (file, number))
        if not found:
            raise self._broken(f"blocks: there is none for row {rows - 1:,} of {file!r}")
        return Block(*found[0])

    def _blocks(self, condition: str, values: Sequence[Any]) -> list[Any]:
        found = self._run(f"SELECT block, bytes, crc32 FROM blocks WHERE {condition}", values)
        if not all(isinstance(value, int) and 0 <= value < 1 << 62 for block in found for value in block):
            raise self._broken("blocks: holds something else than counts")
        return found

    def set_blocks(self, file: str, blocks: Iterable[Block]) -> None:
        """Write the checksums of blocks that are new or have grown."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", ((file, *block) for block in blocks)
        )

    def forget_blocks(self, file: str) -> None:
        """Delete the checksums of a file."""
        self._run("DELETE FROM blocks WHERE file = ?", (file,))

    # Notes.

    def notes(self) -> dict[str, str]:
        """Return all notes."""
        return {str(key): str(value) for key, value in self._run("SELECT key, value FROM notes")}

    def note(self, key: str) -> str | None:
        """Return a note; None: there is none."""
        found = self._run("SELECT value FROM notes WHERE key = ?", (key,))
        return str(found[0][0]) if found else None

    def set_notes(self, notes: Iterable[tuple[str, str]]) -> None:
        """Write notes."""
        self._connection.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", notes)

    # Checks.

    def problems(self) -> list[str]:
        """Return what SQLite's own check finds wrong; and counts that do not fit together."""
        found = [text for (text,) in self._run("PRAGMA integrity_check(20)") if text != "ok"]
        rows, dead = (state := self.state()).rows, state.dead
        json = "CASE WHEN json_valid(metadata) THEN metadata ELSE '0' END"
        for what, query, wanted in (
            ("items", "FROM items", rows - dead),
            ("dead rows", "FROM dead", dead),
            ("numbers of dead rows", f"FROM dead WHERE number BETWEEN 1 AND {dead}", dead),
            ("different dead rows", "FROM (SELECT DISTINCT row FROM dead)", dead),
            (
                "dead rows out of range",
                f"FROM dead WHERE typeof(row) <> 'integer' OR row NOT BETWEEN 0 AND {rows - 1}",
                0,
            ),
            ("rows of items out of range", f"FROM items WHERE row NOT BETWEEN 0 AND {rows - 1}", 0),
            ("items in dead rows", "FROM items WHERE row IN (SELECT row FROM dead)", 0),
            ("ids of a wrong type", "FROM items WHERE typeof(id) NOT IN ('integer', 'text')", 0),
            ("documents of a wrong type", "FROM items WHERE typeof(document) NOT IN ('text', 'null')", 0),
            ("metadata of a wrong type", "FROM items WHERE typeof(metadata) NOT IN ('text', 'null')", 0),
            ("metadata not JSON objects", f"FROM items WHERE metadata NOTNULL AND json_type({json}) <> 'object'", 0),
        ):
            (count,) = self._run(f"SELECT count(*) {query}")[0]
            if count != wanted:
                found.append(f"{what}: {count:,}, where {wanted:,} are expected")
        try:
            return found + self.index_problems(rows)
        except sqlite3.OperationalError as error:  # metadata that is no JSON
            return [*found, f"indexed fields: {error}"]

    def damaged_ids(self) -> list[str | int]:
        """Return the ids, as far as they can be read, of the items that are not what their checksums are of, by row."""
        damaged: list[str | int] = []
        names = ("id", "document", "metadata")
        columns = ", ".join(
            f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END" for name in names
        )
        for name, document, metadata, crc32 in self._connection.execute(
            f"SELECT {columns}, crc32 FROM items ORDER BY row"  # the texts' bytes: damaged, they may be no UTF-8
        ):
            try:
                is_whole = _checksum(name, document, metadata) == crc32
            except AttributeError:  # a number where a text should be
                is_whole = False
            if not is_whole:
                damaged.append(name.decode(errors="replace") if isinstance(name, bytes) else name)
        return damaged


def _checksum(name: bytes | str | int, document: bytes | str | None, metadata: bytes | str | None) -> int:
    """Return the checksum of an item; its texts may be given as their UTF-8."""
    data = b"\1%d" % name if isinstance(name, int) else b"\2" + _utf8(name)
    if document is not None:
        data += b"\3" + _utf8(document)
    if metadata is not None:
        data += b"\4" + _utf8(metadata)
    return zlib.crc32(data)


def _utf8(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _numbers(text: str | None) -> NDArray[np.int64]:
    """Return what group_concat has made of integers, int64 (n,)."""
    return np.fromstring(text, np.int64, sep=",") if text else np.empty(0, np.int64)


def is_there(folder: Path) -> bool:
    """Tell whether a collection, or something else, is there, and not what a crash while it was made left."""
    try:
        (folder / NAME).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CollectionError(f"{folder}: {error.strerror}") from None
    catalog = Catalog(folder / NAME)
    catalog.close()
    return not catalog.is_new


def create_schema(catalog: Catalog, properties: Properties) -> None:
    """Make the tables of a new collection, in one transaction."""
    catalog.begin(write=True)
    catalog._run(f"PRAGMA application_id = {_APPLICATION_ID}")
    catalog._run(f"PRAGMA user_version = {FORMAT_VERSION}")
    for name, columns in _TABLES.items():
        catalog._run(f"CREATE TABLE {name} {columns}")
    catalog._run("INSERT INTO state VALUES (1, 0, 0, 0, 0)")
    catalog._run("INSERT INTO properties VALUES (?, ?)", (properties.model, properties.revision))
    rows = [("codes", properties.codec, properties.refine), ("rerank", properties.rerank, False)]
    for kind, codec, refine in rows:
        if codec is not None:
            catalog._run(
                "INSERT INTO codecs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (kind, *row_of_codec(kind, codec, refine))
            )
    catalog.commit()
