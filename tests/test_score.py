"""score: every instruction set against the reference, bit for bit."""

import ml_dtypes
import numpy as np
import pytest
import reference
from guarded import Canaries, guarded, misaligned
from shapes import FEW_FORMATS, FORMATS, QUERIES, ROWS, codec_of, random_codes, vectors

import frazil

BITS = [4, 8, 32]


def expected(codec, queries, rows, query_bits):
    return reference.score_ordered(queries, rows, codec.dim, codec.bits, codec.limit, query_bits)


@pytest.mark.parametrize("query_bits", BITS)
@pytest.mark.parametrize(("dim", "bits"), FORMATS)
def test_every_width(isa, dim, bits, query_bits):
    codec = codec_of(dim, bits)
    queries, rows = vectors(9, dim + 1), random_codes(35, codec)
    right = expected(codec, queries, rows, query_bits)
    for q in (1, 3, 9):  # few: rows where they lie; many: tiles
        np.testing.assert_array_equal(codec.score(queries[:q], rows, query_bits=query_bits), right[:q])


@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize(("dim", "bits"), [(256, 4), (30, 4), (256, 8), (31, 8)])
def test_every_number_of_rows_and_queries(isa, dim, bits, n):
    codec = codec_of(dim, bits)
    queries, rows = vectors(max(QUERIES), dim), random_codes(n, codec)
    for query_bits in BITS:
        right = expected(codec, queries, rows, query_bits)
        for q in QUERIES:
            scores = codec.score(queries[:q], rows, query_bits=query_bits)
            assert scores.shape == (q, n)
            assert scores.dtype == np.float32
            np.testing.assert_array_equal(scores, right[:q])


@pytest.mark.parametrize("query_bits", BITS)
@pytest.mark.parametrize(("dim", "bits"), FORMATS)
def test_buffers_that_end_at_the_allocation(isa, dim, bits, query_bits):
    codec = codec_of(dim, bits)
    queries, rows = vectors(9, dim), random_codes(17, codec)
    right = expected(codec, queries, rows, query_bits)
    for at_end in (True, False):
        there = guarded(rows, at_end=at_end)
        for q in (1, 9):
            scores = Canaries((q, 17), np.float32)
            codec.score(guarded(queries[:q], at_end=at_end), there, query_bits=query_bits, out=scores.array)
            scores.check()
            np.testing.assert_array_equal(scores.array, right[:q])


@pytest.mark.parametrize("codec", [frazil.ARCTIC_INT4, frazil.ARCTIC_INT8], ids=str)
def test_any_alignment_and_strides(isa, codec):
    queries, rows = vectors(9, 256), random_codes(40, codec)
    wide = np.concatenate([rows, rows[::-1]], axis=1)
    for query_bits in BITS:
        right = expected(codec, queries, rows, query_bits)
        for q in (1, 9):
            for offset in (1, 2, 3, 4, 8, 15, 16, 31, 32, 33, 63):
                scores = codec.score(queries[:q], misaligned(rows, offset), query_bits=query_bits)
                np.testing.assert_array_equal(scores, right[:q])
            views = {
                "every third": (rows[::3], right[:q, ::3]),
                "backwards": (rows[::-1], right[:q, ::-1]),
                "of a wider array": (wide[:, : codec.row_bytes], right[:q]),
                "again and again": (np.broadcast_to(rows[5], (33, codec.row_bytes)), right[:q, [5] * 33]),
                "Fortran order": (np.asfortranarray(rows), right[:q]),
            }
            for view, (some, wanted) in views.items():
                np.testing.assert_array_equal(codec.score(queries[:q], some, query_bits=query_bits), wanted, view)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("query_bits", BITS)
def test_queries_of_any_type_and_size(isa, dtype, query_bits):
    rows = random_codes(20, frazil.ARCTIC_INT4)
    for size in [1.0] if dtype == np.float16 else [1e-30, 1.0, 1e30]:
        queries = (vectors(9, 300) * size).astype(dtype)
        queries[4] = 0
        right = expected(frazil.ARCTIC_INT4, queries, rows, query_bits)
        np.testing.assert_array_equal(frazil.ARCTIC_INT4.score(queries, rows, query_bits=query_bits), right)
        np.testing.assert_array_equal(
            frazil.ARCTIC_INT4.score(queries[:, ::-1], rows),
            expected(frazil.ARCTIC_INT4, np.ascontiguousarray(queries[:, ::-1]), rows, 8),
        )


@pytest.mark.parametrize("query_bits", BITS)
def test_queries_of_bfloat16(isa, query_bits):
    codec = frazil.ARCTIC_INT4
    rows, plain = random_codes(20, codec), vectors(18, 300)
    brain = plain.astype(ml_dtypes.bfloat16)
    scores = codec.score(brain, rows, query_bits=query_bits)
    np.testing.assert_array_equal(scores, expected(codec, brain.astype(np.float32), rows, query_bits))


@pytest.mark.parametrize("query_bits", BITS)
def test_queries_of_any_alignment_and_strides(isa, query_bits):
    codec = frazil.ARCTIC_INT8
    rows = random_codes(20, codec)
    for dtype in (np.float32, np.float16, np.float64):
        plain = vectors(18, 600, dtype=dtype)
        views = [plain[::-1], plain[::2], plain[:, ::2], plain[:, 300::-1], np.asfortranarray(plain), plain[:, 77:]]
        views += [np.broadcast_to(plain[3], (9, 600)), plain.astype(plain.dtype.newbyteorder())]
        views += [misaligned(plain[:9], offset) for offset in (1, 2, 3, 7, 31, 33, 63)]
        for view in views:
            right = expected(codec, np.ascontiguousarray(view).astype(dtype), rows, query_bits)
            np.testing.assert_array_equal(codec.score(view, rows, query_bits=query_bits), right)


def test_queries_at_rounding_boundaries():
    """Of whole numbers, whose 127ths of the largest are often ties; some turn on how 127 / m is rounded."""
    codec = frazil.Codec(128, 8, 0.5)
    largest = np.arange(2, 600)[:, None]
    for dtype in (np.float32, np.float64):
        queries = (np.random.default_rng(0).integers(-600, 600, (len(largest), 128)) % (largest + 1)).astype(dtype)
        queries[:, 0] = largest[:, 0]
        at_once = np.rint(queries * 127.0 / largest)
        assert (reference.quantize_queries(queries, 128, codec.limit, 8)[0] != at_once).any()
        rows = random_codes(20, codec)
        for q in (1, 7, len(queries)):
            np.testing.assert_array_equal(codec.score(queries[:q], rows), expected(codec, queries[:q], rows, 8))


def test_float_queries_at_rounding_boundaries():
    """Of two numbers, the first of which, over the norm, lies between two floats: the last bit of a double decides."""
    codec, rng = frazil.Codec(2, 8, 0.5), np.random.default_rng(0)
    between = (rng.integers(2**23, 2**24, 500) * 2 + 1) / 2**25  # 0.5 to 1, halfway between neighbouring floats
    second = rng.uniform(0.5, 2, 500)
    queries = np.stack([between * np.sqrt(second**2 / (1 - between**2)), second], axis=1)
    queries = np.concatenate([queries] * 5)
    queries[:, 0] += np.repeat(np.arange(-2, 3), 500) * np.spacing(queries[:, 0])
    norms = np.sqrt(np.sum(queries**2, axis=1, keepdims=True))
    floats = reference.quantize_queries(queries, 2, codec.limit, 32)[0]
    assert ((queries * (1 / norms)).astype(np.float32) != floats).any()
    rows = np.array([[255, 128], [128, 255], [0, 127]], np.uint8)
    scores = codec.score(queries, rows, query_bits=32)
    np.testing.assert_array_equal(scores, expected(codec, queries, rows, 32))


def test_scales_at_rounding_boundaries():
    """Limits that bring the scale of all scores between two floats, where the last bit of a double decides."""
    rng, ways = np.random.default_rng(0), set()
    between = (rng.integers(2**23, 2**24, 60) * 2 + 1) / 2**25 / 2**14
    for bits, query_bits in ((4, 4), (8, 4), (4, 8), (8, 8)):
        queries, rows = vectors(1, 16), random_codes(5, frazil.Codec(16, bits))
        levels, largest, norm = 2**bits - 1, np.abs(queries).max().astype(float), np.linalg.norm(queries.astype(float))
        for scale in between:
            exact = np.sqrt(scale * 15 * levels) if query_bits == 4 else scale * levels * norm * 127 / largest
            for limit in (exact + np.arange(-3, 4) * np.spacing(exact)).tolist():
                codec = frazil.Codec(16, bits, limit)
                right = expected(codec, queries, rows, query_bits)
                np.testing.assert_array_equal(codec.score(queries, rows, query_bits=query_bits), right)
                s = reference.quantize_queries(queries, 16, limit, query_bits)[1][0]
                other = limit * (1 / 15) if query_bits == 4 else largest / 127 / norm
                if np.float32(s * (limit / levels)) != np.float32(other * (limit / levels)):
                    ways.add((bits, query_bits))
    assert len(ways) == 4, "limits that tell no order of operations from another"


def test_zero_queries_score_zero(isa):
    rows = random_codes(20, frazil.ARCTIC_INT4)
    zero = np.zeros((1, 256), np.float32)
    assert (frazil.ARCTIC_INT4.score(zero, rows, query_bits=8) == 0).all()
    assert (frazil.ARCTIC_INT4.score(zero, rows, query_bits=32) == 0).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_the_largest_sums(isa, bits):
    """All codes and all query entries at their extremes: the most that 16- and 32-bit lanes must hold."""
    for dim in (32, 256, 1024, 4096):
        codec = frazil.Codec(dim, bits, 0.5)
        queries = np.stack([np.ones(dim), -np.ones(dim), np.tile([1, -1], dim // 2)] * 3).astype(np.float32)
        rows = np.stack([np.full(codec.row_bytes, value, np.uint8) for value in (0, 0xFF, 0xF0, 0x0F, 0x80)])
        for query_bits in BITS:
            for q in (1, 9):
                scores = codec.score(queries[:q], rows, query_bits=query_bits)
                np.testing.assert_array_equal(scores, expected(codec, queries[:q], rows, query_bits))


@pytest.mark.parametrize(("dim", "bits"), [(256, 4), (258, 4), (512, 4), (128, 8), (131, 8), (1024, 8)])
def test_sums_that_just_fit_into_16_bits(isa, dim, bits):
    """Entries of one sign and uneven size against the largest codes: sums that reach 32,767 at any place, or nearly."""
    random = np.random.default_rng([dim, bits])
    codec, n = frazil.Codec(dim, bits, 0.5), 240
    # Whole numbers with 127 among them are quantized as they are. Every fourth dimension, or every second, may be loud.
    sizes = random.integers(1, 128, (n, -(-dim // 32))).repeat(32, axis=1)[:, :dim]
    sizes = np.where(
        np.arange(dim) // random.choice([1, 2, 4], (n, 1)) % 2 == 0, sizes, random.integers(0, 128, (n, 1))
    )
    queries = sizes * random.choice([-1, 1], (n, 1))
    queries[:, random.integers(dim)] = 127 * random.choice([-1, 1], n)
    rows = np.stack([np.full(codec.row_bytes, value, np.uint8) for value in (0xFF, 0xF0, 0x0F)] * 6)
    for q in (6, n):
        scores = codec.score(queries[:q].astype(np.float32), rows)
        np.testing.assert_array_equal(scores, expected(codec, queries[:q].astype(np.float32), rows, 8))


@pytest.mark.parametrize(("dim", "bits"), [(256, 4), (258, 4), (512, 4), (128, 8), (131, 8), (1024, 8)])
def test_sums_of_like_queries_that_just_fit_into_16_bits(isa, dim, bits):
    """The same of queries that are equally large, so that none of them alone says how much fits: of each size."""
    random = np.random.default_rng([dim, bits])
    codec, n = frazil.Codec(dim, bits, 0.5), 12
    rows = np.stack([np.full(codec.row_bytes, value, np.uint8) for value in (0xFF, 0xF0, 0x0F)] * 6)
    for size in range(1, 128):
        # Whole numbers with 127 among them are quantized as they are. Every fourth dimension, or every second, or each
        # is as large.
        loud = np.arange(dim) // random.choice([1, 2, 4, dim], (n, 1)) % 2 == 0
        queries = np.where(loud, size, random.integers(0, size + 1, (n, 1))) * random.choice([-1, 1], (n, 1))
        queries[:, random.integers(dim)] = 127 * random.choice([-1, 1], n)
        queries = queries.astype(np.float32)
        np.testing.assert_array_equal(codec.score(queries, rows), expected(codec, queries, rows, 8))


@pytest.mark.parametrize(("dim", "bits"), FEW_FORMATS)
def test_scores_are_the_exact_integer_formula(dim, bits):
    codec = codec_of(dim, bits)
    queries, documents = vectors(20, dim), vectors(200, dim, seed=1)
    rows = codec.pack(documents)
    for query_bits in (4, 8):
        q, s = reference.quantize_queries(queries, dim, codec.limit, query_bits)
        exact = reference.integer_score(q, s, rows, bits, codec.limit)
        scores = codec.score(queries, rows, query_bits=query_bits)
        np.testing.assert_allclose(scores, exact, atol=2e-6, rtol=0)
    exact = reference.score(queries, rows, dim, bits, codec.limit)
    np.testing.assert_allclose(codec.score(queries, rows, query_bits=32), exact, atol=2e-6, rtol=0)


def test_scores_of_real_embeddings_are_the_exact_integer_formula(collections):
    for codec in (frazil.ARCTIC_INT4, frazil.ARCTIC_INT8):
        for _, documents, queries in collections:
            rows, some = codec.pack(documents[:5000]), queries[:100]
            for query_bits in (4, 8):
                q, s = reference.quantize_queries(some, 256, codec.limit, query_bits)
                exact = reference.integer_score(q, s, rows, codec.bits, codec.limit)
                scores = codec.score(some, rows, query_bits=query_bits)
                np.testing.assert_allclose(scores, exact, atol=2e-6, rtol=0)


def test_quality_on_real_embeddings(collections):
    """8-bit queries order documents as float queries do, nearly always."""
    for _, documents, queries in collections:
        rows = frazil.ARCTIC_INT4.pack(documents)
        eight = frazil.ARCTIC_INT4.search(queries[:200], rows, 10).rows
        floats = frazil.ARCTIC_INT4.search(queries[:200], rows, 10, query_bits=32).rows
        shared = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(eight, floats, strict=True)])
        assert shared > 0.98
