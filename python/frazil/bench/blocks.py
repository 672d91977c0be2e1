"""Score rows block by block and keep the best: for libraries that score, but do not search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil.bench.cases import K

__all__ = ["BLOCK", "Floats", "numpy_blocks", "search_floats", "torch_blocks"]

BLOCK = 1 << 16
"""rows scored at once"""
Floats = NDArray[np.float32]


def torch_blocks(torch: Any, blocks: int, score: Callable[[int], Any]) -> NDArray[Any]:
    """Find the best of all blocks by topk of each, and topk of what these have found."""
    scores, rows = [], []
    for block in range(blocks):
        of_block = score(block)
        best = torch.topk(of_block, min(K, of_block.shape[1]), dim=1)
        scores.append(best.values)
        rows.append(best.indices + block * BLOCK)
    best = torch.topk(torch.cat(scores, 1), K, dim=1)
    found: NDArray[Any] = torch.gather(torch.cat(rows, 1), 1, best.indices).cpu().numpy()
    return found


def search_floats(x: Floats, q: Floats) -> NDArray[np.int64]:
    """Search by float32 matmul and argpartition."""
    blocks = -(-len(x) // BLOCK)
    return numpy_blocks(blocks, lambda i: q @ x[i * BLOCK : (i + 1) * BLOCK].T)


def numpy_blocks(blocks: int, score: Callable[[int], NDArray[Any]]) -> NDArray[np.int64]:
    """Find the best of all blocks by argpartition of each, and of what these have found."""
    scores, rows = [], []
    for block in range(blocks):
        of_block = score(block)
        k = min(K, of_block.shape[1])
        best = np.argpartition(of_block, -k, axis=1)[:, -k:]
        scores.append(np.take_along_axis(of_block, best, 1))
        rows.append(best + block * BLOCK)
    order = np.argsort(-np.hstack(scores), axis=1, kind="stable")[:, :K]
    return np.take_along_axis(np.hstack(rows), order, 1)
