"""Refined codes: every instruction set against the reference, bit for bit; and that they are better."""

import functools

import ml_dtypes
import numpy as np
import pytest
import reference
from guarded import Canaries, guarded
from shapes import FEW_FORMATS, FORMATS, ROWS, codec_of, vectors

import frazil

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def metric_of(dim, seed=0):
    """A metric of a few strong directions and a floor, as real ones are."""
    rng = np.random.default_rng([seed, dim])
    directions = rng.standard_normal((min(dim, 8), dim))
    return frazil.Metric(directions.T @ directions / len(directions) + 0.3 * np.eye(dim))


def matrix_of(metric):
    return None if metric is None else metric.matrix


def expected(codec, x, metric=None):
    wide = x.astype(np.float32) if x.dtype == ml_dtypes.bfloat16 else x
    return reference.refine_ordered(wide, codec.dim, codec.bits, codec.limit, matrix_of(metric))


def losses(codec, x, codes, metric=None):
    return reference.loss(x.astype(np.float64), codes, codec.dim, codec.bits, codec.limit, matrix_of(metric))


def assert_lower(before, after, moves):
    """Each row's loss is lower if a code has moved, and the same if none has."""
    assert (after[moves > 0] < before[moves > 0]).all()
    np.testing.assert_array_equal(after[moves == 0], before[moves == 0])


@functools.cache
def case(dim, bits, dtype, by_metric):
    """Return a codec, vectors, the metric or None, the right codes and how many moves each row takes."""
    codec, x, metric = codec_of(dim, bits), vectors(9, dim + 3, dtype=dtype), metric_of(dim) if by_metric else None
    return codec, x, metric, *expected(codec, x, metric)


@pytest.mark.parametrize(("dim", "bits"), FORMATS)
def test_every_width(isa, dim, bits):
    codec, x, _, right, moves = case(dim, bits, np.float32, False)
    np.testing.assert_array_equal(codec.pack(x, refine=True), right)
    assert_lower(losses(codec, x, codec.pack(x)), losses(codec, x, right), moves)
    assert dim < 64 or moves.any()


@pytest.mark.parametrize("by_metric", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("dim", "bits"), FEW_FORMATS)
def test_every_type(isa, dim, bits, dtype, by_metric):
    codec, x, metric, right, moves = case(dim, bits, dtype, by_metric)
    np.testing.assert_array_equal(codec.pack(x, refine=metric or True), right)
    assert_lower(losses(codec, x, codec.pack(x), metric), losses(codec, x, right, metric), moves)


@pytest.mark.parametrize("n", ROWS)
def test_every_number_of_rows_and_threads(isa, n):
    codec, x, metric = codec_of(34, 4), vectors(n, 34), metric_of(34)
    for refine in (True, metric):
        right, _ = expected(codec, x, None if refine is True else refine)
        for threads in (1, 3, None):
            np.testing.assert_array_equal(codec.pack(x, refine=refine, threads=threads), right)


def test_places_and_strides(isa):
    codec, x, metric = codec_of(62, 4), vectors(21, 200), metric_of(62)
    for refine in (True, metric):
        right = codec.pack(x, refine=refine)
        for at_end in (True, False):
            np.testing.assert_array_equal(codec.pack(guarded(x[:, :62], at_end=at_end), refine=refine), right)
        out = Canaries((21, codec.row_bytes), np.uint8)
        assert codec.pack(np.asfortranarray(x), refine=refine, out=out.array) is out.array
        out.check()
        np.testing.assert_array_equal(out.array, right)
        np.testing.assert_array_equal(codec.pack(x[::-2], refine=refine), right[::-2])
        np.testing.assert_array_equal(codec.pack(x[4], refine=refine), right[4])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("limit", [1e-6, 1e-3, 0.05, 0.1, 1.0, 1e6])
def test_any_limit(isa, bits, limit):
    """Where all is clipped, or all rounds to the middle, there is less to choose, and nothing breaks."""
    codec, x, metric = frazil.Codec(64, bits, limit), vectors(50, 64), metric_of(64)
    for metric in (None, metric_of(64)):
        right, _ = expected(codec, x, metric)
        np.testing.assert_array_equal(codec.pack(x, refine=metric or True), right)
        before, after = losses(codec, x, codec.pack(x), metric), losses(codec, x, right, metric)
        assert (after <= before * (1 + 1e-6)).all()


def test_zero_rows_and_values_of_any_size(isa):
    codec, x = frazil.Codec(64, 4), vectors(9, 64)
    right = codec.pack(x, refine=True)
    for size in (1e-30, 2.0**-100, 2.0**100):
        np.testing.assert_array_equal(
            codec.pack((x * size).astype(np.float64), refine=True), codec.pack(x.astype(np.float64), refine=True)
        )
    mixed = np.zeros((19, 64), np.float32)
    mixed[1::2] = x
    for refine in (True, metric_of(64)):
        codes = codec.pack(mixed, refine=refine)
        assert (codes[::2] == 0x88).all()
        np.testing.assert_array_equal(codes[1::2], right if refine is True else codec.pack(x, refine=refine))


def test_not_finite(isa):
    codec, x = frazil.Codec(64, 8), vectors(300, 64)
    x[[77, 200], 5] = np.nan, np.inf
    for refine in (True, metric_of(64)):
        with pytest.raises(ValueError, match="x: row 77 holds NaN or infinity"):
            codec.pack(x, refine=refine, threads=2)


def test_nothing_is_refined_unless_asked():
    x = vectors(50, 256)
    plain = frazil.ARCTIC_INT4.pack(x)
    np.testing.assert_array_equal(frazil.ARCTIC_INT4.pack(x, refine=False), plain)
    assert (frazil.ARCTIC_INT4.pack(x, refine=np.True_) != plain).any()


def test_the_identity_is_a_metric(isa):
    x = vectors(100, 130)
    for bits in (4, 8):
        codec = codec_of(130, bits)
        np.testing.assert_array_equal(codec.pack(x, refine=frazil.Metric(np.eye(130))), codec.pack(x, refine=True))


@pytest.mark.parametrize("refine", [1, "yes", None, np.eye(256)])
def test_what_refine_may_not_be(refine):
    with pytest.raises(TypeError, match=r"refine: expected a bool or a frazil\.Metric, got"):
        frazil.ARCTIC_INT4.pack(vectors(2, 256), refine=refine)


def test_a_metric_of_other_dimensions():
    with pytest.raises(ValueError, match="refine: expected a metric of 256 dimensions, got one of 64"):
        frazil.ARCTIC_INT4.pack(vectors(2, 256), refine=metric_of(64))


# ---------------------------------------------------------------- metrics


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(4), r"expected shape \(dim, dim\), got \(4,\)"),
        (np.ones((2, 3)), r"expected shape \(dim, dim\), got \(2, 3\)"),
        (np.ones((0, 0)), r"expected shape \(dim, dim\), got \(0, 0\)"),
        (np.diag([1, np.nan]), "NaN"),
        (np.diag([1, 1e300]), "values that float32 cannot hold"),
        (np.array([[1, 0.5], [0.25, 1]]), "symmetric"),
        (np.diag([1.0, -1.0]), "positive definite"),
        (np.zeros((2, 2)), "positive definite"),
    ],
)
def test_matrices_that_are_no_metrics(matrix, message):
    with pytest.raises(ValueError, match=f"matrix: .*{message}"):
        frazil.Metric(matrix)


def test_a_metric_is_a_copy_of_its_matrix():
    matrix = np.eye(8, dtype=np.float32)
    metric = frazil.Metric(matrix)
    matrix[:] = 7
    np.testing.assert_array_equal(metric.matrix, np.eye(8))
    with pytest.raises(ValueError, match="read-only"):
        metric.matrix[0, 0] = 2
    with pytest.raises(AttributeError):
        metric.matrix = matrix
    assert repr(metric) == "Metric(dim=8)"
    with pytest.raises(TypeError, match="matrix: expected float32"):
        frazil.Metric(np.eye(8, dtype=int))


def test_fit():
    """The metric is the formula's, for samples of any type, size and scale."""
    rng = np.random.default_rng(5)
    x = (rng.standard_normal((500, 40)) * np.geomspace(3, 0.1, 40)).astype(np.float32)
    unit = x[:, :32].astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(unit.T @ unit)
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    right = (root / np.trace(root) * 32 + 0.3 * np.eye(32)) / 1.3
    metric = frazil.Metric.fit(x, dim=32)
    assert metric.dim == 32
    np.testing.assert_allclose(metric.matrix, right, atol=1e-6)
    assert np.trace(metric.matrix) == pytest.approx(32)
    zeros = np.concatenate([np.zeros((3, 40), np.float32), x])
    scales = 10.0 ** rng.integers(-300, 300, (500, 1))
    for same in (zeros, x.astype(np.float64) * scales, x.tolist()):
        np.testing.assert_allclose(frazil.Metric.fit(same, dim=32).matrix, right, atol=1e-6)
    for dtype in (np.float16, ml_dtypes.bfloat16):
        np.testing.assert_allclose(frazil.Metric.fit(x.astype(dtype), dim=32).matrix, right, atol=0.02)


def test_fit_of_one_vector_is_a_metric():
    metric = frazil.Metric.fit(np.ones((1, 16)), dim=16)
    assert np.linalg.eigvalsh(metric.matrix.astype(np.float64))[0] == pytest.approx(0.3 / 1.3, abs=1e-5)


def test_samples_that_teach_nothing():
    fit = frazil.Metric.fit
    for shape, dim in (((3, 8), 9), ((8,), 4), ((3, 8), 1)):
        with pytest.raises(ValueError, match=r"sample: expected shape \(n, d\) with d >= dim >= 2, got"):
            fit(np.ones(shape), dim=dim)
    for none in (np.zeros((3, 8)), np.zeros((0, 8))):
        with pytest.raises(ValueError, match="sample: expected vectors that are not zero, got none"):
            fit(none, dim=8)
    x = np.ones((70_000, 3), np.float32)
    x[69_000, 1] = np.inf
    with pytest.raises(ValueError, match="sample: row 69000 holds NaN or infinity"):
        fit(x, dim=2)
    with pytest.raises(TypeError, match="sample: expected float32"):
        fit(np.ones((3, 8), int), dim=8)


# ---------------------------------------------------------------- what it is for


def recall(codec, queries, codes, best):
    rows = codec.search(queries, codes, k=10).rows
    return np.mean([len(np.intersect1d(a, b)) for a, b in zip(rows, best, strict=True)]) / 10


def test_scores_are_closer_among_close_neighbours():
    """Tight clusters, where plain codes confuse neighbours most: errors along the vectors are what refining removes."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((20, 256)) / 16
    near = [(centre + 0.03 * rng.standard_normal((100, 256))).astype(np.float32) for centre in centres]
    x = np.concatenate(near)
    queries = (centres + 0.03 * rng.standard_normal((20, 256))).astype(np.float32)
    best = reference.search(reference.unit(queries, 256) @ reference.unit(x, 256).T, 10)[1]
    codec = frazil.ARCTIC_INT4
    plain, refined = (recall(codec, queries, codec.pack(x, refine=refine), best) for refine in (False, True))
    assert refined > plain + 0.05


def test_recall_on_real_embeddings(collections):
    """Recall of the best 10 of float 256: refined codes beat plain ones, and a metric's beat those."""
    codec, found = frazil.ARCTIC_INT4, []
    for _, documents, queries in collections:
        x, q = documents[:], queries[:300].astype(np.float32)
        best = reference.search(reference.unit(q, 256) @ reference.unit(x, 256).T, 10)[1]
        metric = frazil.Metric.fit(x)
        found.append([recall(codec, q, codec.pack(x, refine=refine), best) for refine in (False, True, metric)])
    plain, refined, by_metric = np.mean(found, axis=0)
    assert refined > plain + 0.01
    assert by_metric > refined + 0.005


def test_real_embeddings_against_the_reference(collections):
    for _, documents, _ in collections:
        x = documents[:500]
        for metric in (None, frazil.Metric.fit(documents[:2000])):
            right, moves = expected(frazil.ARCTIC_INT4, x, metric)
            np.testing.assert_array_equal(frazil.ARCTIC_INT4.pack(x, refine=metric or True), right)
            assert 1 < moves.mean() < 40
