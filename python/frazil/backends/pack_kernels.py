"""Triton kernels between floats and codes: pack, unpack, queries. docs/format.md §3 and §4 fix every operation.

Triton compiles anew for numbers that are 1 or multiples of 16, which loads need to know of strides, but not of counts.
No multiplication and addition may be fused here: launch with `enable_fp_fusion=False`. Doubles come as the bits of an
int64, since Triton makes a float32 of a Python float.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["PLANE", "pack_kernel", "queries_kernel", "unpack_kernel"]

PLANE = 64  # planes of queries are padded with zeros to a multiple of so many entries, so that nothing masks them

# Sums of squares outside of these are of rows that are scaled by a power of two first.
_LOWEST: tl.constexpr = tl.constexpr(2.0**-120)
_HIGHEST: tl.constexpr = tl.constexpr(2.0**120)
# Added and subtracted, these round to whole numbers, ties to even: the last bit of the sum is 1.
_WHOLE_SINGLE: tl.constexpr = tl.constexpr(1.5 * 2.0**23)
_WHOLE_DOUBLE: tl.constexpr = tl.constexpr(1.5 * 2.0**52)
_INFINITY: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit
def tree(p, ROWS: tl.constexpr, LEVELS: tl.constexpr):
    """Sum each row of p (ROWS, 2**LEVELS) in the order of docs/format.md: half is added to half until one is left."""
    for level in tl.static_range(LEVELS):  # of two numbers there is one sum, in whatever order threads add
        p = tl.sum(tl.reshape(p, (ROWS, 2, 1 << (LEVELS - 1 - level))), 1)
    return tl.reshape(p, (ROWS,))


@triton.jit
def _values(
    at, inside, columns, column_stride, first, second, DIM: tl.constexpr, DOUBLE: tl.constexpr, SCALED: tl.constexpr
):
    """Load values, in the path's own type; of rows that are not inside, zeros. Those of unusual rows are scaled."""
    mask = inside[:, None] & (columns < DIM)[None, :]
    x = tl.load(at[:, None] + columns.to(tl.int64)[None, :] * column_stride, mask=mask, other=0.0)
    if not DOUBLE:
        x = x.to(tl.float32)
    if SCALED:
        wide = x.to(tl.float64) * first[:, None] * second[:, None]
        x = wide if DOUBLE else wide.to(tl.float32)
    return x


@triton.jit
def _squares(
    at,
    inside,
    column_stride,
    first,
    second,
    DIM: tl.constexpr,
    DOUBLE: tl.constexpr,
    SCALED: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Return the sums of squares, float64 (ROWS,)."""
    p = tl.zeros((ROWS, 32), tl.float64)
    for start in tl.range(0, DIM, 32, loop_unroll_factor=8):  # so that loads are under way together
        columns = start + tl.arange(0, 32)
        x = _values(at, inside, columns, column_stride, first, second, DIM, DOUBLE, SCALED).to(tl.float64)
        p += x * x
    return tree(p, ROWS, 5)


@triton.jit
def _power(exponent):
    """Return 2**exponent, float64, for int64 exponents from -1023 to 1023."""
    bits = tl.where(exponent == -1023, 1 << 51, (exponent + 1023) << 52)
    return bits.to(tl.float64, bitcast=True)


@triton.jit
def _largest(at, inside, column_stride, first, second, DIM: tl.constexpr, DOUBLE: tl.constexpr, ROWS: tl.constexpr):
    """Return the largest absolute value, float64 (ROWS,), and whether all values are finite."""
    largest = tl.zeros((ROWS,), tl.float64)
    odd = tl.zeros((ROWS,), tl.int32)
    for start in range(0, DIM, 32):
        columns = start + tl.arange(0, 32)
        x = tl.abs(_values(at, inside, columns, column_stride, first, second, DIM, DOUBLE, False).to(tl.float64))
        is_finite = x < _INFINITY
        largest = tl.maximum(largest, tl.max(tl.where(is_finite, x, 0.0), 1))
        odd += tl.sum((~is_finite).to(tl.int32), 1)
    return largest, odd == 0


@triton.jit
def _measure(at, inside, column_stride, DIM: tl.constexpr, DOUBLE: tl.constexpr, ROWS: tl.constexpr):
    """Return each row's sum of squares in range (0 if all are zero), two factors that scale it, whether it is finite.

    Then, whether any row must be scaled: the factors of all others are 1.
    """
    first = tl.full((ROWS,), 1.0, tl.float64)
    second = tl.full((ROWS,), 1.0, tl.float64)
    is_finite = tl.full((ROWS,), 1, tl.int1)
    squares = _squares(at, inside, column_stride, first, second, DIM, DOUBLE, False, ROWS)
    unusual = ~((squares >= _LOWEST) & (squares <= _HIGHEST)) & inside
    some = tl.max(unusual.to(tl.int32), 0) > 0
    if some:
        largest, is_finite = _largest(at, inside, column_stride, first, second, DIM, DOUBLE, ROWS)
        # The exponent is in the bits; of a subnormal double after it was made larger.
        tiny = largest < 2.0**-1000
        bits = tl.where(tiny, largest * 2.0**64, largest).to(tl.int64, bitcast=True)
        exponent = (bits >> 52) - 1023 - tl.where(tiny, 64, 0)
        exponent = tl.where(unusual & is_finite & (largest > 0.0), exponent, 0)
        # Down in one step, which rounds once; up in two, since no double is 2**1074, which are exact.
        up = tl.where(exponent < 0, -exponent, 0)
        first = _power(tl.where(exponent < 0, up >> 1, -exponent))
        second = _power(up - (up >> 1))
        inside = inside & is_finite
        squares = _squares(at, inside, column_stride, first, second, DIM, DOUBLE, True, ROWS)
    return squares, first, second, is_finite, some


@triton.jit
def _report(bad, rows, is_bad):
    """Lower `bad` to the smallest number of a row that is not finite."""
    tl.atomic_min(bad + tl.zeros_like(rows), rows, mask=is_bad)


@triton.jit
def _codes(x, scale, BITS: tl.constexpr, DOUBLE: tl.constexpr):
    """Return codes, int32, of values (ROWS, n) by scales float64 (ROWS,)."""
    HALF: tl.constexpr = 1 << (BITS - 1)
    WHOLE: tl.constexpr = _WHOLE_DOUBLE if DOUBLE else _WHOLE_SINGLE
    if DOUBLE:
        t = x * scale[:, None] - 0.5
    else:
        high = scale.to(tl.float32)
        if BITS == 4:
            t = x * high[:, None] - 0.5
        else:
            low = (scale - high.to(tl.float64)).to(tl.float32)
            t = x * high[:, None] + (x * low[:, None] - 0.5)
    t = tl.minimum(tl.maximum(t, -1.0 * HALF), HALF - 1.0)  # whole bounds: the same before rounding as after it
    return ((t + WHOLE) - WHOLE).to(tl.int32) + HALF


@triton.jit
def _scale(squares, steps):
    """Return what makes steps of values; 0 for zero rows."""
    return tl.where(squares > 0.0, steps / tl.sqrt(tl.where(squares > 0.0, squares, 1.0)), 0.0)


@triton.jit
def _pack_rows(
    at,
    to,
    inside,
    column_stride,
    first,
    second,
    scale,
    nearest,
    DIM: tl.constexpr,
    BITS: tl.constexpr,
    DOUBLE: tl.constexpr,
    NORMAL: tl.constexpr,
    SCALED: tl.constexpr,
    ROWS: tl.constexpr,
):
    for start in range(0, DIM, 64):
        columns = start + tl.arange(0, 64)
        x = _values(at, inside, columns, column_stride, first, second, DIM, DOUBLE, SCALED)
        codes = _codes(x, scale, 8 if NORMAL else BITS, DOUBLE)
        if NORMAL:
            codes = tl.load(nearest + codes).to(tl.int32)
        if BITS == 4:
            high, low = tl.split(tl.reshape(codes, (ROWS, 32, 2)))
            bytes_ = start // 2 + tl.arange(0, 32)
            mask = inside[:, None] & (bytes_ < DIM // 2)[None, :]
            tl.store(to[:, None] + bytes_[None, :], (high << 4 | low).to(tl.uint8), mask=mask)
        else:
            mask = inside[:, None] & (columns < DIM)[None, :]
            tl.store(to[:, None] + columns[None, :], codes.to(tl.uint8), mask=mask)


@triton.jit(do_not_specialize=["n"])
def pack_kernel(
    x,
    codes,
    bad,
    nearest,
    steps,
    n,
    row_stride,
    column_stride,
    DIM: tl.constexpr,
    BITS: tl.constexpr,
    DOUBLE: tl.constexpr,
    NORMAL: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Pack ROWS rows a program.

    Args:
        x: floats (n, d); strides in elements.
        codes: uint8 (n, row_bytes), contiguous.
        bad: int64 (1,), lowered to the first row that is not finite.
        nearest: uint8 (256,), the code of normal spacing nearest to each of 8 bits, where NORMAL.
        steps: the bits of a double, steps for each unit: levels / (2 * limit), of 8 bits where NORMAL.
        n: rows.
        row_stride: in elements.
        column_stride: in elements.
        DIM: dimensions kept.
        BITS: of a code.
        DOUBLE: x is float64.
        NORMAL: the codec has normal spacing.
        ROWS: rows of a program, a power of two.
    """
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = rows < n
    at = x + rows * row_stride
    to = codes + rows * (DIM * BITS // 8)
    squares, first, second, is_finite, some = _measure(at, inside, column_stride, DIM, DOUBLE, ROWS)
    scale = _scale(squares, steps.to(tl.float64, bitcast=True))
    if some:
        _report(bad, rows, inside & ~is_finite)
        inside = inside & is_finite
        _pack_rows(at, to, inside, column_stride, first, second, scale, nearest, DIM, BITS, DOUBLE, NORMAL, True, ROWS)
    else:
        _pack_rows(at, to, inside, column_stride, first, second, scale, nearest, DIM, BITS, DOUBLE, NORMAL, False, ROWS)


@triton.jit(do_not_specialize=["n"])
def unpack_kernel(
    codes,
    out,
    levels,
    half_step,
    n,
    row_stride,
    DIM: tl.constexpr,
    BITS: tl.constexpr,
    NORMAL: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Decode ROWS rows a program.

    Args:
        codes: uint8 (n, row_bytes), bytes of a row adjacent.
        out: float32 (n, DIM), contiguous.
        levels: int8 (16,), the 8-bit codes less 128 that stand for those of normal spacing, where NORMAL.
        half_step: float32.
        n: rows.
        row_stride: in bytes.
        DIM: dimensions.
        BITS: of a code.
        NORMAL: the codec has normal spacing.
        ROWS: rows of a program, a power of two.
    """
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = rows < n
    ROW_BYTES: tl.constexpr = DIM * BITS // 8
    for start in range(0, ROW_BYTES, 32):
        bytes_ = start + tl.arange(0, 32)
        mask = inside[:, None] & (bytes_ < ROW_BYTES)[None, :]
        b = tl.load(codes + rows[:, None] * row_stride + bytes_[None, :], mask=mask, other=0)
        if BITS == 4:
            if NORMAL:
                high = 2 * tl.load(levels + (b >> 4)).to(tl.int32) + 1  # 2 * (code - 128) + 1 = 2 * code - 255
                low = 2 * tl.load(levels + (b & 15)).to(tl.int32) + 1
            else:
                high = 2 * (b >> 4).to(tl.int32) - 15
                low = 2 * (b & 15).to(tl.int32) - 15
            y = tl.reshape(tl.join(high, low), (ROWS, 64))
            columns = 2 * start + tl.arange(0, 64)
        else:
            y = 2 * b.to(tl.int32) - 255
            columns = bytes_
        mask = inside[:, None] & (columns < DIM)[None, :]
        tl.store(out + rows[:, None] * DIM + columns[None, :], y.to(tl.float32) * half_step, mask=mask)


@triton.jit(do_not_specialize=["n"])
def queries_kernel(
    x,
    out,
    sums,
    scales,
    bad,
    steps,
    half_step,
    four_bit_scale,
    n,
    row_stride,
    column_stride,
    out_stride,
    plane_stride,
    DIM: tl.constexpr,
    QUERY_BITS: tl.constexpr,
    DOUBLE: tl.constexpr,
    PLANES: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Prepare ROWS queries a program.

    Args:
        x: floats (q, d).
        out: int8, for 32 query bits float32, (q, out_stride), zeros: by planes, the even dimensions, then the odd ones.
        sums: int32 (q,), of a query's integers.
        scales: float32 (q,), what makes scores of integer sums.
        bad: int64 (1,), lowered to the first query that is not finite.
        steps: the bits of a double, 15 / (2 * limit).
        half_step: the bits of a double, limit / levels.
        four_bit_scale: the bits of a double, limit / 15.
        n: queries.
        row_stride: of x, in elements.
        column_stride: likewise.
        out_stride: in entries.
        plane_stride: in entries.
        DIM: dimensions kept.
        QUERY_BITS: 4, 8 or 32.
        DOUBLE: x is float64.
        PLANES: 2 for codes of 4 bits, 1 for those of 8.
        ROWS: queries of a program, a power of two.
    """
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = rows < n
    at = x + rows * row_stride
    to = out + rows * out_stride
    squares, first, second, is_finite, _ = _measure(at, inside, column_stride, DIM, DOUBLE, ROWS)
    _report(bad, rows, inside & ~is_finite)
    inside = inside & is_finite
    is_zero = ~(squares > 0.0)
    norm = tl.sqrt(tl.where(is_zero, 1.0, squares))
    if QUERY_BITS == 8:
        largest, _ = _largest(at, inside, column_stride, first, second, DIM, DOUBLE, ROWS)
        largest = largest * first * second
        to_steps = tl.where(is_zero, 0.0, 127.0 / tl.where(is_zero, 1.0, largest))
        scale = tl.where(is_zero, 0.0, largest / norm / 127.0)
    else:
        to_steps = _scale(squares, steps.to(tl.float64, bitcast=True))
        scale = four_bit_scale.to(tl.float64, bitcast=True) + tl.zeros((ROWS,), tl.float64)
    total = tl.zeros((ROWS,), tl.int32)
    for start in range(0, DIM, 64):
        columns = start + tl.arange(0, 64)
        x_ = _values(at, inside, columns, column_stride, first, second, DIM, DOUBLE, True)
        places = to[:, None] + ((columns % PLANES) * plane_stride + columns // PLANES)[None, :]
        mask = inside[:, None] & (columns < DIM)[None, :]
        if QUERY_BITS == 32:
            tl.store(places, (x_.to(tl.float64) / norm[:, None]).to(tl.float32), mask=mask)
        else:
            if QUERY_BITS == 8:
                whole = x_.to(tl.float64) * to_steps[:, None]
                q = ((whole + _WHOLE_DOUBLE) - _WHOLE_DOUBLE).to(tl.int32)
            else:
                q = 2 * _codes(x_, to_steps, 4, DOUBLE) - 15
            q = tl.where(mask, q, 0)
            total += tl.sum(q, 1)
            tl.store(places, q.to(tl.int8), mask=mask)
    if QUERY_BITS != 32:
        tl.store(sums + rows, total, mask=inside)
        tl.store(scales + rows, (scale * half_step.to(tl.float64, bitcast=True)).to(tl.float32), mask=inside)
