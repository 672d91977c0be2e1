"""The vectors and codes that the bench searches: random ones, or a file's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil import Codec

__all__ = ["Vectors"]

_BLOCK = 1 << 16
_NOISE = 0.1  # of a row's length, where queries are made from rows
_CLUSTERS = 11_406  # 88 neighbours each in a million vectors: what deduplicated text looks like is less dense
_CLUSTER_NOISE = 0.03  # of each value, around centres of unit norm


class Vectors:
    """Codes, float vectors and queries, as many as are asked for; of equal numbers always the same.

    Args:
        codec: how codes are packed.
        seed: of all random numbers.
        data: a .npy file of float16 or float32 (n, d), d >= codec.dim; None: vectors made here.
        queries_data: a file of queries of the same kind; None: rows of `data` with noise, or made here.
        clustered: what is made here lies in tight clusters around random centres, not anywhere.

    Raises:
        ValueError: a file holds something else.
    """

    def __init__(
        self, codec: Codec, seed: int, data: Path | None, queries_data: Path | None, *, clustered: bool = False
    ) -> None:
        self.codec, self._seed, self._clustered = codec, seed, clustered
        self._data = None if data is None else _load(data, codec.dim)
        self._queries = None if queries_data is None else _load(queries_data, codec.dim)
        self._codes = np.empty((0, codec.row_bytes), np.uint8)

    @property
    def name(self) -> str:
        """What the vectors are, in a word."""
        if self._data is not None:
            return "given"
        return "clustered" if self._clustered else "random"

    def codes(self, rows: int) -> NDArray[np.uint8]:
        """Return uint8 (rows, row_bytes), the same memory for all numbers of rows where that is possible."""
        if len(self._codes) < rows:
            if self._data is not None:
                self._codes = np.resize(self.codec.pack(self._data[:rows]), (rows, self.codec.row_bytes))
            elif self._clustered:
                self._codes = np.empty((rows, self.codec.row_bytes), np.uint8)
                for start, block in self._blocks(rows):
                    self.codec.pack(block, out=self._codes[start : start + len(block)])
            else:
                self._codes = self._random(0).integers(0, 256, (rows, self.codec.row_bytes), dtype=np.uint8)
        return self._codes[:rows]

    def queries(self, count: int) -> NDArray[np.float32]:
        """Return float32 (count, dim)."""
        if self._queries is not None:
            return _cut(self._queries, np.arange(count) % len(self._queries), self.codec.dim)
        random = self._random(1)
        if self._data is None:
            return self._made(random, count)
        noise = random.standard_normal((count, self.codec.dim), dtype=np.float32)
        rows = _cut(self._data, np.sort(random.integers(0, len(self._data), count)), self.codec.dim)
        size = _NOISE * np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(np.float32(self.codec.dim))
        noisy: NDArray[np.float32] = rows + size.astype(np.float32) * noise
        return noisy

    def floats(self, rows: int) -> NDArray[np.float32]:
        """Return float32 (rows, dim) of unit norm."""
        x = np.empty((rows, self.codec.dim), np.float32)
        for start, block in self._blocks(rows):
            x[start : start + len(block)] = block
        return x

    def _blocks(self, rows: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield unit vectors in blocks, each with its first row's number: no second array of all of them."""
        random = self._random(2)
        for start in range(0, rows, _BLOCK):
            count = min(_BLOCK, rows - start)
            if self._data is None:
                block = self._made(random, count)
            else:
                block = _cut(self._data, np.arange(start, start + count) % len(self._data), self.codec.dim)
            block /= np.maximum(np.linalg.norm(block, axis=1, keepdims=True), np.float32(1e-30))
            yield start, block

    def _made(self, random: np.random.Generator, count: int) -> NDArray[np.float32]:
        noise = random.standard_normal((count, self.codec.dim), dtype=np.float32)
        if not self._clustered:
            return noise
        centres = self._random(3).standard_normal((_CLUSTERS, self.codec.dim), dtype=np.float32)
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        noise *= np.float32(_CLUSTER_NOISE)
        noise += centres[random.integers(0, _CLUSTERS, count)]
        return noise

    def _random(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, purpose])


def _load(path: Path, dim: int) -> NDArray[Any]:
    array: Any = np.load(path, mmap_mode="r")
    if not isinstance(array, np.ndarray) or array.ndim != 2 or len(array) == 0 or array.shape[1] < dim:
        shape = getattr(array, "shape", "no array")
        raise ValueError(f"{path}: expected an array of shape (n, d) with n >= 1 and d >= {dim}, got {shape}")
    if array.dtype not in (np.float16, np.float32):
        raise ValueError(f"{path}: expected float16 or float32, got {array.dtype}")
    return array


def _cut(array: NDArray[Any], rows: NDArray[np.int64], dim: int) -> NDArray[np.float32]:
    return array[rows, :dim].astype(np.float32)
