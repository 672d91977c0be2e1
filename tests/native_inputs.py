"""The inputs of the native tests (tests/native/inputs.cpp) once more, in NumPy, for the reference."""

import numpy as np

FNV_START = 0xCBF29CE484222325
MASK = 2**64 - 1
PARTS = {
    "half": (5, 10, np.uint16),
    "bfloat16": (8, 7, np.uint16),
    "single": (8, 23, np.uint32),
    "double": (11, 52, np.uint64),
}
SUBNORMAL = -2000


def fnv(data, state=FNV_START):
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 & MASK
    return state


def numbers(name, n):
    """Return n numbers of splitmix64, whose seed is the name's digest."""
    z = np.uint64(fnv(name.encode())) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def limit_of(dim):
    root = 1
    while root * root < dim:
        root += 1
    return min(0.875, 3.0 / root)


def float_bits(kind, exponent, word):
    """Return the bits of ±2^exponent * 1.fraction: as integers of 64 bits."""
    exponent_bits, fraction_bits, _ = PARTS[kind]
    field = np.clip(exponent + 2 ** (exponent_bits - 1) - 1, 0, 2**exponent_bits - 2).astype(np.uint64)
    fraction = word & np.uint64(2**fraction_bits - 1)
    sign = word >> np.uint64(63)
    return sign << np.uint64(exponent_bits + fraction_bits) | field << np.uint64(fraction_bits) | fraction


def widened(kind, bits):
    """Return floats of 64 bits for doubles, of 32 bits, exactly, for all other types."""
    bits = bits.astype(PARTS[kind][2])
    if kind == "bfloat16":
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    values = bits.view({"half": np.float16, "single": np.float32, "double": np.float64}[kind])
    return values if kind == "double" else values.astype(np.float32)


def float_matrix(name, kind, n, columns):
    words = numbers(name, n * (columns + 1)).reshape(n, columns + 1)
    spikes = (words[:, 0] >> np.uint64(32)) * np.uint64(columns) >> np.uint64(32)
    words = words[:, 1:]
    far = 6 if kind == "half" else 40
    drawn = (words >> np.uint64(53) & np.uint64(0x3FF)).astype(np.int64)
    row_kind = np.arange(n)[:, None] % 8
    spike = np.arange(columns) == spikes[:, None].astype(np.int64)
    first = np.arange(columns) == 0
    exponent = np.select(
        [row_kind == 3, row_kind == 4, row_kind == 5, row_kind == 6, row_kind == 7],
        [
            -far + drawn % (2 * far),
            np.where(spike, 2, -9 + drawn % 4),
            np.where(spike | first, 0, SUBNORMAL),
            far - 2 + drawn % 3,
            -far + drawn % 3,
        ],
        -3 + drawn % 4,
    )
    bits = float_bits(kind, exponent, words)
    whole = np.where(spike, 3, drawn & 3)
    top_of_fraction = np.uint64(2 ** (PARTS[kind][1] - 1))
    sign = words & np.uint64(2**63)
    word = np.where(whole == 3, sign | top_of_fraction, sign)
    ties = float_bits(kind, np.select([whole == 0, whole == 3], [SUBNORMAL, 1], whole - 1), word)
    return widened(kind, np.where(row_kind == 2, ties, bits))


def with_unusual_rows(kind, x):
    """Overwrite rows as Operations::matrix does: by zeros, and by values that are too large or too small."""
    sign = np.where(np.arange(x.shape[1]) % 2 == 0, 1, -1).astype(x.dtype)
    for at, exponent in ((22, None), (33, 90), (44, -90)):
        if at < len(x) and (exponent is None or kind != "half"):
            x[at] = sign * (0 if exponent is None else 2.0**exponent)
    return x


def code_rows(name, n, row_bytes):
    rows = (numbers(name, n * row_bytes) >> np.uint64(56)).astype(np.uint8).reshape(n, row_bytes)
    rows[3::8], rows[5::8] = 0xFF, 0
    rows[6::8, 0::2], rows[6::8, 1::2] = 0xF0, 0x0F
    return rows


def metric_matrix(dim):
    i = np.arange(dim)
    low, high = np.minimum(i[:, None], i), np.maximum(i[:, None], i)
    power = 2 ** int(np.ceil(np.log2(dim)))
    matrix = ((low * 7 + high * 13) % 17 - 8) / (8 * power)
    matrix[i, i] = 1 + i % 3 / 4
    return matrix.astype(np.float32)
