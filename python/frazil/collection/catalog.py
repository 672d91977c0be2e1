"""The catalog: every statement of SQL that a collection runs, but for those that a filter compiles to."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frazil.codec import Codec
from frazil.collection.codefiles import BLOCK_ROWS, Block
from frazil.collection.errors import CollectionError
from frazil.collection.filters import field_path

__all__ = [
    "FORMAT_VERSION",
    "NAME",
    "Catalog",
    "Item",
    "Properties",
    "State",
    "create_schema",
    "refuse_copies",
    "sql_errors",
]

NAME = "catalog.sqlite3"
FORMAT_VERSION = 1
_APPLICATION_ID = 0x667A6331  # "fzc1", at byte 68 of the file
_AT_ONCE = 500  # values of an IN (…): old SQLites take 999 parameters
_TEXT_OF = 1 << 20  # row numbers in one text
_MOST_ROWS = 1 << 48

_TABLES = {
    "properties": "(dim INTEGER NOT NULL, bits INTEGER NOT NULL, code_limit REAL NOT NULL, "
    "spacing TEXT NOT NULL, rerank_dim INTEGER, rerank_bits INTEGER, rerank_limit REAL, rerank_spacing TEXT, "
    "model TEXT, revision TEXT)",
    "state": "(generation INTEGER NOT NULL, rows INTEGER NOT NULL, dead INTEGER NOT NULL, version INTEGER NOT NULL, "
    "sketch_rows INTEGER NOT NULL)",
    "items": "(row INTEGER PRIMARY KEY, id NOT NULL UNIQUE, document TEXT, metadata TEXT)",
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
    rerank: Codec | None
    model: str | None
    revision: str | None


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


class _Connection(sqlite3.Connection):
    """A connection that closes itself where its thread ends without a word, but never in a forked child."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._pid = os.getpid()
        super().__init__(*arguments, **options)
        _open.add(self)

    def close(self) -> None:
        """Close the connection; in a forked child do nothing: SQLite wants its copies neither used nor closed."""
        if self._pid == os.getpid():
            _open.discard(self)
            super().close()

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.close()


_open: weakref.WeakSet[_Connection] = weakref.WeakSet()
_kept: list[_Connection] = []  # by a child for ever: other threads' connections would end, and so close, in the fork

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: _kept.extend(_open), after_in_parent=_kept.clear)


def refuse_copies(path: Path) -> None:
    """Raise CollectionError in a child that was forked while connections were open.

    SQLite's table of the locks that its process holds is copied with them: whatever the child opens from then on relies
    on locks that are its parent's, and another process' checkpoint would lose what the child commits.
    """
    if any(kept._pid != os.getpid() for kept in _kept):
        raise CollectionError(
            f"{path}: this process was forked while a collection was open, so that SQLite's locks do not hold in it; "
            "close collections before forking, or start processes by spawn or forkserver"
        )


@contextlib.contextmanager
def sql_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors within the block into `CollectionError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise CollectionError(f"{path}: {error}") from error
    except (OverflowError, UnicodeError) as error:  # what SQLite cannot hold
        raise ValueError(f"{path}: {error}") from error


class Catalog:
    """One connection to a collection's catalog. Its methods run within a transaction; all numbers they return are sane.

    Args:
        path: the database.
        create: make it if there is none.

    Raises:
        CollectionError: there is none, it is not a collection's, or of a newer format.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        refuse_copies(path)
        with sql_errors(path):
            uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
            self._sql = sqlite3.connect(
                uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False, factory=_Connection
            )
        try:
            with sql_errors(path):
                self._run("PRAGMA synchronous = FULL")
                self._run("PRAGMA fullfsync = ON")
                self.is_new = self._is_empty()
                if not self.is_new:
                    self._check()
        except BaseException:
            self._sql.close()
            raise

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._sql.execute(statement, values).fetchall()

    def _is_empty(self) -> bool:
        """Tell whether nothing has been committed: so does a crash while it is made leave it."""
        return not self._run("SELECT 1 FROM sqlite_master LIMIT 1") and self._run("PRAGMA user_version") == [(0,)]

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
        found = dict(self._run("SELECT name, sql FROM sqlite_master WHERE sql NOTNULL"))
        wanted = {name: f"CREATE TABLE {name} {columns}" for name, columns in _TABLES.items()}
        if found.get("fields") == wanted["fields"]:
            for field, number in sorted(self.fields().items(), key=lambda pair: pair[1]):
                wanted["items"] = f"{wanted['items'][:-1]}, {_field_column(number, field_path(field) or '')})"
                wanted[f"m_{number}"] = _field_index(number)
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise CollectionError(
                    f"{self.path}: {name!r} is not what a frazil collection's catalog has by this name"
                )

    def close(self) -> None:
        """Close the connection; what is not committed is undone."""
        self._sql.close()

    # Transactions.

    def begin(self, *, write: bool = False) -> None:
        """Begin a transaction; a reading one sees the same snapshot until `end`."""
        self._sql.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def commit(self) -> None:
        """Make the transaction's changes last: this is the moment at which a write has happened."""
        self._sql.execute("COMMIT")

    def end(self) -> None:
        """End the transaction; what is not committed is undone."""
        if self._sql.in_transaction:
            self._sql.execute("ROLLBACK")

    # What a collection is.

    def properties(self) -> Properties:
        """Return what was fixed at the creation."""
        found = self._run("SELECT * FROM properties LIMIT 2")
        if len(found) != 1 or len(found[0]) != 10:
            raise self._broken("properties: expected one row of 10 columns")
        *codecs, model, revision = found[0]
        try:
            codec = Codec(*codecs[:4])
            rerank = None if codecs[4] is None else Codec(*codecs[4:])
        except (TypeError, ValueError) as error:
            raise self._broken(f"properties: {error}") from None
        if not all(text is None or isinstance(text, str) for text in (model, revision)):
            raise self._broken("properties: model and revision are not texts")
        return Properties(codec, rerank, model, revision)

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

    def _broken(self, what: str) -> CollectionError:
        return CollectionError(f"{self.path}: is damaged: {what}")

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
        self._sql.executemany(
            f"INSERT INTO items (row, id{names}) VALUES (?, ?{marks})",
            zip(range(first, first + len(ids)), ids, *given.values(), strict=True),
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
            yield from self._sql.execute(f"SELECT {what} FROM items WHERE {column} IN ({marks})", part)

    def items(self, size: int, columns: str = "row, id, document, metadata") -> Iterator[list[Item]]:
        """Yield all items by row, in lists of `size`."""
        cursor = self._sql.execute(f"SELECT {columns} FROM items ORDER BY row")
        while found := cursor.fetchmany(size):
            yield found

    def ids_of_rows(self, first: int, stop: int, most: int) -> list[Any]:
        """Return the ids of at most `most` of the rows from `first` on, below `stop`."""
        query = "SELECT id FROM items WHERE row >= ? AND row < ? ORDER BY row LIMIT ?"
        return [name for (name,) in self._run(query, (first, stop, most))]

    def rows_where(self, condition: str, values: Sequence[Any], first: int, rows: int) -> NDArray[np.int64]:
        """Return the rows, from `first` on, of the items that meet a condition of SQL, ascending, int64 (n,)."""
        # One text is several times as fast as a tuple for each row. Of few new rows, each is looked at: no index is.
        source = f"items NOT INDEXED WHERE row >= {first:d} AND" if first else "items WHERE"
        (text,) = self._run(f"SELECT group_concat(row) FROM {source} ({condition})", values)[0]
        return self._checked_rows(_numbers(text), rows, "items")

    def delete_rows(self, rows: Sequence[int], dead: int) -> None:
        """Delete items, and count their rows as dead; `dead` is how many were before."""
        self._sql.executemany("DELETE FROM items WHERE row = ?", ((row,) for row in rows))
        self._sql.executemany("INSERT INTO dead (number, row) VALUES (?, ?)", enumerate(rows, start=dead + 1))

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

    def renumber(self, first: int) -> None:
        """Close the gaps in the rows from `first` on: dead rows are gone. Above `first` all rows change."""
        columns = "row, id, document, metadata"
        self._run(f"CREATE TEMP TABLE moved AS SELECT {columns} FROM items WHERE row >= ? ORDER BY row", (first,))
        self._run("DELETE FROM items WHERE row >= ?", (first,))
        self._run(
            "INSERT INTO items (row, id, document, metadata) "
            "SELECT rowid - 1 + ?, id, document, metadata FROM moved ORDER BY rowid",
            (first,),
        )
        self._run("DROP TABLE moved")
        self._run("DELETE FROM dead")

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
        self._sql.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", ((file, *block) for block in blocks))

    def forget_blocks(self, file: str) -> None:
        """Delete the checksums of a file."""
        self._run("DELETE FROM blocks WHERE file = ?", (file,))

    # Indexed fields, notes.

    def fields(self) -> dict[str, int]:
        """Return the metadata fields that have an index: the number of the column m_<number> of each."""
        found = self._run("SELECT name, number FROM fields")
        if not all(isinstance(name, str) and isinstance(number, int) for name, number in found):
            raise self._broken("fields: expected names and numbers")
        return dict(found)

    def add_index(self, name: str, path: str) -> None:
        """Make an indexed column of a metadata field; `path` is its JSON path."""
        self._run("INSERT INTO fields (name) VALUES (?)", (name,))
        number = self.fields()[name]
        self._run(f"ALTER TABLE items ADD COLUMN {_field_column(number, path)}")
        self._run(_field_index(number))

    def notes(self) -> dict[str, str]:
        """Return all notes."""
        return {str(key): str(value) for key, value in self._run("SELECT key, value FROM notes")}

    def set_notes(self, notes: Iterable[tuple[str, str]]) -> None:
        """Write notes."""
        self._sql.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", notes)

    # Checks.

    def problems(self) -> list[str]:
        """Return what SQLite's own check finds wrong; and counts that do not fit together."""
        found = [text for (text,) in self._run("PRAGMA integrity_check(20)") if text != "ok"]
        state = self.state()
        for what, query, wanted in (
            ("items", "SELECT count(*) FROM items", state.rows - state.dead),
            ("dead rows", "SELECT count(DISTINCT row) FROM dead", state.dead),
            ("the last dead row's number", "SELECT coalesce(max(number), 0) FROM dead", state.dead),
            ("rows of items out of range", f"SELECT count(*) FROM items WHERE row < 0 OR row >= {state.rows}", 0),
            ("items in dead rows", "SELECT count(*) FROM items WHERE row IN (SELECT row FROM dead)", 0),
            ("ids of a wrong type", "SELECT count(*) FROM items WHERE typeof(id) NOT IN ('integer', 'text')", 0),
            ("metadata not JSON", "SELECT count(*) FROM items WHERE metadata NOTNULL AND NOT json_valid(metadata)", 0),
        ):
            (count,) = self._run(query)[0]
            if count != wanted:
                found.append(f"{what}: {count:,}, where {wanted:,} are expected")
        return found


def _numbers(text: str | None) -> NDArray[np.int64]:
    """Return what group_concat has made of integers, int64 (n,)."""
    return np.fromstring(text, np.int64, sep=",") if text else np.empty(0, np.int64)


def create_schema(catalog: Catalog, properties: Properties) -> None:
    """Make the tables of a new collection, in one transaction."""
    catalog._run("PRAGMA journal_mode = WAL")
    catalog.begin(write=True)
    catalog._run(f"PRAGMA application_id = {_APPLICATION_ID}")
    catalog._run(f"PRAGMA user_version = {FORMAT_VERSION}")
    for name, columns in _TABLES.items():
        catalog._run(f"CREATE TABLE {name} {columns}")
    catalog._run("INSERT INTO state VALUES (1, 0, 0, 0, 0)")
    codec, rerank = properties.codec, properties.rerank
    codecs = (*astuple(codec), *(astuple(rerank) if rerank else [None] * 4))
    marks = ", ".join("?" * 10)
    catalog._run(f"INSERT INTO properties VALUES ({marks})", (*codecs, properties.model, properties.revision))
    catalog.commit()


def _field_column(number: int, path: str) -> str:
    """Return a field's column; its JSON path is the one text of a caller's that becomes SQL, and is quoted."""
    literal = "'" + path.replace("'", "''") + "'"
    return f"m_{number} GENERATED ALWAYS AS (json_extract(metadata, {literal})) VIRTUAL"


def _field_index(number: int) -> str:
    return f"CREATE INDEX m_{number} ON items (m_{number})"
