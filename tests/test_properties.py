"""What must hold for any input."""

import numpy as np
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_reference import assert_within_boundaries

import frazil

settings.register_profile("frazil", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("frazil")


@st.composite
def codecs(draw, bits=(4, 8)):
    width = draw(st.sampled_from(bits))
    dim = draw(st.integers(1, 80)) * 2 + (0 if width == 4 else draw(st.integers(0, 1)))
    return frazil.Codec(dim, width, draw(st.floats(0.01, 1.0)))


def floats(dtype):
    width = np.dtype(dtype).itemsize * 8
    return st.floats(allow_nan=False, allow_infinity=False, width=width)


@st.composite
def matrices(draw, columns, dtype=np.float32, most=20):
    shape = (draw(st.integers(0, most)), columns + draw(st.integers(0, 3)))
    return draw(hnp.arrays(dtype, shape, elements=floats(dtype)))


@st.composite
def collections(draw):
    """A codec, random codes with many repetitions, and random queries."""
    codec = draw(codecs())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, q = draw(st.integers(0, 400)), draw(st.integers(0, 20))
    kinds = rng.integers(0, 256, (draw(st.integers(1, 50)), codec.row_bytes), dtype=np.uint8)
    codes = kinds[rng.integers(0, len(kinds), n)]
    return codec, codes, rng.standard_normal((q, codec.dim)).astype(np.float32), rng


@given(st.data(), codecs(), st.sampled_from([np.float16, np.float32, np.float64]))
def test_any_finite_input_packs_by_the_formula(data, codec, dtype):
    x = data.draw(matrices(codec.dim, dtype))
    codes = codec.pack(x)
    np.testing.assert_array_equal(codes, reference.pack_ordered(x, codec.dim, codec.bits, codec.limit))
    positions = reference.positions(x, codec.dim, codec.bits, codec.limit)
    assert_within_boundaries(reference.from_bytes(codes, codec.bits).astype(int), positions)


@given(st.data(), codecs(), st.sampled_from([(np.float32, 100), (np.float64, 1_000)]))
def test_packing_does_not_see_powers_of_two(data, codec, kind):
    dtype, most = kind  # halves of exponents so far from the ends that scaling them is exact
    x = data.draw(hnp.arrays(dtype, (5, codec.dim), elements=st.floats(-1, 1, width=16)))
    exponent = data.draw(st.integers(-most, most))
    np.testing.assert_array_equal(codec.pack(x), codec.pack(np.ldexp(x, exponent)))


@given(st.data(), codecs(), st.floats(1e-300, 1e300))
def test_packing_does_not_see_any_positive_factor(data, codec, factor):
    """Except where a value lies on the boundary of two codes: there a rounded factor may decide."""
    x = data.draw(hnp.arrays(np.float64, (5, codec.dim), elements=st.integers(-1_000, 1_000).map(float)))
    positions = reference.positions(x, codec.dim, codec.bits, codec.limit)
    for scaled in (x, x * factor):
        codes = reference.from_bytes(codec.pack(scaled), codec.bits).astype(int)
        assert_within_boundaries(codes, positions, tolerance=1e-9)


@given(st.data(), codecs())
def test_values_beyond_the_kept_are_not_seen(data, codec):
    x = data.draw(matrices(codec.dim))
    more = data.draw(hnp.arrays(np.float32, (len(x), 4), elements=st.floats(width=32)))  # NaN and infinities too
    np.testing.assert_array_equal(codec.pack(np.hstack([x[:, : codec.dim], more])), codec.pack(x))


@given(st.data(), codecs())
def test_halves_pack_as_the_floats_that_they_are(data, codec):
    x = data.draw(matrices(codec.dim, np.float16))
    np.testing.assert_array_equal(codec.pack(x), codec.pack(x.astype(np.float32)))


@given(st.data(), codecs())
def test_rows_do_not_see_each_other(data, codec):
    x = data.draw(matrices(codec.dim))
    codes = codec.pack(x)
    for row, code in zip(x, codes, strict=True):
        np.testing.assert_array_equal(codec.pack(row), code)


@given(collections())
def test_decoded_values_lie_on_the_grid(collection):
    codec, codes, _, _ = collection
    values = codec.unpack(codes)
    assert np.abs(values).max(initial=0) <= codec.limit * (1 + 1e-6)
    steps = values.astype(np.float64) / codec.step + codec.levels / 2
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    np.testing.assert_array_equal(np.rint(steps), reference.from_bytes(codes, codec.bits))


@given(collections(), st.integers(1, 500), st.sampled_from([4, 8, 32]))
def test_search_is_sorting_all_scores(collection, k, query_bits):
    codec, codes, queries, _ = collection
    scores, rows = reference.search(codec.score(queries, codes, query_bits=query_bits), k)
    hits = codec.search(queries, codes, k, query_bits=query_bits)
    np.testing.assert_array_equal(hits.rows, rows)
    np.testing.assert_array_equal(hits.scores, scores)


@given(collections(), st.integers(1, 50), st.floats(0, 1))
def test_allowing_rows_is_searching_them_alone(collection, k, density):
    codec, codes, queries, rng = collection
    mask = rng.random(len(codes)) < density
    numbers = np.flatnonzero(mask)
    alone = codec.search(queries, codes[mask], k)
    for allow in (mask, rng.permutation(numbers), np.repeat(numbers, 2).astype(np.int32)):
        hits = codec.search(queries, codes, k, allow=allow)
        np.testing.assert_array_equal(hits.rows, numbers[alone.rows])
        np.testing.assert_array_equal(hits.scores, alone.scores)


@given(collections(), st.integers(1, 50), st.integers(0, 400))
def test_searching_two_parts_and_merging(collection, k, cut):
    codec, codes, queries, _ = collection
    left, right = codec.search(queries, codes[:cut], k), codec.search(queries, codes[cut:], k)
    scores = np.hstack([left.scores, right.scores])
    rows = np.hstack([left.rows, right.rows + min(cut, len(codes))])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # rows of the left part come first among equals
    np.testing.assert_array_equal(codec.search(queries, codes, k).rows, np.take_along_axis(rows, order, 1))


@given(st.data(), codecs(bits=(4,)))
def test_the_symmetric_score_is_symmetric(data, codec):
    a, b = data.draw(matrices(codec.dim)), data.draw(matrices(codec.dim))
    there, back = codec.score(a, codec.pack(b), query_bits=4), codec.score(b, codec.pack(a), query_bits=4)
    np.testing.assert_array_equal(there, back.T)
