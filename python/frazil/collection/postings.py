"""Posting lists: for each value of an indexed field and each block of rows, which of the block's rows have it.

A list is the rows' places in their block, uint16, little-endian, ascending; or, from 1/16 of the block on, where that
would be longer, a bit for each row of the block. Both are Roaring's containers (Lemire et al., 2016), for blocks of
2^16 rows. Rows that have died stay in their lists, so that nothing but the end of a list ever changes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil.collection.rowsets import FEW, Rows, as_mask, smallest

__all__ = ["BLOCK", "encode", "extend", "places", "select"]

BLOCK = 1 << 16
_BITMAP = BLOCK // 8  # bytes; no list of places is as long


def encode(of: Sequence[int]) -> bytes:
    """Return a list of the places, ascending, of rows in their block."""
    if len(of) * 2 < _BITMAP:
        return struct.pack(f"<{len(of)}H", *of)  # most are short, and NumPy takes longer to begin
    is_in = np.zeros(BLOCK, np.bool_)
    is_in[of] = True
    return np.packbits(is_in, bitorder="little").tobytes()


def places(data: Any) -> NDArray[np.int64]:
    """Return the places in a list, int64 (n,), ascending.

    Raises:
        ValueError: it is none.
    """
    found = select([(0, data)], BLOCK)
    return np.flatnonzero(found) if found.dtype == np.bool_ else found


def extend(data: Any, further: Sequence[int]) -> bytes:
    """Return a list with further places, which are above all of its own; raises as `places`."""
    return encode([*places(data).tolist(), *further])


def select(lists: Sequence[tuple[Any, Any]], rows: int) -> Rows:
    """Return the set of the rows in any of the lists.

    Args:
        lists: pairs (block, list), no two of which have a row in common.
        rows: how many there are.

    Raises:
        ValueError: something is not a list, or of rows that are not there.
    """
    blocks = -(-rows // BLOCK)
    for block, data in lists:
        if not isinstance(block, int) or not 0 <= block < blocks or not isinstance(data, bytes):
            raise ValueError(f"a list of block {block!r}, where {blocks:,} blocks are")
        if len(data) > _BITMAP or len(data) % 2:
            raise ValueError(f"a list of {len(data):,} bytes")
    short = [(block, data) for block, data in lists if len(data) < _BITMAP]
    lengths = [len(data) // 2 for _, data in short]
    inside = np.frombuffer(b"".join([data for _, data in short]), "<u2")
    found: Rows = np.repeat(np.array([block * BLOCK for block, _ in short], np.int64), lengths) + inside
    if len(short) < len(lists) or len(found) * FEW >= rows:
        found = as_mask(found, blocks * BLOCK)
        for block, data in lists:
            if len(data) == _BITMAP:
                bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
                found[block * BLOCK : (block + 1) * BLOCK] |= bits.view(np.bool_)
        outside = np.flatnonzero(found[rows:])
        found = found[:rows]
    else:
        found.sort(kind="stable")  # of runs that ascend
        outside = found[np.searchsorted(found, rows) :] - rows
    if outside.size:
        raise ValueError(f"row {rows + int(outside[0]):,}, of {rows:,}")
    return smallest(found, rows)
