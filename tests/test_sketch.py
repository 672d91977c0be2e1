"""Sketches: their bytes, the bounds that they give, and searches with them, of every instruction set, exactly."""

import hashlib
from statistics import NormalDist

import golden
import numpy as np
import pytest
import reference
from guarded import guarded, misaligned
from shapes import FEW_FORMATS, codec_of, random_codes, vectors

import frazil
from frazil import Sketch

INT4 = frazil.ARCTIC_INT4
FORMATS = [*FEW_FORMATS, (62, 4), (64, 4), (66, 4), (128, 4), (384, 4), (4096, 4), (65, 8), (512, 8), (4096, 8)]
ROWS = [0, 1, 15, 16, 17, 63, 64, 65, 300]


def near(queries, codec, n, seed=0):
    """Rows of codes around the queries, some near, most far: a search has something to find."""
    rng = np.random.default_rng([seed, n, codec.dim])
    noise = rng.standard_normal((n, codec.dim), dtype=np.float32)
    away = rng.uniform(0.3, 3, (n, 1)).astype(np.float32)
    return codec.pack(queries[rng.integers(0, len(queries), n), : codec.dim] + away * noise)


_known = {}


def expected(codec, queries, rows, query_bits, failure):
    """Return the reference's scores and bounds, kept for the next instruction set, number of queries or k."""
    digest = [hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest() for array in (queries, rows)]
    key = (codec, *digest, query_bits, failure)
    if key not in _known:
        arguments = (queries, rows, codec.dim, codec.bits, codec.limit, query_bits)
        width = NormalDist().inv_cdf(1 - failure)
        _known[key] = reference.score_ordered(*arguments), reference.sketch_bounds(*arguments, width)
    return _known[key]


def check(codec, queries, rows, k, query_bits=8, failure=1e-3, allow=None, sketch=None, **options):
    """Compare with the reference's answer, from all scores and all bounds."""
    scores, bounds = expected(codec, queries, rows, query_bits, failure)
    allowed = None if allow is None else np.flatnonzero(allow) if np.asarray(allow).dtype == bool else allow
    best_scores, best_rows = reference.sketch_search(scores, bounds, k, allowed)
    sketch = Sketch.build(codec, rows) if sketch is None else sketch
    options.update(query_bits=query_bits, failure=failure, allow=allow, sketch=sketch)
    hits = codec.search(queries, rows, k, **options)
    np.testing.assert_array_equal(hits.rows, best_rows)
    np.testing.assert_array_equal(hits.scores, best_scores)


@pytest.mark.parametrize(("dim", "bits"), FORMATS)
def test_bytes(isa, dim, bits):
    codec = codec_of(dim, bits)
    for n in ROWS if dim < 1000 else (0, 1, 70):
        rows = random_codes(n, codec)
        sketch = Sketch.build(codec, rows)
        assert (len(sketch), sketch.rows, sketch.dim, sketch.bits) == (n, n, dim, bits)
        assert sketch.data.nbytes == Sketch.size(codec, n)
        np.testing.assert_array_equal(sketch.data, reference.sketch(rows, dim, bits))


@pytest.mark.parametrize("name", golden.SKETCHES)
def test_golden_bytes(isa, name):
    rows, dim, bits = golden.sketched()[name]
    data = Sketch.build(codec_of(dim, bits), rows).data
    assert hashlib.sha256(data.tobytes()).hexdigest() == golden.SKETCHES[name]
    assert hashlib.sha256(reference.sketch(rows, dim, bits).tobytes()).hexdigest() == golden.SKETCHES[name]


def test_more_rows_than_the_centre_is_made_of(isa):
    codec = frazil.Codec(2, 8, 0.9)
    rows = np.random.default_rng(0).integers(100, 256, (150_001, 2), dtype=np.uint8)
    rows[1::3] = 0  # every third row is in the sample: with all of them, or others, the centre would be another
    data = Sketch.build(codec, rows).data
    np.testing.assert_array_equal(data[64:72].view("<f4"), reference.sketch_centre(rows, 8))
    mean = (2 * rows[::3].astype(float) - 255).mean(axis=0)
    np.testing.assert_array_equal(data[64:72].view("<f4"), mean.astype("f4"))


@pytest.mark.parametrize("query_bits", [4, 8, 32])
@pytest.mark.parametrize(("dim", "bits"), FEW_FORMATS)
def test_searches(isa, dim, bits, query_bits):
    codec = codec_of(dim, bits)
    queries = vectors(9, dim)
    for n in (0, 1, 63, 64, 65, 1500):
        rows = near(queries, codec, n)
        for k in (1, 10, 2000):
            for q in (1, 9):
                check(codec, queries[:q], rows, k, query_bits)


@pytest.mark.parametrize("failure", [0.1, 1e-3, 1e-12])
@pytest.mark.parametrize("query_bits", [8, 32])
def test_many_rows(isa, query_bits, failure):
    """More rows than a chunk or the waiting ones, answered the same by any number of threads."""
    queries = vectors(10, 256)
    rows = near(queries, INT4, 12_000)
    sketch = Sketch.build(INT4, rows)
    options = {"query_bits": query_bits, "failure": failure, "sketch": sketch}
    check(INT4, queries, rows, 10, threads=1, **options)
    for q in (1, 10):
        for k in (1, 10, 500):
            right = INT4.search(queries[:q], rows, k, threads=1, **options)
            for threads in (2, 3, 7):
                hits = INT4.search(queries[:q], rows, k, threads=threads, **options)
                np.testing.assert_array_equal(hits.rows, right.rows)
                np.testing.assert_array_equal(hits.scores, right.scores)


def test_batches_and_threads_change_nothing(isa):
    """With a probability of failure so large that rows are missed: the same ones, however the work is shared out."""
    queries, codec = vectors(40, 64), frazil.Codec(64, 4, 0.36)
    rows = random_codes(30_000, codec)
    sketch = Sketch.build(codec, rows, threads=1)
    for threads in (2, 5):
        np.testing.assert_array_equal(Sketch.build(codec, rows, threads=threads).data, sketch.data)
    exact = codec.search(queries, rows, 20)
    hits = codec.search(queries, rows, 20, sketch=sketch, failure=0.1, threads=1)
    assert (hits.rows != exact.rows).any(), "nothing was missed: this test cannot fail"
    for size in (1, 3, 8, 16, 40):
        for threads in (1, 3):
            parts = [
                codec.search(queries[i : i + size], rows, 20, sketch=sketch, failure=0.1, threads=threads)
                for i in range(0, 40, size)
            ]
            np.testing.assert_array_equal(np.concatenate([part.rows for part in parts]), hits.rows)
            np.testing.assert_array_equal(np.concatenate([part.scores for part in parts]), hits.scores)


@pytest.mark.parametrize("order", ["best last", "best first", "all equal", "few values"])
def test_orders_that_are_hard_on_the_bound(isa, order):
    codec, queries = frazil.Codec(64, 4, 0.36), vectors(9, 64)
    rows = random_codes(5_000, codec)
    if order == "all equal":
        rows[:] = rows[0]
    elif order == "few values":
        rows = rows[np.random.default_rng(0).integers(0, 7, len(rows))]
    else:
        rows = rows[np.argsort(codec.score(queries[0], rows), kind="stable")]
        rows = rows[::-1] if order == "best first" else rows
    for k in (1, 10, 300):
        for q in (1, 9):
            check(codec, queries[:q], rows, k)
            check(codec, queries[:q], rows, k, query_bits=32)


def test_zero_queries_and_zero_rows(isa):
    queries = vectors(9, 256)
    queries[[0, 4]] = 0
    rows = INT4.pack(np.concatenate([np.zeros((70, 256), np.float32), vectors(100, 256)]))
    for query_bits in (4, 8, 32):
        for q in (1, 9):
            check(INT4, queries[:q], rows, 12, query_bits)
    check(INT4, queries, INT4.pack(np.zeros((70, 256), np.float32)), 12)


@pytest.mark.parametrize("density", [0, 0.001, 0.5, 1])
def test_allow(isa, density):
    queries = vectors(9, 256)
    rows = near(queries, INT4, 5_000)
    rng = np.random.default_rng(0)
    mask = rng.random(5_000) < density
    numbers = rng.permutation(np.concatenate([np.flatnonzero(mask), np.flatnonzero(mask)[::2]]))
    sketch = Sketch.build(INT4, rows)
    for q, query_bits in ((1, 8), (9, 8), (1, 32)):
        for k in (1, 10, 3000):
            for allow in (mask, numbers, np.repeat(mask, 2)[::2]):
                check(INT4, queries[:q], rows, k, query_bits, allow=allow, sketch=sketch)


def test_any_strides_of_codes(isa):
    queries = vectors(9, 256)
    wide = np.zeros((2_000, 256), np.uint8)
    wide[:, :128] = near(queries, INT4, 2_000)
    wide[:, 128:] = wide[::-1, :128]
    for rows in (
        wide[::3, :128],
        wide[::-1, 128:],
        wide[:, ::2],
        np.asfortranarray(wide[:, :128]),
        np.broadcast_to(wide[5, :128], (700, 128)),
        misaligned(np.ascontiguousarray(wide[:, :128]), 33),
        guarded(np.ascontiguousarray(wide[:333, :128])),
    ):
        np.testing.assert_array_equal(Sketch.build(INT4, rows).data, reference.sketch(rows, 256, 4))
        check(INT4, queries[:1], rows, 10)
        check(INT4, queries, rows, 10)


def test_sketches_anywhere_in_memory(isa, tmp_path):
    queries = vectors(9, 256)
    rows = near(queries, INT4, 700)
    sketch = Sketch.build(INT4, rows)
    sketch.data.tofile(tmp_path / "sketch")
    mapped = np.memmap(tmp_path / "written", np.uint8, "w+", shape=(Sketch.size(INT4, 700),))
    np.testing.assert_array_equal(Sketch.build(INT4, rows, out=mapped).data, sketch.data)
    spread = np.zeros(2 * sketch.data.size, np.uint8)
    spread[::2] = sketch.data
    for data in (
        np.memmap(tmp_path / "sketch", np.uint8, "r"),
        guarded(sketch.data),
        misaligned(sketch.data, 1),
        spread[::2],
    ):
        check(INT4, queries, rows, 10, sketch=Sketch(data))
    assert np.shares_memory(Sketch(sketch.data).data, sketch.data)


def test_rows_that_are_not_allowed_are_not_read(isa):
    queries = vectors(9, 256)
    there = guarded(near(queries, INT4, 100))
    beyond = np.lib.stride_tricks.as_strided(there, (5_000, 128), (128, 1), writeable=False)
    sketch = Sketch.build(INT4, np.concatenate([there, random_codes(4_900, INT4)]))
    for q in (1, 9):
        right = INT4.search(queries[:q], there, 5)
        for allow in (np.arange(100), np.arange(5_000) < 100):
            hits = INT4.search(queries[:q], beyond, 5, allow=allow, sketch=sketch)
            np.testing.assert_array_equal(hits.rows, right.rows)


def test_most_rows_are_not_read():
    """Rows beyond the end of memory: reading one that the bound excludes would end the process."""
    centre = vectors(1, 256)
    codes = INT4.pack(np.concatenate([centre + 0.1 * vectors(64, 256), vectors(4_000, 256, seed=1)]))
    sketch = Sketch.build(INT4, codes)
    beyond = np.lib.stride_tricks.as_strided(guarded(codes[:1088]), codes.shape, (128, 1), writeable=False)
    hits = INT4.search(centre[0], beyond, 10, sketch=sketch, threads=1)  # the first 1,024 rows are read in any case
    np.testing.assert_array_equal(hits.rows, INT4.search(centre[0], codes, 10).rows)


def nasty(kind, n=4_000, dim=256):
    """Vectors that are anything but normally distributed."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((n, dim))
    if kind == "spikes":
        x = np.where(rng.random((n, dim)) < 0.02, x * 20, x * 0.1)
    elif kind == "heavy tails":
        x = rng.standard_t(1.5, (n, dim))
    elif kind == "a few large dimensions":
        x[:, :3] += [40, -30, 20]
    elif kind == "low rank":
        x = x[:, :5] @ rng.standard_normal((5, dim))
    elif kind == "clusters":
        x = x[rng.integers(0, 20, n)] + 0.2 * x
    elif kind == "a decaying spectrum":
        x *= 1 / np.arange(1, dim + 1)
    elif kind == "signs":
        x = np.sign(x)
    elif kind == "half zero":
        x[:, ::2] = 0
    return x.astype(np.float32)


@pytest.mark.parametrize(
    "kind", ["normal", "spikes", "heavy tails", "a few large dimensions", "low rank", "clusters", "a decaying spectrum",
             "signs", "half zero"],
)  # fmt: skip
def test_bounds_fail_no_more_often_than_they_may(kind):
    """Of all bounds of all pairs, and of those of the best rows."""
    x = nasty(kind)
    arguments = x[:100], INT4.pack(x[100:]), INT4.dim, INT4.bits, INT4.limit, 8
    scores = reference.score_ordered(*arguments)
    best = np.argsort(-scores, axis=1)[:, :10]
    for failure in (0.1, 1e-2, 1e-3):
        failed = reference.sketch_bounds(*arguments, NormalDist().inv_cdf(1 - failure)) < scores
        assert failed.mean() <= 1.25 * failure
        assert np.take_along_axis(failed, best, axis=1).mean() <= 2 * failure + 2e-3  # 1,000 of them
        if kind == "normal":
            assert failed.mean() >= failure / 4, "bounds far wider than they need to be"


def test_recall_of_random_vectors():
    x, queries = vectors(100_000, 256), vectors(100, 256, seed=1)
    codes = INT4.pack(x)
    exact = INT4.search(queries, codes, 10)
    hits = INT4.search(queries, codes, 10, sketch=Sketch.build(INT4, codes))
    assert recall(hits, exact) >= 0.999


@pytest.mark.parametrize("codec", [INT4, frazil.ARCTIC_INT8], ids=str)
@pytest.mark.parametrize("query_bits", [4, 8])
def test_recall_of_real_embeddings(collections, codec, query_bits):
    recalls = {}
    for name, documents, queries in collections:
        codes = codec.pack(documents)
        exact = codec.search(queries, codes, 10, query_bits=query_bits)
        hits = codec.search(queries, codes, 10, query_bits=query_bits, sketch=Sketch.build(codec, codes))
        recalls[name] = recall(hits, exact)
    if query_bits == 4:  # one row of the smallest collection is more than a thousandth of its answers
        recalls = {"all": np.mean(list(recalls.values()))}
    assert min(recalls.values()) >= 0.999, recalls


def test_recall_of_queries_with_one_value():
    """Turned, they are a few numbers again and again, all of which rounding may make smaller."""
    dim, each, rng = 4032, 50, np.random.default_rng(0)
    hot = np.arange(0, dim, dim // 40)[:40]
    noise = rng.standard_normal((len(hot), each, dim))
    x = noise / np.linalg.norm(noise, axis=2, keepdims=True) * rng.uniform(0.2, 0.6, (len(hot), each, 1))
    x[np.arange(len(hot)), :, hot] += 1
    codec, queries = frazil.Codec(dim, bits=8), np.eye(dim, dtype=np.float32)[hot]
    codes = codec.pack(x.reshape(-1, dim).astype(np.float32))
    exact = codec.search(queries, codes, 10)
    hits = codec.search(queries, codes, 10, sketch=Sketch.build(codec, codes))
    assert recall(hits, exact) >= 0.99


@pytest.mark.soak
def test_recall_of_a_million_random_vectors():
    rng = np.random.default_rng(0)
    codes = np.concatenate([INT4.pack(rng.standard_normal((100_000, 256), dtype=np.float32)) for _ in range(10)])
    queries = rng.standard_normal((1_000, 256), dtype=np.float32)
    exact = INT4.search(queries, codes, 10)
    hits = INT4.search(queries, codes, 10, sketch=Sketch.build(INT4, codes))
    assert recall(hits, exact) >= 0.999


def recall(hits, exact):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(hits.rows, exact.rows, strict=True)])


# ---------------------------------------------------------------- what is not a sketch


def test_bytes_that_are_none():
    rows = random_codes(70, INT4)
    data = Sketch.build(INT4, rows).data
    newer = data.copy()
    newer[8] = 2
    for bad, message in (
        (data[:0], "expected the bytes of a sketch, got 0"),
        (data[:63], "expected the bytes of a sketch, got 63"),
        (rows.reshape(-1), "expected the bytes of a sketch"),
        (data[:-1], rf"expected the {len(data)} bytes of a sketch of 70 rows, got {len(data) - 1}"),
        (np.append(data, data[:1]), "expected the"),
        (newer, "expected format version 1, got version 2"),
        (data.reshape(2, -1), r"expected bytes of shape \(n,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Sketch(bad)
    for offset, value in ((12, 0xFF), (16, 5), (24, 0xFF), (31, 0xFF)):
        bad = data.copy()
        bad[offset : offset + 4 if offset < 24 else offset + 1] = value
        with pytest.raises(ValueError, match="expected"):
            Sketch(bad)
    for offset in (32, 36, 40, 64, 64 + 4 * 255):  # the longest, the extremes, the centre
        for value in (np.nan, np.inf, *([-1] if offset < 64 else [])):
            bad = data.copy()
            bad[offset : offset + 4].view("<f4")[:] = value
            with pytest.raises(ValueError, match="sketch: its header is damaged"):
                Sketch(bad)
    bad = data.copy()
    bad[36:44] = np.roll(data[36:44], 4)  # the least is more than the most
    with pytest.raises(ValueError, match="sketch: its header is damaged"):
        Sketch(bad)
    for bad in (data.astype(np.int8), b"frzsketc", data.tolist()):
        with pytest.raises(TypeError, match="data: expected uint8"):
            Sketch(bad)


def test_sketches_of_other_codes():
    rows, queries = random_codes(70, INT4), vectors(2, 256)
    for codec, other in (
        (INT4, rows[:69]),
        (frazil.Codec(254), random_codes(70, frazil.Codec(254))),
        (frazil.ARCTIC_INT8, random_codes(70, frazil.ARCTIC_INT8)),
    ):
        with pytest.raises(ValueError, match="sketch: expected one of 70 rows of 256 dimensions of 4 bits, got one of"):
            INT4.search(queries, rows, sketch=Sketch.build(codec, other))
    for bad in (rows, Sketch.build(INT4, rows).data, "sketch", Sketch):
        with pytest.raises(TypeError, match=r"sketch: expected a frazil\.Sketch, got"):
            INT4.search(queries, rows, sketch=bad)


def test_arguments():
    rows, queries = random_codes(70, INT4), vectors(2, 256)
    sketch = Sketch.build(INT4, rows)
    assert repr(sketch) == f"Sketch(rows=70, dim=256, bits=4, {sketch.data.nbytes} bytes)"
    for bad in (0, 1, -1e-3, 0.11, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"failure: expected a probability from 1e-12 to 0\.1, got"):
            INT4.search(queries, rows, sketch=sketch, failure=bad)
    for bad in ("0.1", None, True, 1j):
        with pytest.raises(TypeError, match="failure: expected a number, got"):
            INT4.search(queries, rows, sketch=sketch, failure=bad)
    for bad, error in ((rows[0], ValueError), (rows[:, :5], ValueError), (rows.astype(int), TypeError)):
        with pytest.raises(error, match="codes: expected"):
            Sketch.build(INT4, bad)
    for bad, error in ((np.empty(5, np.uint8), ValueError), (np.empty(sketch.data.size, np.int8), TypeError)):
        with pytest.raises(error, match="out: expected"):
            Sketch.build(INT4, rows, out=bad)
    block = np.zeros(100_000, np.uint8)
    with pytest.raises(ValueError, match="out: expected memory of its own"):
        Sketch.build(INT4, block[: 70 * 128].reshape(70, 128), out=block[: Sketch.size(INT4, 70)])
    for bad in (-1, 1.5, "7", None):
        with pytest.raises((ValueError, TypeError), match="rows: expected"):
            Sketch.size(INT4, bad)
    with pytest.raises(MemoryError):
        Sketch.size(INT4, 2**62)


DAMAGE = {"not numbers": 0x7E7E, "infinities": 0x7C00, "all ones": 0xFFFF, "zeros": 0}


def damaged(sketch, damage, rng):
    """Return the sketch with other blocks."""
    data = sketch.data.copy()
    blocks = data[64 + 4 * 256 :]
    if damage == "flips":
        blocks[rng.integers(0, len(blocks), 2_000)] ^= rng.integers(1, 256, 2_000, dtype=np.uint8)
    else:
        blocks.view("<u2")[:] = DAMAGE[damage]
    return Sketch(data)


@pytest.mark.parametrize("damage", ["flips", *DAMAGE])
def test_damaged_sketches_answer_the_same_by_every_set(damage):
    queries = vectors(9, 256)
    rows = near(queries, INT4, 1_300)
    sketch = damaged(Sketch.build(INT4, rows), damage, np.random.default_rng(0))
    answers = []
    for name in frazil.kernels():
        with frazil.use_kernels(name):
            answers.append(INT4.search(queries, rows, 20, sketch=sketch))
    for hits in answers:
        np.testing.assert_array_equal(hits.rows, answers[0].rows)
        np.testing.assert_array_equal(hits.scores, answers[0].scores)


@pytest.mark.parametrize("damage", ["flips", *DAMAGE])
def test_damaged_sketches_answer_something(isa, damage):
    """Whatever the blocks hold: no crash, rows that exist, each once, with their scores."""
    queries = vectors(9, 256)
    rows = near(queries, INT4, 1_300)
    rng = np.random.default_rng(0)
    scores = INT4.score(queries, rows)
    for _ in range(5):
        sketch = damaged(Sketch.build(INT4, rows), damage, rng)
        for q in (1, 9):
            for query_bits in (8, 32):
                hits = INT4.search(queries[:q], rows, 20, query_bits=query_bits, sketch=sketch)
                assert hits.rows.shape == (q, 20)
                for i in range(q):
                    there = hits.rows[i][hits.rows[i] >= 0]
                    assert len(np.unique(there)) == len(there)
                    assert (there < len(rows)).all()
                    assert np.isneginf(hits.scores[i][hits.rows[i] < 0]).all()
                    if query_bits == 8:
                        np.testing.assert_array_equal(hits.scores[i][hits.rows[i] >= 0], scores[i, there])
