"""Indexed fields in the catalog: each has a column of `items`, and a table of posting lists by its values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from frazil.collection import postings, rowsets
from frazil.collection.database import Database
from frazil.collection.filters import Condition, field_path
from frazil.collection.postings import BLOCK
from frazil.collection.rowsets import Rows

__all__ = ["Indexes"]


class Indexes(Database):
    """The part of the catalog that finds rows by the values of their fields."""

    def fields(self) -> dict[str, int]:
        """Return the metadata fields that have an index, and the number of each: that of m_<number>."""
        found = self._run("SELECT name, number FROM fields")
        if not all(isinstance(name, str) and isinstance(number, int) for name, number in found):
            raise self._broken("fields: expected names and numbers")
        return dict(found)

    def field_columns(self) -> dict[int, str]:
        """Return the definitions of the fields' columns of `items`, in the order of their numbers."""
        return {number: _column(number, field_path(name) or "") for name, number in self._by_number()}

    def _by_number(self) -> list[tuple[str, int]]:
        return sorted(self.fields().items(), key=lambda pair: pair[1])

    @staticmethod
    def list_table(number: int) -> tuple[str, str]:
        """Return the name and the columns of the table that holds a field's lists."""
        column = f"m_{number}"
        return f"lists_{number}", f"({column}, block INTEGER NOT NULL, rows BLOB NOT NULL, UNIQUE ({column}, block))"

    def add_index(self, name: str, path: str, rows: int) -> None:
        """Make an index of a metadata field, of all rows; `path` is its JSON path."""
        self._run("INSERT INTO fields (name) VALUES (?)", (name,))
        number = self.fields()[name]
        self._run(f"ALTER TABLE items ADD COLUMN {_column(number, path)}")
        table, columns = self.list_table(number)
        self._run(f"CREATE TABLE {table} {columns}")
        self._enter(number, 0, rows)

    def enter_rows(self, first: int, rows: int) -> None:
        """Enter the items of the last rows, from `first` on, into all indexes."""
        for number in self.fields().values():
            self._enter(number, first, rows)

    def reenter_rows(self, first: int, rows: int) -> None:
        """Do it anew: above `first` all rows have changed."""
        start = first - first % BLOCK
        for number in self.fields().values():
            table, _ = self.list_table(number)
            self._run(f"DELETE FROM {table} WHERE block >= ?", (start // BLOCK,))
            self._enter(number, start, rows)

    def _enter(self, number: int, first: int, rows: int) -> None:
        table, _ = self.list_table(number)
        for start in range(first - first % BLOCK, rows, BLOCK):
            block, new = start // BLOCK, []
            for value, places in self._places(number, start, max(start, first), min(start + BLOCK, rows)):
                key = (value, block)
                query = f"SELECT rowid, rows FROM {table} WHERE m_{number} IS ? AND block = ?"
                known = self._run(query, key) if start < first else []
                if known:
                    with self._sane(table):
                        longer = postings.extend(known[0][1], places)
                    self._run(f"UPDATE {table} SET rows = ? WHERE rowid = ?", (longer, known[0][0]))
                else:
                    new.append((*key, postings.encode(places)))
            self._connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", new)

    def _places(self, number: int, start: int, first: int, stop: int) -> Iterator[tuple[Any, list[int]]]:
        """Yield the values of a field in some rows of the block that begins at `start`, and the places of each."""
        # One text is several times as fast as a tuple for each row.
        found = self._run(
            f"SELECT m_{number}, group_concat(row - ?) FROM items WHERE row >= ? AND row < ? GROUP BY m_{number}",
            (start, first, stop),
        )
        return ((value, sorted(map(int, text.split(",")))) for value, text in found)

    def rows_listed(self, condition: Condition, first: int, rows: int) -> Rows:
        """Return the set of the rows from `first` on, counted from there, that were entered with values that fit.

        Args:
            condition: on one indexed field and nothing else.
            first: of the rows.
            rows: how many there are, dead ones too, which may be among those found.
        """
        (number,) = condition.columns
        table, _ = self.list_table(number or 0)
        start = first // BLOCK
        query = f"SELECT block - {start:d}, rows FROM {table} WHERE ({condition.sql}) AND block >= {start:d}"
        lists = self._run(query, condition.values)
        with self._sane(table):
            return rowsets.after(postings.select(lists, rows - start * BLOCK), first - start * BLOCK)

    def index_problems(self, rows: int) -> list[str]:
        """Return in which blocks a field's lists are not what the items there say of the field."""
        found = []
        for name, number in self._by_number():
            table, _ = self.list_table(number)
            blocks = -(-rows // BLOCK)
            is_odd = "typeof(block) <> 'integer' OR block NOT BETWEEN 0 AND ?"
            odd = self._run(f"SELECT DISTINCT block FROM {table} WHERE {is_odd} LIMIT 1", (blocks - 1,))
            if odd:
                found.append(f"{table}: holds a block {odd[0][0]!r}, of {blocks:,}")
            query = f"SELECT block, m_{number}, rows FROM {table} WHERE NOT ({is_odd}) ORDER BY block"
            lists = self._by_block("lists", query, (blocks - 1,))
            items = self._by_block("items", f"SELECT row / {BLOCK}, m_{number}, row FROM items ORDER BY row", ())
            for block, parts in groupby(merge(items, lists, key=itemgetter(0)), key=itemgetter(0)):
                here = {what: group for _, what, group in parts}
                if not _is_right(here.get("items", []), here.get("lists", []), block * BLOCK, rows):
                    found.append(f"{table}: block {block} is not what the items say of {name!r}")
        return found

    def _by_block(self, what: str, query: str, values: tuple[int, ...]) -> Iterator[tuple[int, str, list[Any]]]:
        rows = self._connection.execute(query, values)
        return ((block, what, list(group)) for block, group in groupby(rows, key=itemgetter(0)))

    @contextlib.contextmanager
    def _sane(self, table: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise self._broken(f"{table}: {error}") from None


def _column(number: int, path: str) -> str:
    """Return a field's column; its JSON path is the one text of a caller's that becomes SQL, and is quoted."""
    literal = "'" + path.replace("'", "''") + "'"
    return f"m_{number} GENERATED ALWAYS AS (json_extract(metadata, {literal})) VIRTUAL"


def _is_right(items: list[Any], lists: list[Any], start: int, rows: int) -> bool:
    """Tell whether each item (block, value, row) is in the list (block, value, places) of its value, no row in two."""
    owners = np.full(BLOCK, -1)
    entered = 0
    for owner, (_, _, data) in enumerate(lists):
        try:
            places = postings.places(data)
        except ValueError:
            return False
        owners[places] = owner
        entered += len(places)
    if entered != np.count_nonzero(owners[: rows - start] >= 0):
        return False
    owner_of = owners.tolist()
    return all(owner_of[row - start] >= 0 and lists[owner_of[row - start]][1] == value for _, value, row in items)
