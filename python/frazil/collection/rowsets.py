"""Sets of rows, each a mask, bool (count,), or, of few, ascending row numbers, int64: what `Codec.search` takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEW", "Rows", "after", "as_mask", "both", "either", "join", "none_of", "smallest"]

Rows = NDArray[Any]

FEW = 8
"""below one row of so many, numbers take no more room than a mask, and are walked faster"""


def as_mask(rows: Rows, count: int) -> NDArray[np.bool_]:
    """Return the set as a mask."""
    if rows.dtype == np.bool_:
        return rows
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return mask


def smallest(rows: Rows, count: int) -> Rows:
    """Return the set as numbers, if it is of few rows, else as a mask."""
    if rows.dtype != np.bool_:
        return rows if len(rows) * FEW < count else as_mask(rows, count)
    return np.flatnonzero(rows) if np.count_nonzero(rows) * FEW < count else rows


def both(a: Rows, b: Rows) -> Rows:
    """Return the rows in both sets."""
    if a.dtype == b.dtype == np.bool_:
        return a & b
    if a.dtype == np.bool_:
        a, b = b, a
    return a[b[a]] if b.dtype == np.bool_ else np.intersect1d(a, b, assume_unique=True)


def either(a: Rows, b: Rows) -> Rows:
    """Return the rows in one of the sets, or in both."""
    if np.bool_ not in (a.dtype, b.dtype):
        return np.union1d(a, b)
    if b.dtype != np.bool_:
        a, b = b, a
    return as_mask(a, len(b)) | b


def none_of(rows: Rows, count: int) -> Rows:
    """Return the rows that are not in the set."""
    return ~as_mask(rows, count)


def join(first: Rows, first_count: int, second: Rows, second_count: int) -> Rows:
    """Return the rows of one set, and behind them those of another."""
    if np.bool_ in (first.dtype, second.dtype):
        return np.concatenate((as_mask(first, first_count), as_mask(second, second_count)))
    return np.concatenate((first, second + first_count))


def after(rows: Rows, first: int) -> Rows:
    """Return the rows from `first` on, counted from there."""
    return rows[first:] if rows.dtype == np.bool_ else rows[np.searchsorted(rows, first) :] - first
