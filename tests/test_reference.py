"""The oracle against itself: the ordered operations are the formula."""

import numpy as np
import pytest
import reference
from shapes import FEW_FORMATS, codec_of, random_codes, vectors


@pytest.mark.parametrize(("dim", "bits"), FEW_FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_ordered_packing_is_the_formula(dim, bits, dtype):
    codec, x = codec_of(dim, bits), vectors(300, dim, dtype=dtype)
    ordered = reference.from_bytes(reference.pack_ordered(x, dim, bits, codec.limit), bits).astype(int)
    assert_within_boundaries(ordered, reference.positions(x, dim, bits, codec.limit))


@pytest.mark.parametrize(("dim", "bits"), FEW_FORMATS)
def test_ordered_scores_are_the_formula(dim, bits):
    codec, x = codec_of(dim, bits), vectors(20, dim)
    rows = random_codes(50, codec)
    exact = reference.score(x, rows, dim, bits, codec.limit)
    floats = reference.score_ordered(x, rows, dim, bits, codec.limit, 32)
    np.testing.assert_allclose(floats, exact, atol=2e-6 * max(1, codec.limit * dim**0.5), rtol=0)
    for query_bits in (4, 8):
        q, s = reference.quantize_queries(x, dim, codec.limit, query_bits)
        whole = reference.integer_score(q, s, rows, bits, codec.limit)
        ordered = reference.score_ordered(x, rows, dim, bits, codec.limit, query_bits)
        np.testing.assert_allclose(ordered, whole, atol=2e-6, rtol=2e-6)


def test_bytes_round_trip():
    codes = np.arange(16, dtype=np.uint8).reshape(1, 16)
    assert reference.to_bytes(codes, 4).tobytes().hex() == "0123456789abcdef"
    assert (reference.from_bytes(reference.to_bytes(codes, 4), 4) == codes).all()


def assert_within_boundaries(codes, positions, tolerance=1e-5):
    """Codes are the positions rounded; within the tolerance of a boundary between two codes either will do."""
    nearest = np.rint(positions)
    off = np.abs(codes - nearest)
    assert off.max(initial=0) <= 1
    boundary = np.abs(positions - np.floor(positions) - 0.5)
    assert (boundary[off == 1] <= tolerance).all()
