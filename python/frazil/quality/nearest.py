"""Exact search over floats, block by block: what codes are measured beside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest", "unit"]

_BLOCK = 8192  # rows whose floats and scores are held at once


def unit(vectors: NDArray[Any], dim: int) -> NDArray[np.float32]:
    """Return vectors cut to `dim` values and renormalized, float32 (n, dim); zero vectors stay zero."""
    kept = vectors[:, :dim].astype(np.float64)
    largest = np.abs(kept).max(axis=1, keepdims=True)
    kept /= np.where(largest > 0, largest, 1)  # nothing overflows or vanishes
    kept /= np.maximum(
        np.linalg.norm(kept, axis=1, keepdims=True), 1.0
    )  # of a vector whose largest value is 1, or zero
    return kept.astype(np.float32)


def nearest(
    queries: NDArray[Any], documents: NDArray[Any], dim: int, k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Find the k documents of the highest inner product with each query, both cut to `dim` and renormalized.

    Args:
        queries: floats (q, d).
        documents: floats (n, d); a memory map is read in blocks.
        dim: how many values are kept.
        k: at most n.

    Returns:
        scores, float32, and rows, int64: (q, k), best first, equal scores by row.
    """
    asked = unit(queries, dim)
    scores, rows = np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64)
    for start in range(0, len(documents), _BLOCK):
        block = asked @ unit(documents[start : start + _BLOCK], dim).T
        numbers = np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)
        scores, rows = np.concatenate((scores, block), axis=1), np.concatenate((rows, numbers), axis=1)
        if scores.shape[1] > k:
            best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            scores, rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
