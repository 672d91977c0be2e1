"""Pack, unpack, score and search on a GPU, by Triton kernels. `Codec` calls this with tensors that are on one.

Searches are exact, and hold no scores of all rows. The rows are taken in runs of 1 to 8 tiles of 128: a first kernel
writes the key of each run's best row; the rows of the k runs with the best of these are then scored once more, and the
k best of them are the answer. For if a row's run is not among those, each of the k runs that are has a row before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import triton

from frazil.backends.launches import (
    GRID_QUERIES,
    MOST_QUERIES,
    TILE,
    Queries,
    launch,
    launch_rows,
    pack_rows,
    prepare,
    run_length,
    unpack_rows,
)
from frazil.backends.slices import Slice, slices
from frazil.backends.tensors import (
    as_allowed_rows,
    as_code_rows,
    as_float_rows,
    is_on_gpu,
    must_be_beside,
    not_finite,
    output,
)
from frazil.projection import ORDINARY

if TYPE_CHECKING:
    from frazil.codec import Codec

__all__ = ["pack", "score", "search", "unpack"]

KEY_BYTES = 1 << 28
"""of keys that are held at a time, unless those of a single query are more"""
_PROJECTED_ROWS = 16_384  # at a time


def pack(codec: Codec, x: torch.Tensor, out: torch.Tensor | None) -> torch.Tensor:
    """Pack float vectors into codes, as `Codec.pack`, without refining.

    Args:
        codec: any.
        x: floats (n, d) or (d,) on a GPU.
        out: uint8 (n, row_bytes) or (row_bytes,) on the same GPU, to write into and return; None: a new tensor.

    Raises:
        ValueError: wrong shape, or NaN or infinity.
        TypeError: wrong dtype or device.
    """
    rows, single = as_float_rows(x, "x", codec.input_dim)
    shape = (codec.row_bytes,) if single else (len(rows), codec.row_bytes)
    codes = output(out, shape, torch.uint8, x.device, x)
    into = codes[None] if single else codes
    for first, block in _projected(codec, rows, "x"):
        pack_rows(codec, block, first, into[first : first + len(block)])
    return codes


def unpack(codec: Codec, codes: torch.Tensor, out: torch.Tensor | None) -> torch.Tensor:
    """Decode codes, as `Codec.unpack`.

    Args:
        codec: any.
        codes: uint8 (n, row_bytes) or (row_bytes,) on a GPU.
        out: float32 (n, dim) or (dim,) on the same GPU, to write into and return; None: a new tensor.

    Raises:
        ValueError: wrong shape.
        TypeError: wrong dtype or device.
    """
    given = as_code_rows(codec, codes, may_be_single=True)
    shape = (codec.dim,) if given.ndim == 1 else (len(given), codec.dim)
    values = output(out, shape, torch.float32, codes.device, given)
    rows = given[None] if given.ndim == 1 else given
    unpack_rows(codec, rows, values)
    return values


def score(codec: Codec, queries: torch.Tensor, codes: Any, query_bits: int, out: torch.Tensor | None) -> torch.Tensor:
    """Score every query against every row, as `Codec.score`.

    Args:
        codec: any.
        queries: floats (q, d) or (d,) on a GPU.
        codes: uint8 (n, row_bytes), on the same GPU or, then copied to it in slices, on the host.
        query_bits: 4, 8 or 32.
        out: float32 (q, n) or (n,) on the same GPU, to write into and return; None: a new tensor.

    Raises:
        ValueError: wrong shape or query_bits, or NaN or infinity among the queries.
        TypeError: wrong dtype or device.
    """
    rows, single, codes = _checked(codec, queries, codes, query_bits)
    shape = (len(codes),) if single else (len(rows), len(codes))
    scores = output(out, shape, torch.float32, queries.device, queries, codes)
    into = scores[None] if single else scores
    prepared = _prepared(codec, rows, query_bits)
    for piece in slices(codes, None, queries.device):
        for some, first in _batches(prepared, GRID_QUERIES):
            part = into[first : first + len(some.values), piece.first : piece.first + piece.count]
            launch(codec, some, piece, part, "scores")
    return scores


def search(
    codec: Codec, queries: torch.Tensor, codes: Any, k: int, *, query_bits: int, allow: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the k rows of the highest score for each query, as `Codec.search` without a sketch.

    Args:
        codec: any.
        queries: floats (q, d) or (d,) on a GPU.
        codes: uint8 (n, row_bytes), on the same GPU or, then copied to it in slices while others are searched, on the
            host: a tensor in pinned memory as fast as the bus is, others as fast as one thread copies.
        k: how many rows, at least 1.
        query_bits: 4, 8 or 32.
        allow: the rows that may be answered, a mask or row numbers, on the GPU or the host.

    Returns:
        Scores, float32, and rows, int64, of the same GPU.

    Raises:
        ValueError: wrong shape, k or query_bits, a row number out of range, or NaN or infinity among the queries.
        TypeError: wrong dtype or device.
    """
    rows, single, codes = _checked(codec, queries, codes, query_bits)
    device = queries.device
    allowed = as_allowed_rows(allow, len(codes), device)
    columns = min(k, len(codes) if allowed is None else len(allowed))
    prepared = _prepared(codec, rows, query_bits)
    shape = (len(rows), columns)
    best = torch.empty(shape, dtype=torch.float32, device=device), torch.empty(shape, dtype=torch.int64, device=device)
    if len(rows) and columns:
        for piece in slices(codes, allowed, device):
            found, places = _search_slice(codec, prepared, piece, min(columns, piece.count))
            places += piece.first
            best = (found, places) if piece.first == 0 else _merge(*best, found, places, columns)
    scores, places = best
    found_rows = places if allowed is None else allowed[places]
    return (scores[0], found_rows[0]) if single else (scores, found_rows)


def _merge(
    scores: torch.Tensor, places: torch.Tensor, more_scores: torch.Tensor, more_places: torch.Tensor, columns: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best of two answers, the second of which is about later rows."""
    together = torch.cat([scores, more_scores], 1)
    together, order = torch.sort(together, dim=1, descending=True, stable=True)  # of equal scores the earlier row first
    return together[:, :columns], torch.gather(torch.cat([places, more_places], 1), 1, order[:, :columns])


def _checked(codec: Codec, queries: torch.Tensor, codes: Any, query_bits: int) -> tuple[torch.Tensor, bool, Any]:
    """Return queries as rows, whether there is a single one, and codes."""
    if query_bits not in (4, 8, 32):
        raise ValueError(f"query_bits: expected 4, 8 or 32, got {query_bits}")
    if not is_on_gpu(queries):
        must_be_beside("queries", queries, "codes", codes)
    rows, single = as_float_rows(queries, "queries", codec.input_dim)
    codes = as_code_rows(codec, codes, may_be_single=False)
    if is_on_gpu(codes):
        must_be_beside("codes", codes, "queries", queries)
    return rows, single, codes


def _prepared(codec: Codec, rows: torch.Tensor, query_bits: int) -> Queries:
    blocks = [block for _, block in _projected(codec, rows, "queries")]
    return prepare(codec, torch.cat(blocks) if blocks else rows.new_empty((0, codec.dim)), query_bits)


def _batches(queries: Queries, most: int) -> Iterator[tuple[Queries, int]]:
    """Yield so many queries at a time, with the number of the first."""
    for first in range(0, len(queries.values), most):
        part = slice(first, first + most)
        yield Queries(queries.values[part], queries.sums[part], queries.scales[part], queries.plane), first


def _search_slice(codec: Codec, queries: Queries, piece: Slice, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best scores of a slice, and which of its rows they are of."""
    tiles = triton.cdiv(piece.count, TILE)
    run = run_length(tiles, columns, len(queries.values), queries.values.device)
    runs = triton.cdiv(tiles, run)
    is_chosen = columns < runs
    looked_at = columns * run if is_chosen else tiles
    most = max(1, min(GRID_QUERIES, KEY_BYTES // (8 * max(runs, looked_at * TILE))))
    if most > MOST_QUERIES:  # whole programs
        most -= most % MOST_QUERIES
    device = queries.values.device
    best = []
    for some, _ in _batches(queries, most):
        count = len(some.values)
        chosen = None
        if is_chosen:
            keys = torch.empty((count, runs), dtype=torch.int64, device=device)
            launch(codec, some, piece, keys, "runs", run=run)
            chosen = torch.topk(keys, columns, dim=1, sorted=False).indices
        keys = torch.empty((count, looked_at * TILE), dtype=torch.int64, device=device)
        launch_rows(codec, some, piece, keys, "rows", run=run, chosen=chosen)
        best.append(torch.topk(keys, columns, dim=1).values)
    keys = torch.cat(best)
    ordered = (keys >> 32).to(torch.int32)
    scores = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32)
    return scores, 0xFFFFFFFF - (keys & 0xFFFFFFFF)


def _projected(codec: Codec, rows: torch.Tensor, name: str) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield rows as they are or, some thousand at a time, projected, with the number of the first.

    The products are doubles: torch may be set to take those of float32 with 10 bits of each.
    """
    if codec.projection is None:
        yield 0, rows
        return
    matrix = torch.tensor(codec.projection.matrix, dtype=torch.float64, device=rows.device)
    for first in range(0, len(rows), _PROJECTED_ROWS):
        block = rows[first : first + _PROJECTED_ROWS, : codec.input_dim].double()
        largest = block.abs().amax(1)
        bad = (~torch.isfinite(largest)).nonzero()
        if len(bad):
            raise not_finite(name, first + int(bad[0]))
        is_ordinary = (largest <= 2.0**ORDINARY) & (largest >= 2.0**-ORDINARY) | (largest == 0)
        yield first, (block / torch.where(is_ordinary, 1.0, largest)[:, None] @ matrix).float()
