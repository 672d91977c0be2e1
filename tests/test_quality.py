"""What codes cost: figures against independent libraries, and sense on data that has none. Needs NumPy alone."""

import json
import warnings

import numpy as np
import pytest

import frazil
from frazil import Codec
from frazil.quality import Estimate, Sample, nearest, report


def vectors(count, dim=64, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)


def cosines(queries, documents, dim):
    queries, documents = (x[:, :dim].astype(np.float64) for x in (queries, documents))
    return (queries / np.linalg.norm(queries, axis=1)[:, None]) @ (
        documents / np.linalg.norm(documents, axis=1)[:, None]
    ).T


@pytest.mark.parametrize("query_bits", [4, 8, 32])
@pytest.mark.parametrize("bits", [4, 8])
def test_report_against_its_definitions(bits, query_bits):
    """All in float64, from full matrices of scores."""
    documents, queries = vectors(700), vectors(40, seed=1)
    codec = Codec(48, bits, 0.4)
    found = codec.report(documents, queries, ks=(1, 7, 50), query_bits=query_bits)
    codes = codec.pack(documents)
    scores = codec.score(queries, codes, query_bits=query_bits)
    for dim, recalls in ((48, found.recall), (64, found.recall_uncut)):
        true = cosines(queries, documents, dim)
        for k, estimate in recalls.items():
            wanted = np.argsort(-true, axis=1, kind="stable")[:, :k]
            given = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            shared = [len(np.intersect1d(a, b)) / k for a, b in zip(wanted, given, strict=True)]
            assert estimate.mean == pytest.approx(np.mean(shared), abs=1e-12)
            assert estimate.low <= estimate.mean <= estimate.high
    kept = documents[:, :48].astype(np.float64)
    kept /= np.linalg.norm(kept, axis=1)[:, None]
    assert found.clip_rate == pytest.approx((np.abs(kept) > 0.4).mean())
    assert found.largest == pytest.approx(np.abs(kept).max())
    assert found.value_error == pytest.approx(np.sqrt(np.mean((codec.unpack(codes) - kept) ** 2)), rel=1e-5)
    errors = scores - cosines(queries, documents, 48)
    assert found.score_error == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-3)
    assert (found.rows, found.queries, found.query_bits, found.codec) == (700, 40, query_bits, codec)
    assert list(found.recall) == list(found.recall_uncut) == [1, 7, 50]


def test_intervals_are_wilsons():
    """For proportions they are Wilson's own: here by hand for 8 of 10, from the formula as Wikipedia and R have it."""
    estimate = Estimate.of(np.array([1.0] * 8 + [0.0] * 2))
    z, n, p = 1.959963984540054, 10, 0.8
    middle, half = (p + z * z / (2 * n)), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # The variance of a sample has n - 1 below it, so that a proportion counts as a little fewer trials, but never fewer
    # than there are.
    assert estimate == pytest.approx(
        (p, (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)), abs=1e-5
    )
    assert Estimate.of(np.ones(5)) == pytest.approx((1, 0.5655, 1), abs=1e-3)
    assert Estimate.of(np.zeros(1))[:2] == (0, 0)


@pytest.mark.parametrize(("count", "k"), [(200, 10), (20, 10), (30, 1)])
def test_intervals_hold_the_mean(count, k):
    """Of 2,000 samples of queries, some 95% have the true mean in their interval."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        ability = random.beta(18, 2, count)  # queries differ; their mean is 0.9
        low, high = Estimate.of(random.binomial(k, ability) / k)[1:]
        held += low <= 0.9 <= high
    assert 0.93 <= held / 2000 <= 0.995


def test_held_out_rows_are_not_found():
    sample = vectors(500)
    held = Sample(sample, seed=3)
    assert (len(held.documents), len(held.queries)) == (450, 50)
    assert len(np.unique(np.concatenate((held.documents, held.queries)), axis=0)) == 500
    codec = Codec(64)
    assert codec.report(sample, seed=3) == report(codec, held)
    assert codec.report(sample, seed=3) == codec.report(sample, seed=3)
    assert codec.report(sample, seed=3) != codec.report(sample, seed=4)


def test_eight_bits_cost_less_than_four_and_they_less_than_one_dimension():
    documents, queries = vectors(3000, 256), vectors(100, 256, 1)
    recalls = [
        codec.report(documents, queries).recall_uncut[10].mean for codec in (Codec(256, 8), Codec(256), Codec(64))
    ]
    assert recalls[0] > recalls[1] > recalls[2]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_types(dtype):
    found = Codec(64).report(vectors(300).astype(dtype))
    assert found.recall[10].mean > 0.7


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    sample = vectors(300)
    rounded = sample.astype(ml_dtypes.bfloat16)
    assert Codec(64).report(rounded) == Codec(64).report(rounded.astype(np.float32))


ODD = {
    "constant": np.ones((50, 64), np.float32),
    "zeros": np.zeros((50, 64), np.float32),
    "one cluster": np.ones((200, 64), np.float32) + 1e-4 * vectors(200),
    "axes": np.eye(64, dtype=np.float32),
    "two rows": vectors(2),
    "huge": vectors(50) * np.float32(1e30),
    "tiny": vectors(50) * np.float32(1e-30),
    "copies": np.repeat(vectors(5), 20, axis=0),
    "one dimension large": vectors(100) * np.where(np.arange(64) == 3, 1000, 1).astype(np.float32),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_data(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Codec(64).report(ODD[name])
    numbers = [found.clip_rate, found.largest, found.value_error, found.score_error]
    numbers += [number for recall in (found.recall, found.recall_uncut) for one in recall.values() for number in one]
    assert np.isfinite(numbers).all()
    assert min(numbers) >= 0
    assert max(number for one in found.recall.values() for number in one) <= 1
    assert str(found)


@pytest.mark.parametrize("scale", [1e-310, 1e300])
def test_the_size_of_vectors_does_not_matter(scale):
    x = vectors(300).astype(np.float64)
    found, scaled = Codec(64).report(x), Codec(64).report(x * scale)
    assert scaled.largest == pytest.approx(found.largest, rel=1e-6)
    assert scaled.value_error == pytest.approx(found.value_error, rel=1e-4)


def test_copies_stand_for_each_other():
    """Each of five vectors twenty times: any twenty copies of the nearest are the right answer."""
    for name in ("constant", "zeros", "copies"):
        found = Codec(64).report(ODD[name], ks=(1, 10))
        assert {one.mean for one in found.recall.values()} == {1.0}, name


def test_warnings_about_limits():
    sample = vectors(500, 256)
    assert Codec(256).report(sample).warnings == []
    assert Codec(256, 8).report(sample).warnings == []
    (text,) = Codec(256, 4, 0.05).report(sample).warnings
    assert "0.05 is too small" in text
    (text,) = Codec(256, 4, 2).report(sample).warnings
    assert "2 is too large" in text
    (text,) = Codec(64).report(ODD["axes"]).warnings  # few values are clipped, but they are all that there is
    assert "too small" in text
    assert f"Warning: {text}" in str(Codec(64).report(ODD["axes"]))


@pytest.mark.parametrize(
    ("sample", "options", "error", "text"),
    [
        (np.zeros((1, 64), np.float32), {}, ValueError, "at least 2 rows"),
        (np.zeros((0, 64), np.float32), {}, ValueError, "at least 2 rows"),
        (np.zeros(64, np.float32), {}, ValueError, r"\(n, d\)"),
        (np.zeros((9, 63), np.float32), {}, ValueError, "d >= 64"),
        (np.zeros((9, 64), np.int64), {}, TypeError, "int64"),
        ([["a"]], {}, TypeError, "sample"),
        (np.full((9, 64), np.nan, np.float32), {}, ValueError, "row 0 holds NaN"),
        (np.where(np.arange(9)[:, None] == 4, np.inf, vectors(9)), {}, ValueError, "row 4 holds NaN or inf"),
        (vectors(9), {"queries": vectors(0)}, ValueError, "queries: expected at least 1"),
        (vectors(9), {"queries": vectors(3, 65)}, ValueError, "queries: expected 64"),
        (vectors(0), {"queries": vectors(3)}, ValueError, "sample: expected at least 1"),
        (vectors(9), {"ks": ()}, ValueError, "ks"),
        (vectors(9), {"ks": (0,)}, ValueError, "ks"),
        (vectors(9), {"ks": ("a",)}, TypeError, "ks"),
        (vectors(9), {"query_bits": 5}, ValueError, "query_bits"),
        (vectors(9), {"threads": 0}, ValueError, "threads"),
    ],
)
def test_wrong_input(sample, options, error, text):
    with pytest.raises(error, match=text):
        Codec(64).report(sample, **options)


def test_fewer_rows_than_asked_for():
    found = Codec(64).report(vectors(9), vectors(2, seed=1), ks=(1, 10, 100))
    assert list(found.recall) == [1, 9]
    assert found.recall[9].mean == 1


@pytest.mark.parametrize("count", [1, 7, 8, 9, 25])
def test_nearest_in_blocks(monkeypatch, count):
    monkeypatch.setattr(nearest, "_BLOCK", 8)
    documents, queries = vectors(count).astype(np.float16), vectors(5, seed=1)
    for k in {1, min(3, count), count}:
        scores, rows = nearest.nearest(queries, documents, 40, k)
        wanted = np.argsort(-cosines(queries, documents, 40), axis=1, kind="stable")[:, :k]
        assert np.array_equal(rows, wanted)
        assert scores == pytest.approx(np.take_along_axis(cosines(queries, documents, 40), wanted, 1), abs=1e-6)


def test_real_embeddings(collections):
    """What ARCTIC_INT4 costs on real text: docs/quality.md's table is of the same data."""
    for name, documents, queries in collections:
        found = frazil.ARCTIC_INT4.report(documents, queries[:200])
        assert 0.88 < found.recall[10].mean < 0.96, name
        assert found.warnings == [], name
        assert json.dumps(found.recall[10]._asdict())
