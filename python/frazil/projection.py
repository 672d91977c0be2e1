"""`Projection`: keep the directions that matter of models whose first dimensions are not the ones that do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil._arrays import as_floats, as_numbers, as_small

__all__ = ["ORDINARY", "Projection"]

_BLOCK = 16_384  # rows that are projected at a time

ORDINARY = 40
"""vectors whose largest value is between 2^-40 and 2^40 are projected as they are, others scaled first"""


@dataclass(frozen=True, eq=False, repr=False)
class Projection:
    """A linear map of embeddings to fewer dimensions, in place of cutting them.

    Matryoshka-trained models have what matters in their first dimensions; others lose by cutting. A projection keeps
    the directions in which a sample of their embeddings is largest (principal components about the origin, so that
    inner products stay what they are), turned at random, so that all values have the same spread, as a codec with one
    limit for all needs it.

    >>> projection = frazil.Projection.fit(embeddings[::10], dim=256)
    >>> codec = frazil.Codec(256, projection=projection)
    >>> codes = codec.pack(embeddings)                            # queries are projected likewise, in each search

    Args:
        matrix: float32 or float64 (d, dim), d >= dim >= 2: `x[:d] @ matrix` is projected. It is copied.

    Raises:
        ValueError: wrong shape, or values that float32 cannot hold, or not their products.
        TypeError: wrong dtype.
    """

    matrix: NDArray[np.float32]
    """float32 (d, dim), read-only"""

    def __post_init__(self) -> None:
        floats = as_numbers(*as_floats(self.matrix, "matrix"))
        if floats.ndim != 2 or not 2 <= floats.shape[1] <= floats.shape[0]:
            raise ValueError(f"matrix: expected shape (d, dim) with d >= dim >= 2, got {floats.shape}")
        with np.errstate(over="ignore"):
            matrix = np.array(floats, np.float32, order="C")
        if not np.isfinite(matrix).all():
            raise ValueError("matrix: holds NaN, infinity or values that float32 cannot hold; every one must be finite")
        largest = float(np.abs(matrix).max())
        if largest * len(matrix) * 2.0**ORDINARY > float(np.finfo(np.float32).max):
            raise ValueError(
                f"matrix: expected values whose products with vectors up to 2^{ORDINARY} fit into float32, got up to "
                f"{largest:.3g}; vectors are normalized afterwards, so that a smaller one does the same"
            )
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    @property
    def dim(self) -> int:
        """Dimensions of what is projected."""
        return int(self.matrix.shape[1])

    @property
    def input_dim(self) -> int:
        """Dimensions of what it is projected from."""
        return int(self.matrix.shape[0])

    @classmethod
    def fit(cls, sample: Any, dim: int = 256, *, seed: int = 0) -> Projection:
        """Learn a projection from embeddings like those that will be packed, or searched for.

        Args:
            sample: floats (n, d) with d >= dim, of the types that `Codec.pack` takes; each counts by its direction
                alone. Some thousand that are drawn at random are enough; fewer than d teach little.
            dim: dimensions kept.
            seed: of the random turn.

        Returns:
            The projection. Its last bits depend on NumPy's linear algebra; keep `matrix` to pack the same bytes again.

        Raises:
            ValueError: wrong shape or dim, NaN or infinity in the sample (the first such row is named), or no vector
                that is not zero.
            TypeError: wrong dtype.
        """
        dim = as_small(dim, "dim")
        floats, bfloat16 = as_floats(sample, "sample")
        if floats.ndim != 2 or not 2 <= dim <= floats.shape[1]:
            raise ValueError(f"sample: expected shape (n, d) with d >= dim >= 2, got {floats.shape} for dim {dim}")
        moment = np.zeros((floats.shape[1], floats.shape[1]))
        for start in range(0, len(floats), _BLOCK):
            block = _scaled(floats[start : start + _BLOCK], bfloat16, "sample", start).astype(np.float64)
            norms = np.linalg.norm(block, axis=1, keepdims=True)
            block /= np.where(norms > 0, norms, 1)
            moment += block.T @ block
        if not moment.any():
            raise ValueError("sample: expected vectors that are not zero, got none")
        values, vectors = np.linalg.eigh(moment)
        kept = vectors[:, np.argsort(-values, kind="stable")[:dim]]
        turn, triangle = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
        return cls(kept @ (turn * np.sign(np.diag(triangle))))  # so that all turns are equally likely

    def __call__(self, x: Any, name: str = "x") -> NDArray[np.float32]:
        """Project vectors.

        Args:
            x: floats (n, d) or (d,), of the types that `Codec.pack` takes, d >= input_dim.
            name: what messages call them.

        Returns:
            float32 (n, dim) or (dim,), each row up to a positive factor of its own, which keeps it within float32.

        Raises:
            ValueError: wrong shape, or NaN or infinity among the values read (the first such row is named).
            TypeError: wrong dtype.
        """
        rows, single = self.rows_of(x, name)
        projected = np.empty((len(rows[0]), self.dim), np.float32)
        for start, block in self.blocks(*rows, name):
            projected[start : start + len(block)] = block
        return projected[0] if single else projected

    def rows_of(self, x: Any, name: str) -> tuple[tuple[NDArray[Any], bool], bool]:
        """Return what `as_floats` gives, as rows (n, input_dim), and whether x is a single one."""
        floats, bfloat16 = as_floats(x, name)
        if floats.ndim not in (1, 2) or floats.shape[-1] < self.input_dim:
            wanted = f"(n, d) or (d,) with d >= {self.input_dim}"
            raise ValueError(f"{name}: expected shape {wanted}, got {floats.shape}")
        rows = floats[None] if floats.ndim == 1 else floats
        return (rows[:, : self.input_dim], bfloat16), floats.ndim == 1

    def blocks(self, rows: NDArray[Any], bfloat16: bool, name: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield projected rows some thousand at a time, with the number of the first."""
        for start in range(0, len(rows), _BLOCK):
            yield start, _scaled(rows[start : start + _BLOCK], bfloat16, name, start) @ self.matrix

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Projection) and np.array_equal(self.matrix, other.matrix)

    def __hash__(self) -> int:
        return hash((self.matrix.shape, self.matrix.tobytes()))

    def __repr__(self) -> str:
        return f"Projection({self.input_dim} to {self.dim})"


def _scaled(rows: NDArray[Any], bfloat16: bool, name: str, first: int) -> NDArray[np.float32]:
    """Return float32 rows, each up to a power of two, of which no sum of products overflows or vanishes."""
    floats = as_numbers(rows, bfloat16)
    if floats.dtype == np.float16:
        floats = floats.astype(np.float32)
    largest = np.maximum(floats.max(axis=1), -floats.min(axis=1))
    bad = np.flatnonzero(~np.isfinite(largest))
    if len(bad):
        raise ValueError(f"{name}: row {first + bad[0]} holds NaN or infinity; every value must be finite")
    odd = np.flatnonzero((largest > 2.0**ORDINARY) | ((largest < 2.0**-ORDINARY) & (largest > 0)))
    if len(odd):
        floats = floats.copy()
        floats[odd] = np.ldexp(floats[odd], -np.frexp(largest[odd])[1][:, None])
    return floats.astype(np.float32, copy=False)
