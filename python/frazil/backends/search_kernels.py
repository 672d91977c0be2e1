"""Triton kernels that score rows of codes: docs/format.md §5. What they write is either scores or keys.

A key is an int64 that orders as docs/format.md §6 does: the score's bits, made to order as integers do, above the
complement of a 32-bit number, of a row or of a run. Tiles are `TILE` rows side by side, counted among the rows that
are searched: all of them, or those whose numbers are at `picked`; a run is `run` tiles side by side. In tiles that are
not full the last row comes again and again, so that nothing that is read needs a mask.
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
    """Return keys, int64, of float32 scores that are not NaN or -0, and numbers below 2**32."""
    bits = scores.to(tl.int32, bitcast=True)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(tl.int64) << 32) | (_LOW_BITS - numbers.to(tl.int64))


@triton.jit
def _rows(tile, picked, n, PICKED: tl.constexpr, TILE: tl.constexpr):
    """Return the places of a tile's rows among those searched, int32, and their row numbers, int64."""
    places = tile * TILE + tl.arange(0, TILE)
    there = tl.minimum(places, n - 1)
    rows = tl.load(picked + there) if PICKED else there.to(tl.int64)
    return places, rows


@triton.jit
def _loaded(at, places, LENGTH: tl.constexpr, STEP: tl.constexpr):
    """Load STEP bytes, or words, of each row, which has LENGTH; beyond its end, zeros."""
    if LENGTH % STEP == 0:
        b = tl.load(at[:, None] + places[None, :])
    else:
        b = tl.load(at[:, None] + places[None, :], mask=(places < LENGTH)[None, :], other=0)
    return b


@triton.jit
def _float_scores(
    at,
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
            b = _loaded(at, bytes_, ROW_BYTES, 16)
            even += tl.load(query + bytes_)[None, :] * (2 * (b >> 4).to(tl.int32) - 15).to(tl.float32)
            odd += tl.load(query + plane_stride + bytes_)[None, :] * (2 * (b & 15).to(tl.int32) - 15).to(tl.float32)
        total = tree(even + odd, TILE, 4)
    else:
        p = tl.zeros((TILE, 32), tl.float32)
        step: tl.constexpr = 16 if NORMAL else 32  # bytes of 32 dimensions
        for start in range(0, ROW_BYTES, step):
            bytes_ = start + tl.arange(0, step)
            b = _loaded(at, bytes_, ROW_BYTES, step)
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
    for start in range(0, ROW_BYTES, 32):
        bytes_ = start + tl.arange(0, 32)
        b = _loaded(at, bytes_, ROW_BYTES, 32)
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


@triton.jit(do_not_specialize=["n", "run_count", "run"])
def rows_kernel(
    codes,
    picked,
    runs,
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
    run_count,
    run,
    ROW_BYTES: tl.constexpr,
    BITS: tl.constexpr,
    NORMAL: tl.constexpr,
    FLOAT: tl.constexpr,
    CENTRE: tl.constexpr,
    PICKED: tl.constexpr,
    CHOSEN: tl.constexpr,
    KIND: tl.constexpr,
    TILE: tl.constexpr,
):
    """Score tiles with one query; programs of a run, (runs, queries), for "runs", else of a tile, (tiles, queries).

    Args:
        codes: uint8 (rows, ROW_BYTES).
        picked: int64 (n,), the row numbers searched, ascending, where PICKED.
        runs: int64 (q, run_count), the runs to look at for each query, where CHOSEN; else all of them.
        queries: int8, or float32 where FLOAT, (q, query_stride), as `queries_kernel` makes them.
        sums: int32 (q,), unless FLOAT.
        scales: float32 (q,), unless FLOAT.
        levels: int8 (16,), where NORMAL.
        out: by KIND: "scores", float32 (q, n); "runs", int64 (q, runs), the key of each run's best row; "rows",
            int64 (q, tiles * TILE), each row's key.
        half_step: float32, where FLOAT.
        n: rows searched, at least 1.
        code_stride: in bytes.
        query_stride: in entries.
        plane_stride: in entries.
        out_stride: in entries.
        run_count: how many runs are looked at for each query, where CHOSEN.
        run: tiles of a run.
        ROW_BYTES: of a row of codes.
        BITS: of a code.
        NORMAL: the codec has normal spacing.
        FLOAT: of floats.
        CENTRE: an integer score is 2 * dot - CENTRE * sum.
        PICKED: not all rows are searched.
        CHOSEN: not all runs are looked at.
        KIND: what is written.
        TILE: rows of a tile.
    """
    query = tl.program_id(1).to(tl.int64)
    number = tl.program_id(0)
    if KIND == "runs":
        first = number * run
        last = tl.minimum(first + run, (n + TILE - 1) // TILE)
    else:
        first = number
        if CHOSEN:
            first = (tl.load(runs + query * run_count + number // run) * run).to(tl.int32) + number % run
        last = first + 1
    of = queries + query * query_stride
    best = tl.full((TILE,), _MINUS_INFINITY, tl.float32)
    for tile in range(first, last):
        places, rows = _rows(tile, picked, n, PICKED, TILE)
        at = codes + rows * code_stride
        if FLOAT:
            scores = _float_scores(at, of, plane_stride, levels, half_step, ROW_BYTES, BITS, NORMAL, TILE)
        else:
            dots = _integer_dots(at, of, plane_stride, levels, ROW_BYTES, BITS, NORMAL, TILE)
            scores = (2 * dots - CENTRE * tl.load(sums + query)).to(tl.float32) * tl.load(scales + query)
        if KIND == "scores":
            tl.store(out + query * out_stride + places, scores, mask=places < n)
        elif KIND == "runs":
            best = tl.maximum(best, scores)
        else:
            keys = tl.where(places < n, _key(scores, places), _NO_KEY)
            tl.store(out + query * out_stride + number.to(tl.int64) * TILE + tl.arange(0, TILE), keys)
    if KIND == "runs":
        tl.store(out + query * out_stride + number, _key(tl.max(best, 0), number))


@triton.jit
def _nibbles(b, NVIDIA: tl.constexpr):
    """Return the high and the low nibbles of bytes, int8."""
    if NVIDIA:  # four at a time; compiled for single bytes it is ten times as many instructions
        high, low = tl.inline_asm_elementwise(
            "{ .reg .b32 t; shr.u32 t, $2, 4; and.b32 $0, t, 0x0F0F0F0F; and.b32 $1, $2, 0x0F0F0F0F; }",
            "=r,=r,r",
            [b],
            dtype=(tl.int8, tl.int8),
            is_pure=True,
            pack=4,
        )
    else:
        high, low = (b >> 4).to(tl.int8), (b & 15).to(tl.int8)
    return high, low


@triton.jit
def _asked(of, start, plane_stride, BITS: tl.constexpr, STEP: tl.constexpr):
    """Load STEP entries of each query's planes (STEP, QUERIES): of the even dimensions and the odd ones, or of all."""
    entries = start + tl.arange(0, STEP)
    even = tl.load(of[None, :] + entries[:, None])
    odd = tl.load(of[None, :] + plane_stride + entries[:, None]) if BITS == 4 else even
    return even, odd


@triton.jit
def _dots(
    dots,
    at,
    start,
    even,
    odd,
    levels,
    ROW_BYTES: tl.constexpr,
    BITS: tl.constexpr,
    NORMAL: tl.constexpr,
    STEP: tl.constexpr,
    NVIDIA: tl.constexpr,
):
    """Add to dots (TILE, QUERIES) the products of STEP bytes of each row, from `start` on."""
    b = _loaded(at, start + tl.arange(0, STEP), ROW_BYTES, STEP)
    if BITS == 4:
        if NORMAL:
            high, low = tl.load(levels + (b >> 4)), tl.load(levels + (b & 15))
        else:
            high, low = _nibbles(b, NVIDIA)
        dots = tl.dot(high, even, dots, out_dtype=tl.int32)
        dots = tl.dot(low, odd, dots, out_dtype=tl.int32)
    else:
        dots = tl.dot((b ^ 128).to(tl.int8, bitcast=True), even, dots, out_dtype=tl.int32)
    return dots


@triton.jit(do_not_specialize=["n", "query_count", "run"])
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
    run,
    ROW_BYTES: tl.constexpr,
    BITS: tl.constexpr,
    NORMAL: tl.constexpr,
    CENTRE: tl.constexpr,
    PICKED: tl.constexpr,
    KIND: tl.constexpr,
    TILE: tl.constexpr,
    QUERIES: tl.constexpr,
    STEP: tl.constexpr,
    HELD: tl.constexpr,
    NVIDIA: tl.constexpr,
):
    """Score a run with QUERIES queries a program, on the tensor cores. Arguments as for `rows_kernel`.

    Neighbouring programs have the same tiles and other queries, so that the level-2 cache holds the codes for them.
    Rows are the left factor, unpacked in registers; queries, the right one, come from shared memory. STEP bytes of a
    row are multiplied at a time; HELD, these are all there are, and the queries are read once.
    """
    query_blocks = (query_count + QUERIES - 1) // QUERIES
    program = tl.program_id(0)
    number = program // query_blocks
    numbers = program % query_blocks * QUERIES + tl.arange(0, QUERIES)
    asked = tl.minimum(numbers, query_count - 1)
    of = queries + asked.to(tl.int64) * query_stride
    scale = tl.load(scales + asked)
    centre = CENTRE * tl.load(sums + asked)
    to = out + numbers.to(tl.int64) * out_stride
    if HELD:
        even, odd = _asked(of, 0, plane_stride, BITS, STEP)
    first = number * run
    # The best of two rows that one thread has, so that threads meet once a run, not for each tile.
    best = tl.full((TILE // 16, 8, QUERIES), _LEAST, tl.int32)
    for tile in range(first, tl.minimum(first + run, (n + TILE - 1) // TILE)):
        places, rows = _rows(tile, picked, n, PICKED, TILE)
        at = codes + rows * code_stride
        dots = tl.zeros((TILE, QUERIES), tl.int32)
        if HELD:
            dots = _dots(dots, at, 0, even, odd, levels, ROW_BYTES, BITS, NORMAL, STEP, NVIDIA)
        else:
            for start in range(0, ROW_BYTES, STEP):
                even, odd = _asked(of, start, plane_stride, BITS, STEP)
                dots = _dots(dots, at, start, even, odd, levels, ROW_BYTES, BITS, NORMAL, STEP, NVIDIA)
        if KIND == "scores":
            scores = (2 * dots - centre[None, :]).to(tl.float32) * scale[None, :]
            mask = (places < n)[:, None] & (numbers < query_count)[None, :]
            tl.store(to[None, :] + places[:, None], scores, mask=mask)
        else:
            best = tl.maximum(best, tl.max(tl.reshape(dots, (TILE // 16, 2, 8, QUERIES)), 1))
    if KIND == "runs":
        whole = 2 * tl.max(tl.reshape(best, (TILE // 2, QUERIES)), 0) - centre
        tl.store(to + number, _key(whole.to(tl.float32) * scale, number), mask=numbers < query_count)


@triton.jit
def _dot4(codes, query, total, NVIDIA: tl.constexpr):
    """Add to total the products of 4 unsigned bytes and 4 signed ones, each 4 in an int32."""
    if NVIDIA:  # its instruction, which the interpreter and other GPUs do not have
        total = tl.inline_asm_elementwise(
            "dp4a.u32.s32 $0, $1, $2, $3;", "=r,r,r,r", [codes, query, total], dtype=tl.int32, is_pure=True, pack=1
        )
    else:
        for shift in tl.static_range(0, 32, 8):
            total += ((codes >> shift) & 255) * ((query << (24 - shift)) >> 24)
    return total


@triton.jit(do_not_specialize=["n", "run"])
def stream_kernel(
    codes,
    picked,
    queries,
    sums,
    scales,
    out,
    n,
    code_stride,
    plane_stride,
    run,
    ROW_WORDS: tl.constexpr,
    BITS: tl.constexpr,
    CENTRE: tl.constexpr,
    PICKED: tl.constexpr,
    KIND: tl.constexpr,
    TILE: tl.constexpr,
    WORDS: tl.constexpr,
    NVIDIA: tl.constexpr,
):
    """Score a run with a single query, which is as fast as the codes can be read. Uniform spacing.

    Arguments as for `rows_kernel`, but codes and query, and their strides, are int32 words of 4 bytes; WORDS of a row,
    a power of two, are read at a time.
    """
    number = tl.program_id(0)
    first = number * run
    best = tl.full((TILE,), _LEAST, tl.int32)
    centre = CENTRE * tl.load(sums)
    scale = tl.load(scales)
    for tile in range(first, tl.minimum(first + run, (n + TILE - 1) // TILE)):
        places, rows = _rows(tile, picked, n, PICKED, TILE)
        at = codes + rows * code_stride
        dots = tl.zeros((TILE, WORDS), tl.int32)
        for start in tl.range(0, ROW_WORDS, WORDS, loop_unroll_factor=4):
            words = start + tl.arange(0, WORDS)
            w = _loaded(at, words, ROW_WORDS, WORDS)
            q = tl.load(queries + words, mask=words < ROW_WORDS, other=0)[None, :]
            if BITS == 4:
                odd = tl.load(queries + plane_stride + words, mask=words < ROW_WORDS, other=0)[None, :]
                dots = _dot4((w >> 4) & 0x0F0F0F0F, q, dots, NVIDIA)
                dots = _dot4(w & 0x0F0F0F0F, odd, dots, NVIDIA)
            else:
                dots = _dot4(w, q, dots, NVIDIA)
        whole = 2 * tl.sum(dots, 1) - centre
        if KIND == "scores":
            tl.store(out + places, whole.to(tl.float32) * scale, mask=places < n)
        else:
            best = tl.maximum(best, whole)
    if KIND == "runs":
        tl.store(out + number, _key(tl.max(best, 0).to(tl.float32) * scale, number))
