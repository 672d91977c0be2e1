"""The truth, in plain NumPy, written from docs/format.md alone.

`positions`, `pack`, `unpack` and `score` are the formulas in float64. `pack_ordered`, `quantize_queries` and
`score_ordered` are the same things with every operation in the order, and rounded to the type, that the page fixes:
what every kernel must give bit for bit.
"""

import numpy as np

LOWEST, HIGHEST = 2.0**-120, 2.0**120  # sums of squares outside of these are scaled by a power of two first


def levels_of(bits):
    return 2**bits - 1


# ---------------------------------------------------------------- bytes


def to_bytes(codes, bits):
    """Lay codes (n, dim) out as rows of bytes: of 4 bits, the even dimension in the high nibble."""
    codes = codes.astype(np.uint8)
    return codes if bits == 8 else codes[:, 0::2] << 4 | codes[:, 1::2]


def from_bytes(rows, bits):
    """Return the codes (n, dim) of rows of bytes."""
    if bits == 8:
        return rows.copy()
    codes = np.empty((len(rows), 2 * rows.shape[1]), np.uint8)
    codes[:, 0::2], codes[:, 1::2] = rows >> 4, rows & 15
    return codes


# ---------------------------------------------------------------- formulas


def unit(x, dim):
    """Return the first `dim` values over their L2 norm, float64; zero rows stay zero."""
    x = np.asarray(x)[:, :dim].astype(np.float64)
    largest = np.max(np.abs(x), axis=1, keepdims=True)
    x = x / np.where(largest > 0, largest, 1)  # so that nothing overflows or vanishes
    norms = np.sqrt(np.sum(x * x, axis=1, keepdims=True))
    return x / np.where(norms > 0, norms, 1)


def positions(x, dim, bits, limit):
    """Return where the values lie on the scale of codes, in steps from the lowest code, before rounding."""
    step = 2 * limit / levels_of(bits)
    return np.clip(unit(x, dim) + limit, 0, 2 * limit) / step


def pack(x, dim, bits, limit):
    return to_bytes(np.rint(positions(x, dim, bits, limit)), bits)


def unpack(rows, bits, limit):
    return 2 * limit / levels_of(bits) * from_bytes(rows, bits) - limit


def integer_score(q, s, rows, bits, limit):
    """Return `s * (c * <q, i> - L * sum(q))` for integer queries q (m, dim) with scales s (m,)."""
    codes = from_bytes(rows, bits).astype(np.int64)
    q = q.astype(np.int64)
    step = 2 * limit / levels_of(bits)
    return s[:, None] * (step * (q @ codes.T) - limit * q.sum(axis=1, keepdims=True))


def score(queries, rows, dim, bits, limit):
    """Return the inner products of renormalized float queries with decoded rows."""
    return unit(queries, dim) @ unpack(rows, bits, limit).T


def search(scores, k, allowed=None):
    """Return the k best (scores, rows) of each line of scores: by score, descending, then by row, ascending."""
    rows = np.arange(scores.shape[1]) if allowed is None else np.unique(allowed)
    order = np.argsort(-scores[:, rows], axis=1, kind="stable")[:, :k]
    best = rows[order]
    return np.take_along_axis(scores, best, axis=1), best


# ---------------------------------------------------------------- in the order of docs/format.md


def sum_of_squares(x):
    """Return 32 striped sums, then halves added: float64 (n,) of float64 (n, dim)."""
    p = np.zeros((len(x), 32))
    for first in range(0, x.shape[1], 32):
        block = x[:, first : first + 32]
        p[:, : block.shape[1]] += block * block
    for half in (16, 8, 4, 2, 1):
        p = p[:, :half] + p[:, half : 2 * half]
    return p[:, 0]


def in_range(x, dim):
    """Return the kept values, unusual rows scaled by a power of two, in their own type; and their sums of squares."""
    own = np.float64 if x.dtype == np.float64 else np.float32
    x = x[:, :dim].astype(own)
    squares = sum_of_squares(x.astype(np.float64))
    for row in np.flatnonzero(~((squares >= LOWEST) & (squares <= HIGHEST))):
        largest = np.max(np.abs(x[row].astype(np.float64)))
        if not np.isfinite(largest):
            raise ValueError(f"row {row}")
        if largest == 0:
            squares[row] = 0
            continue
        exponent = np.frexp(largest)[1] - 1
        x[row] = np.ldexp(x[row].astype(np.float64), -exponent).astype(own)
        squares[row] = sum_of_squares(x[row : row + 1].astype(np.float64))[0]
    return x, squares


def pack_ordered(x, dim, bits, limit):
    """Return rows of bytes (n, row_bytes)."""
    with np.errstate(over="ignore", invalid="ignore"):
        x, squares = in_range(x, dim)
    levels, half = levels_of(bits), 2 ** (bits - 1)
    norms = np.sqrt(squares)
    scale = np.divide(levels / (2 * limit), norms, out=np.zeros_like(norms), where=norms > 0)[:, None]
    if x.dtype == np.float64:
        t = x * scale - 0.5
    else:
        high = scale.astype(np.float32)
        low = (scale - high.astype(np.float64)).astype(np.float32)
        t = x * high + (x * low - np.float32(0.5))
    codes = np.clip(np.rint(t).astype(np.int64) + half, 0, levels)
    return to_bytes(codes, bits)


def quantize_queries(x, dim, limit, query_bits):
    """Return queries (m, dim) and scales float64 (m,): integers, or for 32 bits floats and None."""
    if query_bits == 4:
        even = dim + dim % 2  # an added zero changes nothing else
        padded = np.zeros((len(x), even), x.dtype)
        padded[:, :dim] = x[:, :dim]
        codes = from_bytes(pack_ordered(padded, even, 4, limit), 4)[:, :dim]
        return 2 * codes.astype(np.int64) - 15, np.full(len(x), limit / 15)
    with np.errstate(over="ignore", invalid="ignore"):
        x, squares = in_range(x, dim)
    x, norms = x.astype(np.float64), np.sqrt(squares)
    zero = norms == 0
    norms[zero] = 1
    if query_bits == 32:
        return (x / norms[:, None]).astype(np.float32), None
    largest = np.max(np.abs(x), axis=1)
    q = np.rint(x * (127 / np.where(zero, 1, largest))[:, None]).astype(np.int64)
    return q, np.where(zero, 0, largest / norms / 127)


def score_ordered(queries, rows, dim, bits, limit, query_bits):
    """Return float32 (m, n), bit for bit."""
    q, s = quantize_queries(queries, dim, limit, query_bits)
    levels = levels_of(bits)
    half_step = limit / levels
    codes = from_bytes(rows, bits).astype(np.int64)
    if query_bits != 32:
        whole = 2 * (q @ codes.T) - levels * q.sum(axis=1, keepdims=True)
        return whole.astype(np.float32) * (s * half_step).astype(np.float32)[:, None]
    y = (2 * codes - levels).astype(np.float32)
    p = np.zeros((len(q), len(rows), 32), np.float32)
    if bits == 4:
        planes = [(0, q[:, 0::2], y[:, 0::2]), (16, q[:, 1::2], y[:, 1::2])]
        stripe = 16
    else:
        planes = [(0, q, y)]
        stripe = 32
    for at, q_plane, y_plane in planes:
        for first in range(0, q_plane.shape[1], stripe):
            products = q_plane[:, None, first : first + stripe] * y_plane[None, :, first : first + stripe]
            p[:, :, at : at + products.shape[2]] += products
    for half in (16, 8, 4, 2, 1):
        p = p[:, :, :half] + p[:, :, half : 2 * half]
    return p[:, :, 0] * np.float32(half_step) + np.float32(0)  # a zero is +0
