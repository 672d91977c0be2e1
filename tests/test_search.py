"""search: the order of all scores, of every instruction set, exactly."""

import numpy as np
import pytest
import reference
from guarded import guarded, misaligned
from shapes import FEW_FORMATS, QUERIES, ROWS, codec_of, random_codes, vectors

import frazil

BITS = [4, 8, 32]


def check(codec, queries, rows, k, query_bits=8, allow=None, **options):
    """Compare with sorting all of the reference's scores."""
    scores = reference.score_ordered(queries, rows, codec.dim, codec.bits, codec.limit, query_bits)
    allowed = None if allow is None else np.flatnonzero(allow) if np.asarray(allow).dtype == bool else allow
    best_scores, best_rows = reference.search(scores, k, allowed)
    hits = codec.search(queries, rows, k, query_bits=query_bits, allow=allow, **options)
    assert hits.rows.dtype == np.int64
    assert hits.scores.dtype == np.float32
    np.testing.assert_array_equal(hits.rows, best_rows)
    np.testing.assert_array_equal(hits.scores, best_scores)


@pytest.mark.parametrize("query_bits", BITS)
@pytest.mark.parametrize(("dim", "bits"), FEW_FORMATS)
def test_every_k(isa, dim, bits, query_bits):
    codec = codec_of(dim, bits)
    queries, rows = vectors(9, dim), random_codes(600, codec)
    for k in (1, 2, 10, 100, 599, 600, 601, 10**30):
        for q in (1, 9):
            check(codec, queries[:q], rows, k, query_bits)


@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize("codec", [frazil.ARCTIC_INT4, frazil.ARCTIC_INT8], ids=str)
def test_every_number_of_rows_and_queries(isa, codec, n):
    queries, rows = vectors(max(QUERIES), 256), random_codes(n, codec)
    for q in QUERIES:
        check(codec, queries[:q], rows, 10)


@pytest.mark.parametrize("query_bits", BITS)
def test_many_rows(isa, query_bits):
    """More rows than a block, a chunk or the candidates' buffer holds."""
    queries, rows = vectors(10, 256), random_codes(9_000, frazil.ARCTIC_INT4)
    for q in (1, 10):
        for k in (1, 10, 1000):
            check(frazil.ARCTIC_INT4, queries[:q], rows, k, query_bits, threads=1)
            check(frazil.ARCTIC_INT4, queries[:q], rows, k, query_bits, threads=3)


@pytest.mark.parametrize("query_bits", BITS)
@pytest.mark.parametrize("order", ["best last", "best first", "all equal", "few values"])
def test_orders_that_are_hard_on_the_bound(isa, query_bits, order):
    codec = frazil.Codec(16, 4, 0.5)
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 256, (5_000, 8), dtype=np.uint8)
    queries = vectors(9, 16)
    if order == "all equal":
        rows[:] = rows[0]
    elif order == "few values":
        rows = rows[rng.integers(0, 7, len(rows))]
    else:
        rows = rows[np.argsort(codec.score(queries[0], rows), kind="stable")]
        rows = rows[::-1] if order == "best first" else rows
    for k in (1, 10, 300):
        for q in (1, 9):
            check(codec, queries[:q], rows, k, query_bits)


@pytest.mark.parametrize("repeats", [1, 40, 1500])  # 1500: more than a block, so that each score becomes the bound
def test_scores_that_rise_by_the_least_possible(isa, repeats):
    """Whoever is just better than the bound must get in, whoever equals it must not."""
    codec = frazil.Codec(2, 8, 0.9)
    second = np.repeat(np.arange(256 if repeats < 100 else 20), repeats)
    rows = np.stack([np.zeros_like(second), second], axis=1).astype(np.uint8)
    queries = np.array([[127, 1]] * 9, np.float32)  # quantized as they are: a code more is a dot of one more
    assert (reference.quantize_queries(queries, 2, codec.limit, 8)[0] == queries).all()
    for q in (1, 9):
        for k in (1, 2, 10):
            check(codec, queries[:q], rows, k)
            check(codec, -queries[:q], rows[::-1], k)


def test_zero_queries_answer_the_first_rows(isa):
    rows = random_codes(3_000, frazil.ARCTIC_INT4)
    queries = np.zeros((9, 256), np.float32)
    queries[4] = vectors(1, 256)
    for query_bits in BITS:
        check(frazil.ARCTIC_INT4, queries, rows, 7, query_bits)
        check(frazil.ARCTIC_INT4, queries[:1], rows, 7, query_bits)


def test_zero_scores_are_equal_whatever_their_sign(isa):
    codec = frazil.Codec(32, 8)
    query = np.zeros((1, 32), np.float32)
    query[0, [0, 16]], query[0, 1] = 1, 2e-45
    codes = np.zeros((2, 32), np.uint8)
    codes[:, 0], codes[1, 1] = 255, 255
    scores = codec.score(query, codes, query_bits=32)
    assert not scores.any()
    assert not np.signbit(scores).any()
    for k in (1, 2):
        check(codec, query, codes, k, query_bits=32)


def test_scores_that_round_to_the_same_float(isa):
    """Integer sums beyond 2^24 are not all floats: different sums, equal scores, ordered by row."""
    codec = frazil.Codec(4096, 8, 0.05)
    rows = random_codes(700, codec)
    rows[::2] = 0xFF
    rows[np.arange(0, 700, 2), np.arange(350)] -= 1
    queries = np.ones((9, 4096), np.float32)
    scores = reference.score_ordered(queries[:1], rows, 4096, 8, codec.limit, 8)
    assert len(np.unique(scores[0, ::2])) < 350
    for k in (5, 50, 400):
        check(codec, queries, rows, k)
        check(codec, queries[:1], rows, k)


def masks(n):
    rng = np.random.default_rng(5)
    blocks = np.zeros(n, bool)
    blocks[n // 3 : n // 2] = True
    runs = np.repeat(rng.random(n // 50 + 1) < 0.5, 50)[:n]
    one = np.zeros(n, bool)
    one[n // 2] = True
    return {
        "none": np.zeros(n, bool),
        "one": one,
        "1%": rng.random(n) < 0.01,
        "50%": rng.random(n) < 0.5,
        "99%": rng.random(n) < 0.99,
        "all": np.ones(n, bool),
        "all but one": ~one,
        "block": blocks,
        "runs": runs,
    }


@pytest.mark.parametrize("density", masks(100))
@pytest.mark.parametrize("codec", [frazil.ARCTIC_INT4, frazil.Codec(31, 8, 0.5)], ids=str)
def test_allow(isa, codec, density):
    n = 5_000
    queries, rows = vectors(9, 256), random_codes(n, codec)
    mask = masks(n)[density]
    numbers = np.flatnonzero(mask)
    shuffled = np.random.default_rng(1).permutation(np.concatenate([numbers, numbers[::2]]))
    for q, query_bits in ((1, 8), (9, 8), (1, 32), (9, 4)):
        for k in (1, 10, 200):
            check(codec, queries[:q], rows, k, query_bits, allow=mask)
            check(codec, queries[:q], rows, k, query_bits, allow=shuffled)
    check(codec, queries, rows, 10, allow=mask, threads=3)
    check(codec, queries, rows, 10, allow=np.repeat(mask, 3)[1::3])


VIEWS = {
    "every third row": lambda codes: codes[::3, :128],
    "backwards": lambda codes: codes[::-1, 128:],
    "of a wider array": lambda codes: codes[:, :128],
    "every other byte": lambda codes: codes[:, ::2],
    "bytes backwards": lambda codes: codes[:, 127::-1],
    "Fortran order": lambda codes: np.asfortranarray(codes[:, :128]),
    "one row again and again": lambda codes: np.broadcast_to(codes[5, :128], (2_000, 128)),
    "misaligned": lambda codes: misaligned(np.ascontiguousarray(codes[:, 50:178]), 33),
}


@pytest.mark.parametrize("view", VIEWS)
def test_any_strides_of_codes(isa, view):
    wide = np.random.default_rng(0).integers(0, 256, (3_000, 256), dtype=np.uint8)
    rows, queries = VIEWS[view](wide), vectors(9, 256)
    assert rows.shape[1] == 128
    kinds = masks(len(rows))
    for q, query_bits in ((1, 8), (9, 8), (1, 32)):
        check(frazil.ARCTIC_INT4, queries[:q], rows, 10, query_bits, threads=1)
        for density in ("50%", "block", "runs"):
            check(frazil.ARCTIC_INT4, queries[:q], rows, 10, query_bits, allow=kinds[density])
            check(frazil.ARCTIC_INT4, queries[:q], rows, 10, query_bits, allow=np.flatnonzero(kinds[density])[::-1])


def test_allow_of_any_type():
    queries, rows = vectors(2, 256), random_codes(300, frazil.ARCTIC_INT4)
    numbers = np.array([7, 3, 250, 3, 0, 255])
    best = frazil.ARCTIC_INT4.search(queries, rows, 4, allow=numbers)
    for dtype in "bBhHiIlLqQ":
        some = numbers[numbers < 100] if dtype == "b" else numbers
        hits = frazil.ARCTIC_INT4.search(queries, rows, 4, allow=some.astype(dtype))
        assert set(hits.rows.ravel()) <= set(some.tolist())
        if dtype != "b":
            np.testing.assert_array_equal(hits.rows, best.rows)
    np.testing.assert_array_equal(frazil.ARCTIC_INT4.search(queries, rows, 4, allow=numbers.tolist()).rows, best.rows)
    np.testing.assert_array_equal(frazil.ARCTIC_INT4.search(queries, rows, 4, allow=numbers[::-1]).rows, best.rows)
    assert frazil.ARCTIC_INT4.search(queries, rows, 4, allow=[]).rows.shape == (2, 0)
    mask = np.zeros(600, bool)
    mask[2 * numbers] = True
    np.testing.assert_array_equal(frazil.ARCTIC_INT4.search(queries, rows, 4, allow=mask[::2]).rows, best.rows)


def test_rows_that_are_not_allowed_are_not_read(isa):
    """The allowed rows end where memory does: the rest of the array, by its shape, lies behind."""
    codec = frazil.ARCTIC_INT4
    there = guarded(random_codes(100, codec))
    beyond = np.lib.stride_tricks.as_strided(there, (5_000, 128), (128, 1), writeable=False)
    queries = vectors(9, 256)
    for q in (1, 9):
        right = codec.search(queries[:q], there, 5)
        for allow in (np.arange(100), np.arange(5_000) < 100):
            hits = codec.search(queries[:q], beyond, 5, allow=allow)
            np.testing.assert_array_equal(hits.rows, right.rows)


def test_buffers_that_end_at_the_allocation(isa):
    for dim, bits in FEW_FORMATS:
        codec = codec_of(dim, bits)
        for n in (1, 17, 600):
            rows = guarded(random_codes(n, codec))
            for q in (1, 9):
                for query_bits in BITS:
                    check(codec, guarded(vectors(q, dim)), rows, 5, query_bits)


def test_a_single_query(isa):
    queries, rows = vectors(2, 768), random_codes(50, frazil.ARCTIC_INT4)
    hits, both = frazil.ARCTIC_INT4.search(queries[1], rows, 3), frazil.ARCTIC_INT4.search(queries, rows, 3)
    assert hits.rows.shape == hits.scores.shape == (3,)
    np.testing.assert_array_equal(hits.rows, both.rows[1])
    np.testing.assert_array_equal(
        frazil.ARCTIC_INT4.score(queries[1], rows), frazil.ARCTIC_INT4.score(queries, rows)[1]
    )


def test_memory_maps(isa, tmp_path):
    rows = random_codes(500, frazil.ARCTIC_INT4)
    rows.tofile(tmp_path / "codes")
    mapped = np.memmap(tmp_path / "codes", np.uint8, "r", shape=(500, 128))
    check(frazil.ARCTIC_INT4, vectors(9, 256), mapped, 10)


def test_real_embeddings(collections):
    """The search that users do: nearest documents of real queries, compared with the reference's order."""
    for _, documents, queries in collections:
        rows = frazil.ARCTIC_INT4.pack(documents)
        check(frazil.ARCTIC_INT4, queries[:50], rows, 10)
