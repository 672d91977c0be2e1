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


# Codes of 4 bits of normal spacing are 8-bit codes of which there are only these.
NORMAL = np.array([0, 31, 52, 69, 84, 97, 109, 122, 133, 146, 158, 171, 186, 203, 224, 255], np.uint8)


def expanded(rows):
    """Return the 8-bit codes (n, dim) that rows of normal spacing stand for."""
    return NORMAL[from_bytes(rows, 4)]


def to_normal(codes):
    """Return the rows of normal spacing nearest to 8-bit codes (n, dim)."""
    far = np.abs(np.arange(256)[:, None] - NORMAL.astype(int))
    return to_bytes(np.argmin(far, axis=1)[codes], 4)  # of equal ones the first


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


def loss(x, rows, dim, bits, limit, metric=None, along=16):
    """Return what the errors of codes cost, float64 (n,): by the metric, and `along` times along the vector."""
    x = unit(x, dim)
    r = unpack(rows, bits, limit) - x
    metric = np.eye(dim) if metric is None else np.asarray(metric, np.float64)
    return np.sum(r @ metric * r, axis=1) + (along - 1) * np.sum(r * x, axis=1) ** 2


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
        low = (scale - high.astype(np.float64)).astype(np.float32) if bits == 8 else np.float32(0)
        t = x * high + (x * low - np.float32(0.5))
    codes = np.clip(np.rint(t).astype(np.int64) + half, 0, levels)
    return to_bytes(codes, bits)


def refine_ordered(x, dim, bits, limit, metric=None, normal=False):
    """Return refined rows of bytes (n, row_bytes), and how many moves each took; metric: float32 (dim, dim)."""
    f32, stored = np.float32, bits
    if normal:
        bits, levels = 8, 2 * NORMAL.astype(f32) - 255
        codes = from_bytes(to_normal(pack_ordered(x, dim, 8, limit)), 4).astype(np.int64)
    else:
        levels = np.arange(-levels_of(bits), levels_of(bits) + 1, 2, dtype=f32)
        codes = from_bytes(pack_ordered(x, dim, bits, limit), bits).astype(np.int64)
    up, down = np.append(np.diff(levels), f32(0)), np.append(f32(0), np.diff(levels))
    with np.errstate(over="ignore", invalid="ignore"):
        x, squares = in_range(x, dim)
    half_step = limit / levels_of(bits)
    norms = np.sqrt(squares)
    scale = 2 * np.divide(levels_of(bits) / (2 * limit), norms, out=np.zeros_like(norms), where=norms > 0)[:, None]
    v = (x.astype(np.float64) * scale).astype(f32)
    r = levels[codes] - v
    weight = f32(15 * half_step * half_step)
    diagonal = np.ones(dim, f32) if metric is None else np.diagonal(metric)
    bend = (diagonal + weight * (v * v)) * f32(65 / 64)
    p = np.zeros((len(x), 32), f32)
    for first in range(0, dim, 32):
        block = r[:, first : first + 32] * v[:, first : first + 32]
        p[:, : block.shape[1]] += block
    for half in (16, 8, 4, 2, 1):
        p = p[:, :half] + p[:, half : 2 * half]
    along = p[:, 0]
    g = r.copy()
    if metric is not None:
        g[:] = 0
        for j in range(dim):
            g += r[:, j : j + 1] * metric[j]
    moves, live = np.zeros(len(x), np.int64), np.flatnonzero(norms > 0)
    while len(live):
        slope = g[live] + (weight * along[live])[:, None] * v[live]
        rises = slope < 0
        step = np.where(rises, up[codes[live]], down[codes[live]])
        gain = step * (f32(2) * np.abs(slope) - step * bend[live])
        coarse = np.where(
            gain > 0, gain.view(np.int32) & -4096, 0
        )  # without the lowest bits, as long as it is positive
        best = np.argmax(coarse, axis=1)
        at = np.arange(len(live))
        better = coarse[at, best] > 0
        change = np.where(rises, step, -step)[at, best][better]
        live, best = live[better], best[better]
        codes[live, best] += np.sign(change).astype(np.int64)
        along[live] += change * v[live, best]
        if metric is None:
            g[live, best] += change
        else:
            g[live] += change[:, None] * metric[best]
        moves[live] += 1
        live = live[moves[live] < 4 * dim]
    return to_bytes(codes, stored), moves


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


# ---------------------------------------------------------------- sketches (docs/format.md §7)


def sketch_bits(dim):
    return (dim + 63) // 64 * 64


def signs(bits):
    """Return the signs (3, bits) of the three rounds."""
    mask, numbers = 2**64 - 1, []
    for r in range(3):
        for word in range(bits // 64):
            z = (64 * r + word + 1) * 0x9E3779B97F4A7C15 & mask
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
            z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
            z ^= z >> 31
            numbers += [1 if z >> i & 1 else -1 for i in range(64)]
    return np.array(numbers).reshape(3, bits)


def turned(x):
    """Turn vectors (n, bits), in their own type; the result is longer by block^1.5."""
    n, bits = x.shape
    block = bits & -bits
    parts = bits // block
    for r, sign in enumerate(signs(bits).astype(x.dtype)):
        x = x * sign
        h = 1
        while h < block:
            pairs = x.reshape(n, bits // (2 * h), 2, h)
            x = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(n, bits)
            h *= 2
        if r < 2:
            i = np.arange(bits)
            moved = np.empty_like(x)
            moved[:, i % parts * block + i // parts] = x
            x = moved
    return x


def shrink_of(bits):
    block = np.float64(bits & -bits)
    return 1 / (block * np.sqrt(block))


def running_sum(terms):
    """Add up along the last axis, one after the other, in the terms' own type."""
    return np.add.accumulate(terms, axis=-1)[..., -1]


def half_above(x):
    """Round numbers of float32, not negative, up to float16."""
    half = x.astype(np.float16)
    return np.where(half.astype(np.float32) < x, np.nextafter(half, np.float16(np.inf)), half)


def sketch_centre(rows, bits):
    n = len(rows)
    if n == 0:
        return np.zeros(rows.shape[1] * 8 // bits, np.float32)
    some = from_bytes(rows[:: max(1, -(-n // 65536))], bits).astype(np.int64)
    return ((2 * some - levels_of(bits)).sum(axis=0) / len(some)).astype(np.float32)


def sketch_rows(rows, bits, centre):
    """Return the bits (n, P), the factors and the errors (n,) of float16, and the squared norms (n,)."""
    f32, dims = np.float32, sketch_bits(len(centre))
    o = np.zeros((len(rows), dims), f32)
    o[:, : len(centre)] = (2 * from_bytes(rows, bits).astype(np.int32) - levels_of(bits)).astype(f32) - centre
    square = running_sum(o * o)
    z = turned(o)
    total = running_sum(np.abs(z)) * f32(shrink_of(dims))
    ok = (square > 0) & (total > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = square / total
        f = half_above(np.where(ok, exact, 0))
        spread = np.maximum(f32(dims) * exact * exact - square, f32(0)) / f32(dims - 1)
        rounding = exact / f32(16)
        above = (f.astype(f32) - exact) * (np.sqrt(square) / exact)
        error = half_above(np.where(ok, np.sqrt(spread + rounding * rounding) + above, 0).astype(f32))
    return z >= 0, f, error, square


def sketch_extremes(error, square):
    f32 = np.float32
    ratio = (error.astype(f32) * error.astype(f32))[square > 0] / square[square > 0]
    longest = np.sqrt(square.max(initial=0))
    return f32(longest), *((ratio.min(), ratio.max()) if len(ratio) else (f32(0), f32(0)))


def sketch(rows, dim, bits):
    """Return the bytes of the sketch of rows."""
    n, dims, centre = len(rows), sketch_bits(dim), sketch_centre(rows, bits)
    set_bits, f, error, square = sketch_rows(rows, bits, centre)
    header = b"frzsketc" + np.array([1, dim, bits, 0], "<u4").tobytes() + np.array([n], "<u8").tobytes()
    header += np.array(sketch_extremes(error, square), "<f4").tobytes()
    data = header.ljust(64, b"\0") + centre.astype("<f4").tobytes().ljust(-(-4 * dim // 64) * 64, b"\0")
    packed = np.packbits(set_bits, axis=1, bitorder="little")
    for start in range(0, n, 64):
        block = slice(start, start + 64)
        here = len(f[block])
        bytes_ = np.zeros((dims // 8, 64), np.uint8)
        bytes_[:, :here] = packed[block].T
        factors, errors = np.zeros(64, "<f2"), np.full(64, -np.inf, "<f2")
        factors[:here], errors[:here] = f[block], error[block]
        data += bytes_.tobytes() + factors.tobytes() + errors.tobytes()
    return np.frombuffer(data, np.uint8)


def sketch_bounds(queries, rows, dim, bits, limit, query_bits, width):
    """Return the bounds (q, n) of rows for queries, as float32."""
    f32, dims, shrink = np.float32, sketch_bits(dim), shrink_of(sketch_bits(dim))
    centre = sketch_centre(rows, bits)
    set_bits, f, error, square = sketch_rows(rows, bits, centre)
    longest, least, most = (float(x) for x in sketch_extremes(error, square))
    wide = centre.astype(np.float64)
    q, s = quantize_queries(queries, dim, limit, query_bits)
    half_step = limit / levels_of(bits)
    bounds = np.empty((len(queries), len(rows)), f32)
    above, under = 1 / (1 + width * width * least), 1 / (1 + width * width * most)
    for number, w in enumerate(np.asarray(q).astype(np.float64)):
        scale = float(f32(half_step) if query_bits == 32 else f32(s[number] * half_step))
        square_q, mean = running_sum(w * w), running_sum(w * wide)
        norm = np.sqrt(square_q)
        far = np.sqrt(running_sum(wide * wide))
        padded = np.zeros((1, dims))
        padded[0, :dim] = w
        z = turned(padded)[0]
        a = np.abs(z).reshape(-1, 4)
        step = (((a[:, 0] + a[:, 1]) + a[:, 2]) + a[:, 3]).max() * shrink / 29
        v = z * shrink
        steps = np.rint(v / step) if step > 0 else np.zeros(dims)
        rounded = step * steps
        along = running_sum(v * rounded)
        longer = square_q / along if along > 0 else 1.0
        lost = longer * longer * running_sum(rounded * rounded) - square_q
        assert np.abs(steps).reshape(-1, 4).sum(axis=1).max() <= 31
        sums = np.where(set_bits == (steps >= 0), np.abs(steps), 0).sum(axis=1)
        slope = f32(2 * step * longer * scale * above)
        offset = f32(-step * longer * np.abs(steps).sum() * scale * above)
        line = sums.astype(f32) * slope + offset
        weight = min(256, 1 + 1 / (dims * least)) if least > 0 else 256
        error_q = square_q + weight * max(0, lost - square_q / 256)
        stretch = f32(width * np.sqrt(error_q) * scale * np.sqrt(above))
        base = f32((mean + norm * (longest + far) * 2.0**-16) * scale)
        estimate = np.maximum(line, line * f32(under / above)) * f.astype(f32)
        bounds[number] = estimate + (error.astype(f32) * stretch + base)
    return bounds


def sketch_search(scores, bounds, k, allowed=None):
    """Return the k rows of the highest min(score, bound), with their scores, ordered by score, then by row."""
    _, rows = search(np.minimum(scores, bounds) + np.float32(0), k, allowed)
    best = np.take_along_axis(scores, rows, axis=1)
    order = np.lexsort((rows, -best), axis=1)
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(rows, order, axis=1)
