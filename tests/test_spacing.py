"""Codes of 4 bits of normal spacing: everything that is done with them is what is done with 8-bit codes, of which they
are sixteen."""

from statistics import NormalDist

import ml_dtypes
import numpy as np
import pytest
import reference
from guarded import Canaries, guarded
from shapes import DIMS_4, DIMS_4_LARGE, vectors
from test_refine import metric_of

import frazil

DIMS = DIMS_4 + DIMS_4_LARGE
FEW = [2, 34, 256, 1000]


def codec_of(dim):
    return frazil.Codec(dim, 4, round(min(0.9, 2.7 / dim**0.5), 4), spacing="normal")


def random_rows(n, codec):
    return np.random.default_rng([n, codec.dim]).integers(0, 256, (n, codec.row_bytes), dtype=np.uint8)


def test_the_codec():
    codec = frazil.Codec(256, 4, spacing="normal")
    assert (codec.limit, codec.row_bytes, codec.levels, codec.step) == (0.17, 128, 15, 2 * 0.17 / 255)
    assert codec != frazil.Codec(256, 4, 0.17)
    assert frazil.Codec(256) == frazil.Codec(256, spacing="uniform")
    assert "spacing='normal'" in repr(codec)
    with pytest.raises(ValueError, match="bits: expected 4 for normal spacing, got 8"):
        frazil.Codec(256, 8, spacing="normal")
    with pytest.raises(ValueError, match="spacing: expected 'uniform' or 'normal', got 'even'"):
        frazil.Codec(256, spacing="even")
    with pytest.raises(TypeError, match="spacing: expected a string, got int"):
        frazil.Codec(256, spacing=4)


def test_levels_are_those_of_a_normal_distribution():
    """They are Lloyd's and Max's: each in the middle of what is rounded to it, but for being whole 255ths."""
    z = np.array([NormalDist().inv_cdf((i + 0.5) / 20_000) for i in range(20_000)])
    levels = z[625::1250]
    for _ in range(500):
        nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, z)
        levels = np.bincount(nearest, z, 16) / np.bincount(nearest)
    levels = (levels[8:] - levels[7::-1]) / 2  # symmetric
    np.testing.assert_allclose((2 * reference.NORMAL[8:].astype(int) - 255) / 255, levels / levels[-1], atol=0.006)
    np.testing.assert_array_equal(reference.NORMAL + reference.NORMAL[::-1], 255)


@pytest.mark.parametrize("dim", DIMS)
def test_pack_and_unpack(isa, dim):
    codec, x = codec_of(dim), vectors(9, dim + 3)
    right = reference.to_normal(reference.pack_ordered(x, dim, 8, codec.limit))
    np.testing.assert_array_equal(codec.pack(x), right)
    eight = frazil.Codec(dim, 8, codec.limit)
    for at_end in (True, False):
        rows = guarded(right, at_end=at_end)
        np.testing.assert_array_equal(codec.unpack(rows), eight.unpack(reference.expanded(right)))
    out = Canaries((9, dim), np.float32)
    codec.unpack(right[::-1], out=out.array)
    out.check()


def test_codes_are_the_nearest_levels():
    codec, x = codec_of(256), vectors(300, 256)
    levels = codec.limit * (2 * reference.NORMAL.astype(float) / 255 - 1)
    unit = reference.unit(x, 256)
    error = np.abs(codec.unpack(codec.pack(x)) - unit)
    least = np.abs(unit[..., None] - levels).min(axis=-1)
    assert (error <= least + codec.step + 1e-6).all()  # nearest to the 8-bit code, which is off by half a step


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_types_zero_rows_and_extremes(isa, dtype):
    codec, x = codec_of(34), vectors(20, 40).astype(dtype)
    x[3] = 0
    x[5] *= dtype(2.0**-14)
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    codes = codec.pack(x)
    np.testing.assert_array_equal(codes, reference.to_normal(reference.pack_ordered(wide, 34, 8, codec.limit)))
    assert (codes[3] == 0x88).all()
    np.testing.assert_array_equal(codec.pack(x, refine=True)[3], codes[3])
    x[7, 33] = np.nan
    for refine in (False, True):
        with pytest.raises(ValueError, match="x: row 7 holds NaN or infinity"):
            codec.pack(x, refine=refine)


@pytest.mark.parametrize("dim", FEW)
def test_refined(isa, dim):
    codec, x = codec_of(dim), vectors(30, dim)
    for metric in (None, metric_of(dim)):
        matrix = None if metric is None else metric.matrix
        right, moves = reference.refine_ordered(x, dim, 4, codec.limit, matrix, normal=True)
        np.testing.assert_array_equal(codec.pack(x, refine=metric or True), right)
        before, after = (
            reference.loss(x, reference.expanded(codes), dim, 8, codec.limit, matrix)
            for codes in (codec.pack(x), right)
        )
        assert (after[moves > 0] < before[moves > 0]).all()
        assert dim < 34 or moves.any()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("query_bits", [4, 8, 32])
@pytest.mark.parametrize("dim", FEW)
def test_score_and_search(isa, dim, query_bits, threads):
    codec, queries = codec_of(dim), vectors(13, dim)
    rows = np.repeat(random_rows(1200, codec), 2, axis=1)[:, : codec.row_bytes][::-1]  # of any strides
    right = reference.score_ordered(queries, reference.expanded(rows), dim, 8, codec.limit, query_bits)
    options = {"query_bits": query_bits, "threads": threads}
    np.testing.assert_array_equal(codec.score(queries, rows, **options), right)
    np.testing.assert_array_equal(codec.score(queries[:2], rows[:1], **options), right[:2, :1])
    allowed = np.arange(0, 1200, 7)
    for n in (1, 13):
        for allow in (None, allowed):
            hits = codec.search(queries[:n], rows, k=10, allow=allow, **options)
            scores, best = reference.search(right[:n], 10, allow)
            np.testing.assert_array_equal(hits.rows, best)
            np.testing.assert_array_equal(hits.scores, scores)


@pytest.mark.parametrize("query_bits", [8, 32])
@pytest.mark.parametrize("dim", FEW)
def test_sketches(isa, dim, query_bits):
    codec, queries, rows = codec_of(dim), vectors(9, dim), random_rows(700, codec_of(dim))
    sketch, eight = frazil.Sketch.build(codec, rows), reference.expanded(rows)
    right = reference.sketch(eight, dim, 8)
    assert (sketch.dim, sketch.bits, sketch.rows) == (dim, 4, 700)
    np.testing.assert_array_equal(sketch.data[20:], right[20:])  # all but the bits that the header tells
    np.testing.assert_array_equal(frazil.Sketch.build(codec, rows, threads=3).data, sketch.data)
    width = 3.0902323061678132  # of a probability of 1e-3
    scores = reference.score_ordered(queries, eight, dim, 8, codec.limit, query_bits)
    bounds = reference.sketch_bounds(queries, eight, dim, 8, codec.limit, query_bits, width)
    best_scores, best = reference.sketch_search(scores, bounds, 10)
    for n in (1, 9):
        hits = codec.search(queries[:n], rows, k=10, sketch=sketch, query_bits=query_bits)
        np.testing.assert_array_equal(hits.rows, best[:n])
        np.testing.assert_array_equal(hits.scores, best_scores[:n])


def test_collections(tmp_path):
    codec, x = codec_of(64), vectors(100, 64)
    with frazil.Collection.create(tmp_path / "store", codec=codec) as collection:
        collection.add(list(range(100)), x)
        collection.build_sketch()
    with frazil.Collection.open(tmp_path / "store") as collection:
        assert collection.codec == codec
        hits = collection.search(x[:5], k=3)
        right = codec.search(x[:5], codec.pack(x), k=3)
        np.testing.assert_array_equal(hits.scores, right.scores)
        assert [list(ids) for ids in hits.ids] == right.rows.tolist()
        assert collection.verify().ok
    with pytest.raises(ValueError, match="codec"):
        frazil.Collection.open(tmp_path / "store", codec=frazil.Codec(64, 4, codec.limit))


def test_recall_on_real_embeddings(collections):
    """Refined codes of normal spacing are better than those of uniform spacing; plain ones need not be."""
    found = []
    for _, documents, queries in collections:
        x, q = documents[:], queries[:300].astype(np.float32)
        best = reference.search(reference.unit(q, 256) @ reference.unit(x, 256).T, 10)[1]
        recalls = []
        for codec in (frazil.ARCTIC_INT4, frazil.Codec(256, 4, spacing="normal")):
            rows = codec.search(q, codec.pack(x, refine=True), k=10).rows
            recalls.append(np.mean([len(np.intersect1d(a, b)) for a, b in zip(rows, best, strict=True)]) / 10)
        found.append(recalls)
    uniform, normal = np.mean(found, axis=0)
    assert normal > uniform + 0.003
