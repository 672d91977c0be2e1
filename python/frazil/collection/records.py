"""The items of a collection, as callers see them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frazil.collection.catalog import Catalog
from frazil.collection.errors import CollectionError
from frazil.collection.reader import View

__all__ = ["Records", "to_item", "to_records"]


class Records(NamedTuple):
    """Items of a collection; all are of the same length."""

    ids: list[str | int]
    codes: NDArray[np.uint8]
    """uint8 (n, row_bytes)"""
    documents: list[str | None]
    metadatas: list[dict[str, Any] | None]
    rerank_codes: NDArray[np.uint8] | None
    """uint8 (n, rerank_codec.row_bytes), where the collection re-ranks"""


def to_records(catalog: Catalog, view: View, items: list[Any]) -> Records:
    """Return items and their codes."""
    checked = [to_item(catalog, view, item) for item in items]
    rows = np.array([item[0] for item in checked], np.int64)
    columns = [[item[column] for item in checked] for column in (1, 2, 3)]
    reranked = None if view.rerank is None else view.rerank[rows]
    return Records(columns[0], view.codes[rows], columns[1], columns[2], reranked)  # type: ignore[arg-type]


def to_item(catalog: Catalog, view: View, item: Any) -> tuple[int, str | int, str | None, dict[str, Any] | None]:
    """Return an item as callers see it, its metadata a dict, or raise CollectionError where it cannot be one."""
    row, name, document, text = item
    try:
        metadata = None if text is None else json.loads(text)
    except (ValueError, TypeError, RecursionError):
        metadata = text
    right = 0 <= row < view.state.rows and isinstance(name, str | int) and isinstance(document, str | None)
    if not right or not isinstance(metadata, dict | None):
        raise CollectionError(f"{catalog.path}: is damaged: the item of row {row!r}: {name!r:.100}")
    return row, name, document, metadata
