"""`Metric`: which errors of a code count how much, learned from a sample of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil._arrays import as_floats, as_numbers, as_small

__all__ = ["Metric"]

_FLOOR = 0.3  # of the mean eigenvalue, added to all: from 0.1 to 1 recall stays the same
_BLOCK = 65_536  # rows of a sample that are widened at a time


@dataclass(frozen=True, eq=False, repr=False)
class Metric:
    """Which errors of a code count how much when `Codec.pack(..., refine=metric)` chooses it.

    Errors in directions in which vectors differ much change scores more than others do. A metric says so: an error
    `r = x_hat - x` costs `r @ matrix @ r`, beside what it costs along the vector itself (docs/format.md §3). The codes
    are of the same format as any.

    >>> metric = frazil.Metric.fit(embeddings[::10])
    >>> codes = frazil.ARCTIC_INT4.pack(embeddings, refine=metric)
    >>> np.save("metric.npy", metric.matrix)                            # and later
    >>> metric = frazil.Metric(np.load("metric.npy"))

    Args:
        matrix: float32 or float64 (dim, dim), symmetric, positive definite. It is copied.

    Raises:
        ValueError: wrong shape, values that are not finite, or the matrix is not symmetric or not positive definite.
        TypeError: wrong dtype.
    """

    matrix: NDArray[np.float32]
    """float32 (dim, dim), read-only"""

    def __post_init__(self) -> None:
        matrix = as_numbers(*as_floats(self.matrix, "matrix")).astype(np.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
            raise ValueError(f"matrix: expected shape (dim, dim), got {matrix.shape}")
        with np.errstate(over="ignore"):
            matrix = np.array(matrix, np.float32, order="C")
        if not np.isfinite(matrix).all():
            raise ValueError("matrix: holds NaN, infinity or values that float32 cannot hold; every one must be finite")
        if not (matrix == matrix.T).all():
            raise ValueError("matrix: expected a symmetric one")
        try:
            np.linalg.cholesky(matrix.astype(np.float64))
        except np.linalg.LinAlgError:
            raise ValueError("matrix: expected a positive definite one") from None
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    @property
    def dim(self) -> int:
        """Dimensions."""
        return len(self.matrix)

    @classmethod
    def fit(cls, sample: Any, dim: int = 256) -> Metric:
        """Learn a metric from vectors like those that will be packed, or searched for.

        With `S` the second moment of the sample's unit vectors, `mean(x x^T)`, scaled to a trace of dim, the metric is
        the square root of `S`, scaled likewise, plus 0.3 times the identity; all of it scaled to a trace of dim again.
        `S` itself would be the cost of scores if queries were like the sample in every way; its root weights
        directions less unequally, which is better on other queries and on collections that differ from the sample.

        Args:
            sample: floats (n, d) with d >= dim, of the types that `Codec.pack` takes; they are truncated and
                renormalized, zero vectors left out. A few thousand that are drawn at random are enough; fewer than dim
                teach little.
            dim: dimensions kept.

        Returns:
            The metric. Its last bits depend on NumPy's linear algebra; keep `matrix` to pack the same bytes again.

        Raises:
            ValueError: wrong shape or dim, NaN or infinity among the values read (the first such row is named), or
                no vector that is not zero.
            TypeError: wrong dtype.
        """
        dim = as_small(dim, "dim")
        floats, bfloat16 = as_floats(sample, "sample")
        if floats.ndim != 2 or not 2 <= dim <= floats.shape[1]:
            raise ValueError(f"sample: expected shape (n, d) with d >= dim >= 2, got {floats.shape} for dim {dim}")
        moment, count = np.zeros((dim, dim)), 0
        for start in range(0, len(floats), _BLOCK):
            block = as_numbers(floats[start : start + _BLOCK, :dim], bfloat16).astype(np.float64)
            bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if len(bad):
                raise ValueError(f"sample: row {start + bad[0]} holds NaN or infinity; every value must be finite")
            largest = np.abs(block).max(axis=1, keepdims=True)
            block = block[largest[:, 0] > 0] / largest[largest[:, 0] > 0]  # so that no square overflows or vanishes
            block /= np.sqrt(np.sum(block * block, axis=1, keepdims=True))
            moment += block.T @ block
            count += len(block)
        if not count:
            raise ValueError("sample: expected vectors that are not zero, got none")
        values, vectors = np.linalg.eigh(moment)
        root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        root = (root * (dim / np.trace(root)) + _FLOOR * np.eye(dim)) / (1 + _FLOOR)
        return cls((root + root.T) / 2)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metric) and np.array_equal(self.matrix, other.matrix)

    def __hash__(self) -> int:
        return hash(self.matrix.tobytes())

    def __repr__(self) -> str:
        return f"Metric(dim={self.dim})"
