"""The demo's figures: how well packed search agrees with float32 search, and how fast packing and searching run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from frazil import Codec

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Throughput", "agreement", "throughput"]


class Throughput(NamedTuple):
    """Seconds per call, the best of several."""

    pack: float
    search_one: float
    search_batch: float


def agreement(
    codec: Codec,
    codes: NDArray[np.uint8],
    documents: NDArray[np.float32],
    questions: NDArray[np.float32],
    *,
    samples: NDArray[np.int64],
    dim: int,
) -> float:
    """Return which share of the ten best of float32 search over the first `dim` dimensions packed search finds, too.

    The queries are the questions, and the sampled documents, each of which is left out of its own answers.

    Args:
        codec: how `codes` were packed.
        codes: uint8 (n, row_bytes), the documents packed.
        documents: float32 (n, d), n at least 2.
        questions: float32 (q, d).
        samples: int64 (s,), row numbers of documents that serve as queries.
        dim: at most d.

    Returns:
        The mean over all queries, 0 to 1.
    """
    queries = np.concatenate([questions, documents[samples]])
    own = np.concatenate([np.full(len(questions), -1), samples])
    k = min(10, len(documents) - 1)
    rows = codec.search(queries, codes, k=k + 1).rows
    exact = _unit(queries[:, :dim]) @ _unit(documents[:, :dim]).T
    shares = []
    for query, row in enumerate(own):
        if row >= 0:
            exact[query, row] = -np.inf
        best = np.argsort(-exact[query], kind="stable")[:k]
        found = rows[query][rows[query] != row][:k]
        shares.append(len(np.intersect1d(best, found)) / k)
    return float(np.mean(shares))


def throughput(codec: Codec, documents: NDArray[np.float32], codes: NDArray[np.uint8], batch: int) -> Throughput:
    """Time packing all documents, searching for one, and searching for `batch` of them at once."""
    queries = np.resize(documents, (batch, documents.shape[1]))
    return Throughput(
        _best_seconds(lambda: codec.pack(documents)),
        _best_seconds(lambda: codec.search(queries[0], codes, k=10)),
        _best_seconds(lambda: codec.search(queries, codes, k=10)),
    )


def _best_seconds(call: Callable[[], object], budget: float = 0.1) -> float:
    """Return the shortest time of calls repeated for `budget` seconds, three at least."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < budget:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.float32(1e-12))
    return unit
