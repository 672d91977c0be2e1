"""More rows than 32-bit integers count. Codes of one byte, of which almost all are untouched pages, take no memory."""

import numpy as np
import pytest

import frazil

CODEC = frazil.Codec(dim=2, bits=4, limit=0.7)


def search_far(n: int, query_bits: int) -> None:
    codes = np.zeros((n, 1), np.uint8)
    best = [7, n // 2, n - 1]
    codes[best] = 0xFF
    hits = CODEC.search(np.ones((1, 2), np.float32), codes, 5, query_bits=query_bits)
    assert hits.rows.tolist() == [[*best, 0, 1]]
    few = CODEC.search(np.ones(2, np.float32), codes, 5, query_bits=query_bits, allow=[n - 2, n - 1, 3])
    assert few.rows.tolist() == [n - 1, 3, n - 2]


def test_rows_beyond_2_to_the_31():
    search_far(2**31 + 1000, 8)


@pytest.mark.soak
@pytest.mark.parametrize("query_bits", [4, 8, 32])
def test_rows_beyond_2_to_the_32(query_bits):
    search_far(2**32 + 1000, query_bits)
