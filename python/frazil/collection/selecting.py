"""Which rows a filter lets through: posting lists where its fields are indexed, SQLite on the items where not."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from frazil.collection import rowsets
from frazil.collection.catalog import Catalog
from frazil.collection.filters import compile_filter, conjuncts
from frazil.collection.rowsets import Rows

__all__ = ["Selector"]


@dataclass(frozen=True)
class Selector:
    """Finds rows in one transaction."""

    catalog: Catalog
    fields: Mapping[str, int]
    first: int
    """rows from here on"""
    rows: int
    """below here"""

    def select(self, where: Mapping[str, Any]) -> Rows:
        """Return the set of the rows, counted from `first`, that a filter lets through, which is known to compile.

        Dead rows may be among them.
        """
        parts = [(part, compile_filter(part, self.fields).columns) for part in conjuncts(where)]
        listed = [self._listed(part) for part, columns in parts if None not in columns]
        allowed = functools.reduce(rowsets.both, listed) if listed else self._all(True)
        if len(listed) == len(parts):
            return allowed
        allowed = rowsets.smallest(allowed, self.rows - self.first)
        among = None if allowed.dtype == np.bool_ else allowed + self.first
        return self.catalog.rows_where(compile_filter(where, self.fields), self.first, self.rows, among) - self.first

    def _listed(self, part: Mapping[str, Any]) -> Rows:
        """Return the rows that a filter of one key lets through, all of whose fields are indexed."""
        condition = compile_filter(part, self.fields)
        if len(condition.columns) == 1:
            return self.catalog.rows_listed(condition, self.first, self.rows)
        ((name, value),) = part.items()
        if name == "$not":
            return rowsets.none_of(self.select(value), self.rows - self.first)
        if name == "$or":
            return functools.reduce(rowsets.either, map(self.select, value), self._all(False))
        return self._all(True)  # a field of which nothing is asked

    def _all(self, are: bool) -> Rows:
        return np.full(self.rows - self.first, are)
