"""The format does not change: golden bytes, for the kernels and for the reference."""

import golden
import numpy as np
import pytest
import reference

import frazil


@pytest.mark.parametrize("name", golden.CODES)
def test_golden_codes(isa, name):
    x, dim, bits, limit = golden.vectors()[name]
    assert frazil.Codec(dim, bits, limit).pack(x).tobytes().hex() == golden.CODES[name]
    assert reference.pack_ordered(x, dim, bits, limit).tobytes().hex() == golden.CODES[name]


@pytest.mark.parametrize("name", golden.SCORES)
def test_golden_scores(isa, name):
    queries, rows, dim, bits, limit, query_bits = golden.scorings()[name]
    codec = frazil.Codec(dim, bits, limit)
    right = np.frombuffer(bytes.fromhex(golden.SCORES[name]), "<f4").reshape(2, 3)
    np.testing.assert_array_equal(codec.score(queries, rows, query_bits=query_bits), right)
    np.testing.assert_array_equal(reference.score_ordered(queries, rows, dim, bits, limit, query_bits), right)
    hits = codec.search(np.repeat(queries, 5, axis=0), rows, k=3, query_bits=query_bits)  # by tiles
    np.testing.assert_array_equal(hits.scores, np.repeat(-np.sort(-right, axis=1), 5, axis=0))


def test_all_golden_figures_are_tested():
    assert golden.CODES.keys() == golden.vectors().keys()
    assert golden.SCORES.keys() == golden.scorings().keys()


def test_the_recipe_by_hand():
    """Small enough to do on paper: docs/format.md's own numbers."""
    codec = frazil.Codec(4, 4, 0.75)  # a step is 0.1, codes 0 … 15 stand for -0.75, -0.65 … 0.75
    assert codec.step == pytest.approx(0.1)
    # (3, 4, 0, 0) / 5 = 0.6, 0.8, 0, 0 -> 13.5 steps from the lowest: a tie, to the even 14; clipped 15; 7.5 -> 8
    assert codec.pack(np.array([[3, 4, 0, 0]], np.float64)).tobytes().hex() == "ef88"
    assert codec.pack(np.array([[0, -1, 0, 0]], np.float32)).tobytes().hex() == "8088"
    np.testing.assert_allclose(
        codec.unpack(np.array([[0x0F, 0x80]], np.uint8)), [[-0.75, 0.75, 0.05, -0.75]], atol=1e-7
    )
