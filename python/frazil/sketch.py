"""`Sketch`: a small copy of the codes that tells a search which rows it need not read."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frazil import _native
from frazil._arrays import as_bytes, as_codes, as_number, as_size, as_threads

if TYPE_CHECKING:
    from frazil.codec import Codec

__all__ = ["Sketch", "width_of"]


class Sketch:
    """A sketch of codes: one bit for each dimension of a row, turned at random, and four bytes of error bound.

    36 bytes a row for 256 dimensions. `Codec.search(..., sketch=...)` scans it first; from a row's bits it has an
    estimate of the row's score and of that estimate's error, and reads the row's codes only if its score can be among
    the best. The method is RaBitQ's (Gao and Long, 2024, arXiv:2405.12497) on decoded vectors, less their mean, turned
    by fixed random signs and Hadamard transforms; docs/format.md §7 fixes every operation and byte.

    >>> sketch = frazil.Sketch.build(codec, codes)
    >>> hits = codec.search(queries, codes, k=10, sketch=sketch)
    >>> sketch.data.tofile("codes.sketch")                              # and later
    >>> sketch = frazil.Sketch(np.memmap("codes.sketch", mode="r"))

    A sketch belongs to the codes that it was built of: build it again when they change. Building is deterministic, so
    that `Sketch.build(codec, codes).data` tells whether it still fits.

    Args:
        data: uint8 (m,), the bytes of a sketch, as `data` gave them; a memory map will do. They are not copied.

    Raises:
        ValueError: `data` are not the bytes of a sketch, or of a newer format, or cut short.
        TypeError: wrong dtype.
    """

    __slots__ = ("bits", "data", "dim", "rows")

    data: NDArray[np.uint8]
    """uint8 (m,): all of it, to be saved or sent"""
    rows: int
    """how many rows of codes it is of"""
    dim: int
    """their dimensions"""
    bits: int
    """their bits a dimension"""

    def __init__(self, data: Any) -> None:
        self.data = as_bytes(data, "data")
        self.rows, self.dim, self.bits = _native.read_sketch(self.data)

    @classmethod
    def build(
        cls, codec: Codec, codes: Any, *, out: NDArray[np.uint8] | None = None, threads: int | None = None
    ) -> Sketch:
        """Make the sketch of codes.

        Args:
            codec: the codec of the codes.
            codes: uint8 (n, row_bytes); a memory map will do.
            out: uint8 (Sketch.size(codec, n),), C-contiguous, aligned and writeable, not overlapping `codes`, to write
                into: a memory map for more than memory holds.
            threads: as in `Codec.pack`.

        Returns:
            The sketch; the same bytes on every CPU and for every number of threads.

        Raises:
            ValueError: wrong shape.
            TypeError: wrong dtype.
        """
        array = as_codes(codes)
        return cls(_native.build_sketch(array, *codec._format, out, as_threads(threads)))

    @staticmethod
    def size(codec: Codec, rows: int) -> int:
        """Return how many bytes the sketch of `rows` rows of codes has."""
        return _native.sketch_size(codec.dim, codec.bits, as_size(rows, "rows"))

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        return f"Sketch(rows={self.rows}, dim={self.dim}, bits={self.bits}, {self.data.nbytes} bytes)"


def width_of(failure: Any) -> float:
    """Return how many standard deviations above its estimate a row's score lies with a probability of `failure`."""
    value = as_number(failure, "failure")
    if not 1e-12 <= value <= 0.1:
        raise ValueError(f"failure: expected a probability from 1e-12 to 0.1, got {failure!r}")
    return NormalDist().inv_cdf(1 - value)
