"""The sizes that the sweeps go through: around every block, tile and register, and the odd ones between."""

import numpy as np

import frazil

DIMS_4 = [2, 4, 6, 14, 16, 30, 32, 34, 62, 64, 66, 100, 126, 128, 130, 254, 256, 258, 384, 510, 512, 514, 766, 768]
DIMS_4_LARGE = [1000, 1022, 1024, 1026, 2048, 4094, 4096]
DIMS_8 = [2, 3, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 384, 511, 512, 513, 768]
DIMS_8_LARGE = [1000, 1023, 1024, 1025, 2047, 2048, 4095, 4096]

FORMATS = [(dim, 4) for dim in DIMS_4 + DIMS_4_LARGE] + [(dim, 8) for dim in DIMS_8 + DIMS_8_LARGE]
FEW_FORMATS = [(2, 4), (30, 4), (256, 4), (258, 4), (1000, 4), (3, 8), (31, 8), (256, 8), (768, 8), (1023, 8)]

ROWS = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 255, 257, 1000]
QUERIES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 16, 17, 23, 24, 25, 33, 100]


def codec_of(dim, bits):
    """A codec whose limit suits vectors of so many dimensions: some of their values are beyond it."""
    return frazil.Codec(dim, bits, round(min(0.9, 2.9 / dim**0.5), 4))


def vectors(n, dim, seed=0, dtype=np.float32):
    return np.random.default_rng([seed, n, dim]).standard_normal((n, dim)).astype(dtype)


def random_codes(n, codec, seed=0):
    return np.random.default_rng([seed, n, codec.dim]).integers(0, 256, (n, codec.row_bytes), dtype=np.uint8)
