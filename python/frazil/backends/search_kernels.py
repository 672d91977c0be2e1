"""Triton kernels that score rows of codes: docs/format.md §5. What they write is either scores or keys.

A key is an int64 that orders as docs/format.md §6 does: the score's bits, made to order as integers do, above the
complement of a 32-bit number, of a row or of a tile. Tiles are `TILE` rows side by side, counted among the rows that
are searched: all of them, or those whose numbers are at `picked`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from frazil.backends.pack_kernels import tree

__all__ = ["NO_KEY", "dot_kernel", "rows_kernel", "stream_kernel"]

NO_KEY = -(1 << 63)  # of a row that there is not: below every score's
_NO_KEY: tl.constexpr = tl.constexpr(NO_KEY)
_LOW_BITS: tl.constexpr = tl.constexpr((1 << 32) - 1)
_MINUS_INFINITY: tl.constexpr = tl.constexpr(float("-inf"))
_LEAST: tl.constexpr = tl.constexpr(-(1 << 31))


@triton.jit
def _key(scores, numbers):
    """Return keys, int64, of float32 scores that are not NaN or -0, and int64 numbers below 2**32."""
    bits = scores.to(tl.int32, bitcast=True)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(tl.int64) << 32) | (_LOW_BITS - numbers)


@triton.jit
def _rows(tile, picked, n, PICKED: tl.constexpr, TILE: tl.constexpr):
    """Return the places of a tile's rows among those searched, their row numbers, and which there are."""
    places = tile.to(tl.int64) * TILE + tl.arange(0, TILE)
    inside = places < n
    rows = tl.load(picked + places, mask=inside, other=0) if PICKED else places
    return places, rows, inside


@triton.jit
def _float_scores(
    at,
    inside,
    query,
    plane_stride,
    levels,
    half_step,
    ROW_BYTES: tl.constexpr,
    BITS: tl.constexpr,
    NORMAL: tl.constexpr,
    TILE: tl.constexpr,
):
    """Score rows with a query of floats, in the order that docs/format.md fixes."""
    if BITS == 4 and not NORMAL:
        even = tl.zeros((TILE, 16), tl.float32)
        odd = tl.zeros((TILE, 16), tl.float32)
        for start in range(0, ROW_BYTES, 16):
            bytes_ = start + tl.arange(0, 16)
            mask = inside[:, None] & (bytes_ < ROW_BYTES)[None, :]
            b = tl.load(at[:, None] + bytes_[None, :], mask=mask, other=0)
            even += tl.load(query + bytes_)[None, :] * (2 * (b >> 4).to(tl.int32) - 15).to(tl.float32)
            odd += tl.load(query + plane_stride + bytes_)[None, :] * (2 * (b & 15).to(tl.int32) - 15).to(tl.float32)
        total = tree(even + odd, TILE, 4)
    else:
        p = tl.zeros((TILE, 32), tl.float32)
        step: tl.constexpr = 16 if NORMAL else 32  # bytes of 32 dimensions
        for start in range(0, ROW_BYTES, step):
            bytes_ = start + tl.arange(0, step)
            mask = inside[:, None] & (bytes_ < ROW_BYTES)[None, :]
            b = tl.load(at[:, None] + bytes_[None, :], mask=mask, other=0)
            if NORMAL:
                pair = tl.join(tl.load(levels + (b >> 4)), tl.load(levels + (b & 15)))
                codes = tl.reshape(pair, (TILE, 32)).to(tl.int32)
                q = tl.join(tl.load(query + bytes_), tl.load(query + plane_stride + bytes_))
                q = tl.reshape(q, (32,))
            else:
                codes = b.to(tl.int32) - 128
                q = tl.load(query + bytes_)
            p += q[None, :] * (2 * codes + 1).to(tl.float32)
        total = tree(p, TILE, 5)
    return total * half_step + 0.0  # a zero is +0


@triton.jit
def _integer_dots(
    at,
    inside,
    query,
    plane_stride,
    levels,
    ROW_BYTES: tl.constexpr,
    BITS: tl.constexpr,
    NORMAL: tl.constexpr,
    TILE: tl.constexpr,
):
    """Return sums of products of a query's integers and codes, those of 8 bits less 128, int32 (TILE,)."""
    total = tl.zeros((TILE,), tl.int32)
    for start in range(0, ROW_BYTES, 64):
        bytes_ = start + tl.arange(0, 64)
        mask = inside[:, None] & (bytes_ < ROW_BYTES)[None, :]
        b = tl.load(at[:, None] + bytes_[None, :], mask=mask, other=0)
        q = tl.load(query + bytes_).to(tl.int32)
        if BITS == 4:
            odd = tl.load(query + plane_stride + bytes_).to(tl.int32)
            if NORMAL:
                high, low = tl.load(levels + (b >> 4)).to(tl.int32), tl.load(levels + (b & 15)).to(tl.int32)
            else:
                high, low = (b >> 4).to(tl.int32), (b & 15).to(tl.int32)
            total += tl.sum(high * q[None, :] + low * odd[None, :], 1)
        else:
            total += tl.sum((b.to(tl.int32) - 128) * q[None, :], 1)
    return total


@triton.jit
def rows_kernel(
    codes,
    picked,
    tiles,
    queries,
    sums,
    scales,
    levels,
    out,
    half_step,
    n,
    code_stride,
    query_stride,
    plane_stride,
    out_stride,
    tile_count,
    ROW_BYTES: tl.constexpr,
    BITS: tl.constexpr,
    NORMAL: tl.constexpr,
    FLOAT: tl.constexpr,
    CENTRE: tl.constexpr,
    PICKED: tl.constexpr,
    TILES: tl.constexpr,
    KIND: tl.constexpr,
    TILE: tl.constexpr,
):
    """Score a tile with one query, a program each: (tiles, queries).

    Args:
        codes: uint8 (rows, ROW_BYTES).
        picked: int64 (n,), the row numbers searched, ascending, where PICKED.
        tiles: int64 (q, tile_count), the tiles to look at for each query, where TILES; else all of them.
        queries: int8, or float32 where FLOAT, (q, query_stride), as `queries_kernel` makes them.
        sums: int32 (q,), unless FLOAT.
        scales: float32 (q,), unless FLOAT.
        levels: int8 (16,), where NORMAL.
        out: by KIND: "scores", float32 (q, n); "tiles", int64 (q, tiles), the key of each tile's best row; "rows",
            int64 (q, tile_count * TILE), each row's key.
        half_step: float32, where FLOAT.
        n: rows searched.
        code_stride: in bytes.
        query_stride: in entries.
        plane_stride: in entries.
        out_stride: in entries.
        tile_count: how many tiles are looked at for each query.
        ROW_BYTES: of a row of codes.
        BITS: of a code.
        NORMAL: the codec has normal spacing.
        FLOAT: of floats.
        CENTRE: an integer score is 2 * dot - CENTRE * sum.
        PICKED: not all rows are searched.
        TILES: not all tiles are looked at.
        KIND: what is written.
        TILE: rows of a tile.
    """
    query = tl.program_id(1).to(tl.int64)
    number = tl.program_id(0).to(tl.int64)
    tile = tl.load(tiles + query * tile_count + number) if TILES else number
    places, rows, inside = _rows(tile, picked, n, PICKED, TILE)
    at = codes + rows * code_stride
    of = queries + query * query_stride
    if FLOAT:
        scores = _float_scores(at, inside, of, plane_stride, levels, half_step, ROW_BYTES, BITS, NORMAL, TILE)
    else:
        dots = _integer_dots(at, inside, of, plane_stride, levels, ROW_BYTES, BITS, NORMAL, TILE)
        scores = (2 * dots - CENTRE * tl.load(sums + query)).to(tl.float32) * tl.load(scales + query)
    if KIND == "scores":
        tl.store(out + query * out_stride + places, scores, mask=inside)
    elif KIND == "tiles":
        best = tl.max(tl.where(inside, scores, _MINUS_INFINITY), 0)
        tl.store(out + query * out_stride + number, _key(best, number))
    else:
        keys = tl.where(inside, _key(scores, places), _NO_KEY)
        tl.store(out + query * out_stride + number * TILE + tl.arange(0, TILE), keys)


@triton.jit
def dot_kernel(
    codes,
    picked,
    queries,
    sums,
    scales,
    levels,
    out,
    n,
    query_count,
    code_stride,
    query_stride,
    plane_stride,
    out_stride,
    tiles_at_once,
    ROW_BYTES: tl.constexpr,
    BITS: tl.constexpr,
    NORMAL: tl.constexpr,
    CENTRE: tl.constexpr,
    PICKED: tl.constexpr,
    KIND: tl.constexpr,
    TILE: tl.constexpr,
    QUERIES: tl.constexpr,
):
    """Score `tiles_at_once` tiles with QUERIES queries a program, on the tensor cores. Arguments as for `rows_kernel`.

    Neighbouring programs have the same tiles and other queries, so that the level-2 cache holds the codes for them.
    Rows are the left factor, unpacked in registers; queries, the right one, come from shared memory.
    """
    query_blocks = (query_count + QUERIES - 1) // QUERIES
    program = tl.program_id(0).to(tl.int64)
    block = program % query_blocks
    numbers = block * QUERIES + tl.arange(0, QUERIES)
    is_query = numbers < query_count
    of = queries + numbers * query_stride
    scale = tl.load(scales + numbers, mask=is_query, other=0.0)
    centre = CENTRE * tl.load(sums + numbers, mask=is_query, other=0)
    tiles = (n + TILE - 1) // TILE
    first = program // query_blocks * tiles_at_once
    for i in range(0, tl.minimum(tiles_at_once, tiles - first)):
        tile = first + i
        places, rows, inside = _rows(tile, picked, n, PICKED, TILE)
        at = codes + rows * code_stride
        dots = tl.zeros((TILE, QUERIES), tl.int32)
        for start in range(0, ROW_BYTES, 64):
            bytes_ = start + tl.arange(0, 64)
            mask = inside[:, None] & (bytes_ < ROW_BYTES)[None, :]
            b = tl.load(at[:, None] + bytes_[None, :], mask=mask, other=0)
            q = tl.load(of[None, :] + bytes_[:, None], mask=is_query[None, :], other=0)
            if BITS == 4:
                odd = tl.load(of[None, :] + plane_stride + bytes_[:, None], mask=is_query[None, :], other=0)
                if NORMAL:
                    high, low = tl.load(levels + (b >> 4)), tl.load(levels + (b & 15))
                else:
                    high, low = (b >> 4).to(tl.int8), (b & 15).to(tl.int8)
                dots = tl.dot(high, q, dots, out_dtype=tl.int32)
                dots = tl.dot(low, odd, dots, out_dtype=tl.int32)
            else:
                dots = tl.dot((b ^ 128).to(tl.int8, bitcast=True), q, dots, out_dtype=tl.int32)
        whole = 2 * dots - centre[None, :]
        if KIND == "scores":
            scores = whole.to(tl.float32) * scale[None, :]
            to = out + numbers[None, :] * out_stride + places[:, None]
            tl.store(to, scores, mask=inside[:, None] & is_query[None, :])
        else:
            best = tl.max(tl.where(inside[:, None], whole, _LEAST), 0)
            tl.store(out + numbers * out_stride + tile, _key(best.to(tl.float32) * scale, tile), mask=is_query)


@triton.jit
def _dot4(codes, query, total, FAST: tl.constexpr):
    """Add to total the products of 4 unsigned bytes and 4 signed ones, each 4 in an int32."""
    if FAST:  # NVIDIA's instruction, which the interpreter and other GPUs do not have
        total = tl.inline_asm_elementwise(
            "dp4a.u32.s32 $0, $1, $2, $3;", "=r,r,r,r", [codes, query, total], dtype=tl.int32, is_pure=True, pack=1
        )
    else:
        for shift in tl.static_range(0, 32, 8):
            total += ((codes >> shift) & 255) * ((query << (24 - shift)) >> 24)
    return total


@triton.jit
def stream_kernel(
    codes,
    picked,
    queries,
    sums,
    scales,
    out,
    n,
    code_stride,
    query_stride,
    plane_stride,
    out_stride,
    tiles_at_once,
    ROW_WORDS: tl.constexpr,
    BITS: tl.constexpr,
    CENTRE: tl.constexpr,
    PICKED: tl.constexpr,
    KIND: tl.constexpr,
    TILE: tl.constexpr,
    WORDS: tl.constexpr,
    QUERIES: tl.constexpr,
    FAST: tl.constexpr,
):
    """Score `tiles_at_once` tiles with a few queries, which is as fast as the codes can be read. Uniform spacing.

    Arguments as for `rows_kernel`, but codes and queries, and their strides, are int32 words of 4 bytes; WORDS of a
    row, a power of two, are read at a time; QUERIES is how many queries there are.
    """
    first = tl.program_id(0).to(tl.int64) * tiles_at_once
    tiles = (n + TILE - 1) // TILE
    for i in range(0, tl.minimum(tiles_at_once, tiles - first)):
        tile = first + i
        places, rows, inside = _rows(tile, picked, n, PICKED, TILE)
        at = codes + rows * code_stride
        for number in tl.static_range(QUERIES):
            of = queries + number * query_stride
            dots = tl.zeros((TILE, WORDS), tl.int32)
            for start in tl.range(0, ROW_WORDS, WORDS, loop_unroll_factor=4):
                words = start + tl.arange(0, WORDS)
                mask = inside[:, None] & (words < ROW_WORDS)[None, :]
                w = tl.load(at[:, None] + words[None, :], mask=mask, other=0)
                q = tl.load(of + words, mask=words < ROW_WORDS, other=0)[None, :]
                if BITS == 4:
                    odd = tl.load(of + plane_stride + words, mask=words < ROW_WORDS, other=0)[None, :]
                    dots = _dot4((w >> 4) & 0x0F0F0F0F, q, dots, FAST)
                    dots = _dot4(w & 0x0F0F0F0F, odd, dots, FAST)
                else:
                    dots = _dot4(w, q, dots, FAST)
            whole = 2 * tl.sum(dots, 1) - CENTRE * tl.load(sums + number)
            scale = tl.load(scales + number)
            if KIND == "scores":
                tl.store(out + number * out_stride + places, whole.to(tl.float32) * scale, mask=inside)
            else:
                best = tl.max(tl.where(inside, whole, _LEAST), 0)
                tl.store(out + number * out_stride + tile, _key(best.to(tl.float32) * scale, tile))
