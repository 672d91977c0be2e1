"""A search through a snapshot: which rows are allowed, the codec's search, the items of the hits."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frazil import codec as codecs
from frazil._arrays import as_allow, shape_of
from frazil.codec import Codec
from frazil.collection import rowsets
from frazil.collection.catalog import Catalog
from frazil.collection.errors import CollectionError
from frazil.collection.filters import read_once
from frazil.collection.reader import Reader, View
from frazil.collection.records import to_item
from frazil.collection.rowsets import Rows
from frazil.collection.vectors import check_width, known_width

__all__ = ["Hits", "Request", "search"]


class Hits(NamedTuple):
    """The best items for each query, best first; for a single query all four have one axis."""

    scores: NDArray[np.float32]
    """float32 (q, k)"""
    ids: list[Any]
    """a list of k ids, strings or integers, for each query"""
    documents: list[Any]
    """a list of k texts, or None, for each query"""
    metadatas: list[Any]
    """a list of k dicts, or None, for each query"""


@dataclass(frozen=True)
class Request:
    """What is asked of a search: the arguments of `Collection.search`, but for the queries."""

    k: int
    where: Mapping[str, Any] | None
    ids: list[str | int] | None
    allow: Any
    failure: float | None
    rerank: int | None
    options: dict[str, Any]
    """query_bits and threads"""

    def candidates(self, finer: Codec | None) -> int:
        """Return how many rows the first search must find."""
        if self.rerank is None:
            return self.k
        if finer is None:
            raise ValueError("rerank: this collection keeps no codes for it; create(rerank=…) makes one that does")
        if self.rerank < self.k:
            raise ValueError(f"rerank: expected at least k, {self.k}, got {self.rerank}")
        return self.rerank


def search(reader: Reader, queries: Any, request: Request) -> Hits:
    """Search one snapshot."""
    codec, finer = reader.properties.codec, reader.properties.rerank
    options = request.options | {"k": request.candidates(finer)}
    shape = shape_of(queries, "queries")
    with reader.snapshot() as (catalog, view):
        if shape:
            check_width("queries", shape[-1], known_width(catalog))
        allowed = _allowed(reader, catalog, view, request)
        if request.failure is None or view.sketch is None:
            found = codec.search(queries, view.codes, allow=allowed, **options)
        else:
            options |= {"failure": request.failure}
            found = _by_sketch(codec, view, queries, allowed, options)
        if finer is not None and view.rerank is not None and request.rerank is not None:
            scores = _scores(finer, view.rerank, queries, found.rows, request.options)
            found = _best(scores, found.rows, request.k)
        return _items(catalog, view, found)


def _allowed(reader: Reader, catalog: Catalog, view: View, request: Request) -> Rows | None:
    """Return the set of the rows that may be found, if not all: the living ones that all filters let through."""
    parts: list[Rows] = []
    if request.where is not None:
        parts.append(reader.allowed_where(catalog, view, read_once(request.where)))
    if request.ids is not None:
        rows = np.array(sorted({row for row, _ in catalog.rows_of_ids(request.ids)}), np.int64)
        if rows.size and not 0 <= rows[0] <= rows[-1] < view.state.rows:
            raise CollectionError(f"{catalog.path}: is damaged: items have rows out of range")
        parts.append(rows)
    if request.allow is not None:
        parts.append(_as_mask(request.allow, view))
    if not parts:
        return view.alive
    allowed = functools.reduce(rowsets.both, parts)
    return None if allowed.dtype == np.bool_ and allowed.all() else allowed


def _as_mask(allow: Any, view: View) -> NDArray[np.bool_]:
    """Return the living rows that a mask or row numbers allow, bool (rows,)."""
    count = view.state.rows
    mask, numbers = as_allow(allow)
    if mask is not None and mask.shape != (count,):
        raise ValueError(f"allow: expected a mask of shape ({count},), got {mask.shape}")
    if numbers is not None:
        if numbers.ndim != 1:
            raise ValueError(f"allow: expected row numbers (m,), got shape {numbers.shape}")
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < count:
            raise ValueError(
                f"allow: expected row numbers from 0, below {count}, got {numbers.min()} to {numbers.max()}"
            )
        mask = rowsets.as_mask(numbers, count)
    assert mask is not None
    return mask if view.alive is None else mask & view.alive


def _by_sketch(codec: Codec, view: View, queries: Any, allowed: Rows | None, options: dict[str, Any]) -> codecs.Hits:
    """Search the sketched rows by the sketch, those added since in full, and merge."""
    count = view.state.sketch_rows
    if allowed is None:
        parts: tuple[Any, Any] = None, None
    elif allowed.dtype == np.bool_:
        parts = allowed[:count], allowed[count:]
    else:
        cut = int(np.searchsorted(allowed, count))
        parts = allowed[:cut], allowed[cut:] - count
    sketched = codec.search(queries, view.codes[:count], allow=parts[0], sketch=view.sketch, **options)
    if count == view.state.rows:
        return sketched
    rest = codec.search(queries, view.codes[count:], allow=parts[1], **options)
    scores = np.concatenate((sketched.scores, rest.scores), axis=-1)
    rows = np.concatenate((sketched.rows, rest.rows + count), axis=-1)
    return _best(scores, rows, options["k"])


def _best(scores: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> codecs.Hits:
    order = np.lexsort((rows, -scores), axis=-1)[..., :k]
    return codecs.Hits(np.take_along_axis(scores, order, -1), np.take_along_axis(rows, order, -1))


def _scores(
    codec: Codec, codes: NDArray[np.uint8], queries: Any, rows: NDArray[np.int64], options: dict[str, Any]
) -> NDArray[np.float32]:
    """Score each query against rows of its own, of which alone the codes are read."""
    if rows.ndim == 1:
        return codec.score(queries, codes[rows], **options)
    scores = np.empty(rows.shape, np.float32)
    for query, its_rows in enumerate(rows):
        scores[query] = codec.score(queries[query], codes[its_rows], **options)
    return scores


def _items(catalog: Catalog, view: View, found: codecs.Hits) -> Hits:
    numbers = np.unique(found.rows).tolist()
    items = {item[0]: to_item(catalog, view, item) for item in catalog.items_of_rows(numbers)}
    if len(items) != len(numbers):
        row = next(row for row in numbers if row not in items)
        raise CollectionError(f"{catalog.path}: is damaged: it knows nothing of row {row:,}, which lives")
    columns: list[list[Any]] = []
    for column in (1, 2, 3):
        if found.rows.ndim == 1:
            columns.append([items[row][column] for row in found.rows.tolist()])
        else:
            columns.append([[items[row][column] for row in rows] for rows in found.rows.tolist()])
    return Hits(found.scores, *columns)
