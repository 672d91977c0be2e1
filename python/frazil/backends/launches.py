"""Launch the kernels: which one, how many programs, with what arguments. Shapes have been checked by now."""

from __future__ import annotations

import struct
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from math import isqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import triton

from frazil import _native
from frazil.backends.pack_kernels import PLANE, pack_kernel, queries_kernel, unpack_kernel
from frazil.backends.search_kernels import dot_kernel, rows_kernel, stream_kernel
from frazil.backends.slices import Slice
from frazil.backends.tensors import not_finite

if TYPE_CHECKING:
    from frazil.codec import Codec

__all__ = [
    "GRID_QUERIES",
    "MOST_QUERIES",
    "TILE",
    "Queries",
    "launch",
    "launch_rows",
    "pack_rows",
    "prepare",
    "run_length",
    "unpack_rows",
]

TILE = 128
"""rows of a tile"""
GRID_QUERIES = 65_535
"""queries of a launch at most: the second axis of a grid ends there"""
_PACK_ROWS = 32  # of a program: with 8 warps, 64 registers each
_PREPARED_ROWS = 8  # queries of a program
MOST_QUERIES = 128
"""queries of a program that multiplies: with 8 warps, what it adds up just fits into registers"""
_MOST_TILES = 8  # of a run: from here on it matters little that programs begin and end
_WAVES = 4  # as many programs for each processor at least, before they get longer
_KEY_COST = 256  # what a tile's rows cost that are scored once more, in keys of runs among which the best are found
_HELD_BYTES = 1 << 15  # of queries that a program keeps in shared memory, of which 99 KB are on some GPUs
_NO_ROW = 2**63 - 1


class Queries(NamedTuple):
    """Queries as `queries_kernel` makes them; `sums` and `scales` mean nothing for 32 bits."""

    values: torch.Tensor
    sums: torch.Tensor
    scales: torch.Tensor
    plane: int


def prepare(codec: Codec, rows: torch.Tensor, query_bits: int) -> Queries:
    """Quantize queries."""
    device, count = rows.device, len(rows)
    planes = 2 if codec.bits == 4 else 1
    plane = triton.cdiv(codec.row_bytes, PLANE) * PLANE
    dtype = torch.float32 if query_bits == 32 else torch.int8
    values = torch.zeros((count, planes * plane), dtype=dtype, device=device)
    sums = torch.empty(count, dtype=torch.int32, device=device)
    scales = torch.empty(count, dtype=torch.float32, device=device)
    bad = torch.full((1,), _NO_ROW, dtype=torch.int64, device=device)
    if count:
        with _on(device):
            queries_kernel[(triton.cdiv(count, _PREPARED_ROWS),)](
                rows,
                values,
                sums,
                scales,
                bad,
                _bits(15 / (2 * codec.limit)),
                _bits(_half_step(codec)),
                _bits(codec.limit / 15),
                count,
                rows.stride(0),
                rows.stride(1),
                values.stride(0),
                plane,
                DIM=codec.dim,
                QUERY_BITS=query_bits,
                DOUBLE=rows.dtype == torch.float64,
                PLANES=planes,
                ROWS=_PREPARED_ROWS,
                enable_fp_fusion=False,
            )
        _raise_if_bad("queries", bad, 0)
    return Queries(values, sums, scales, plane)


def pack_rows(codec: Codec, x: torch.Tensor, first: int, out: torch.Tensor) -> None:
    """Pack rows, of which the first is called `first` in errors."""
    if len(x) == 0:
        return
    bad = torch.full((1,), _NO_ROW, dtype=torch.int64, device=x.device)
    with _on(x.device):
        pack_kernel[(triton.cdiv(len(x), _PACK_ROWS),)](
            x,
            out,
            bad,
            _nearest_table(x.device),
            _bits(_last_level(codec) / (2 * codec.limit)),
            len(x),
            x.stride(0),
            x.stride(1),
            DIM=codec.dim,
            BITS=codec.bits,
            DOUBLE=x.dtype == torch.float64,
            NORMAL=_is_normal(codec),
            ROWS=_PACK_ROWS,
            num_warps=8,
            enable_fp_fusion=False,
        )
    _raise_if_bad("x", bad, first)


def unpack_rows(codec: Codec, codes: torch.Tensor, out: torch.Tensor) -> None:
    """Decode rows of codes into contiguous float32 (n, dim)."""
    if len(codes) == 0:
        return
    with _on(codes.device):
        unpack_kernel[(triton.cdiv(len(codes), _PACK_ROWS),)](
            codes,
            out,
            _level_table(codes.device),
            _half_step(codec),
            len(codes),
            codes.stride(0),
            DIM=codec.dim,
            BITS=codec.bits,
            NORMAL=_is_normal(codec),
            ROWS=_PACK_ROWS,
            enable_fp_fusion=False,
        )


def run_length(tiles: int, columns: int, queries: int, device: torch.device) -> int:
    """Return how many tiles a run should have.

    The longer they are, the fewer keys there are of which to find the best, and the more rows are scored once more: as
    many as `columns` runs hold. No processor shall have to wait for work meanwhile.
    """
    processors: int = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
    programs = tiles * -(-queries // MOST_QUERIES)
    return max(1, min(_MOST_TILES, programs // (_WAVES * processors), isqrt(tiles // (_KEY_COST * columns))))


def launch(codec: Codec, queries: Queries, piece: Slice, out: torch.Tensor, kind: str, *, run: int = 1) -> None:
    """Score all runs of so many tiles of a slice with each query, by the kernel that suits; `kind` is its `KIND`."""
    count, device = len(queries.values), queries.values.device
    if queries.values.dtype == torch.float32:
        launch_rows(codec, queries, piece, out, kind, run=run)
        return
    runs = triton.cdiv(triton.cdiv(piece.count, TILE), run)
    picked = queries.sums if piece.picked is None else piece.picked
    common = {
        "PICKED": piece.picked is not None,
        "KIND": kind,
        "TILE": TILE,
        "NVIDIA": _is_nvidia(device),
        "enable_fp_fusion": False,
    }
    if count == 1 and (words := _as_words(codec, piece.codes)) is not None:
        row_words = codec.row_bytes // 4
        with _on(device):
            stream_kernel[(runs,)](
                words,
                picked,
                queries.values.view(torch.int32),
                queries.sums,
                queries.scales,
                out,
                piece.count,
                words.stride(0),
                queries.plane // 4,
                run,
                ROW_WORDS=row_words,
                BITS=codec.bits,
                CENTRE=codec.levels,
                WORDS=min(32, triton.next_power_of_2(row_words)),
                **common,
            )
        return
    most = MOST_QUERIES if kind == "runs" else MOST_QUERIES // 2  # all the scores' addresses take registers, too
    at_once = max(16, min(most, triton.next_power_of_2(count)))
    plane = queries.plane
    is_held = plane == triton.next_power_of_2(plane) and MOST_QUERIES * queries.values.stride(0) <= _HELD_BYTES
    with _on(device):
        dot_kernel[(runs * triton.cdiv(count, at_once),)](
            piece.codes,
            picked,
            queries.values,
            queries.sums,
            queries.scales,
            _level_table(device),
            out,
            piece.count,
            count,
            piece.codes.stride(0),
            queries.values.stride(0),
            plane,
            out.stride(0),
            run,
            ROW_BYTES=codec.row_bytes,
            BITS=codec.bits,
            NORMAL=_is_normal(codec),
            CENTRE=_centre(codec),
            QUERIES=at_once,
            STEP=plane if is_held else PLANE,
            HELD=is_held,
            num_warps=8 if at_once == most else 4,
            num_stages=3 if codec.row_bytes <= 128 else 2,  # of codes, beside the queries
            **common,
        )


def launch_rows(
    codec: Codec,
    queries: Queries,
    piece: Slice,
    out: torch.Tensor,
    kind: str,
    *,
    run: int = 1,
    chosen: torch.Tensor | None = None,
) -> None:
    """Score the chosen runs (q, runs) of so many tiles of a slice, or all, with one query a program."""
    count, device = len(queries.values), queries.values.device
    tiles = triton.cdiv(piece.count, TILE) if chosen is None else chosen.shape[1] * run
    with _on(device):
        rows_kernel[(triton.cdiv(tiles, run) if kind == "runs" else tiles, count)](
            piece.codes,
            queries.sums if piece.picked is None else piece.picked,
            queries.sums if chosen is None else chosen,
            queries.values,
            queries.sums,
            queries.scales,
            _level_table(device),
            out,
            _half_step(codec),
            piece.count,
            piece.codes.stride(0),
            queries.values.stride(0),
            queries.plane,
            out.stride(0),
            0 if chosen is None else chosen.shape[1],
            run,
            ROW_BYTES=codec.row_bytes,
            BITS=codec.bits,
            NORMAL=_is_normal(codec),
            FLOAT=queries.values.dtype == torch.float32,
            CENTRE=_centre(codec),
            PICKED=piece.picked is not None,
            CHOSEN=chosen is not None,
            KIND=kind,
            TILE=TILE,
            enable_fp_fusion=False,
        )


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Make a GPU the current one, on which kernels are launched."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _is_nvidia(device: torch.device) -> bool:
    """Tell whether kernels may use NVIDIA's instructions."""
    return device.type == "cuda" and torch.version.hip is None


def _as_words(codec: Codec, codes: torch.Tensor) -> torch.Tensor | None:
    """View codes as int32 words; None where their bytes must be looked at one by one."""
    if _is_normal(codec) or any(
        n % 4 for n in (codec.row_bytes, codes.stride(0), codes.storage_offset(), codes.data_ptr())
    ):
        return None
    return codes.view(torch.int32)


def _raise_if_bad(name: str, bad: torch.Tensor, first: int) -> None:
    """Raise the error about the row that a kernel has reported, if it has: this waits for the kernel."""
    row = int(bad)
    if row != _NO_ROW:
        raise not_finite(name, first + row)


def _bits(value: float) -> int:
    """Return the bits of a double: Triton would make a float32 of a float."""
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def _is_normal(codec: Codec) -> bool:
    return codec.spacing == "normal"


def _last_level(codec: Codec) -> int:
    """Return the largest of the codes that all arithmetic is that of: 8-bit ones for normal spacing."""
    return 255 if _is_normal(codec) else codec.levels


def _half_step(codec: Codec) -> float:
    return codec.limit / _last_level(codec)


def _centre(codec: Codec) -> int:
    """Return what a score is less, 2 * dot - centre * sum, if codes of 8 bits are less 128: 2 * 128 - 255 = 1 more."""
    return 15 if _last_level(codec) == 15 else -1


@lru_cache
def _levels() -> tuple[int, ...]:
    """Return the 8-bit codes that those of normal spacing stand for, as the extension decodes them."""
    codes = np.array([16 * (i % 16) + i % 16 for i in range(16)], np.uint8)
    decoded = _native.unpack(codes, 32, 4, 127.5, True, None, 1)  # of this limit one step is 1
    return tuple(int(value + 127.5) for value in decoded[::2])


@lru_cache
def _level_table(device: torch.device) -> torch.Tensor:
    """Return the levels of normal spacing less 128, int8 (16,)."""
    return torch.tensor([level - 128 for level in _levels()], dtype=torch.int8, device=device)


@lru_cache
def _nearest_table(device: torch.device) -> torch.Tensor:
    """Return the code of normal spacing nearest to each 8-bit code, of two the lower, uint8 (256,)."""
    far = np.abs(np.arange(256)[:, None] - np.array(_levels()))
    return torch.tensor(np.argmin(far, axis=1), dtype=torch.uint8, device=device)
