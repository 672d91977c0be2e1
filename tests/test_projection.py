"""Projections, codecs that have one, fitted codecs, and their files."""

import io
import os
import zipfile

import numpy as np
import pytest

from frazil import Codec, Metric, Projection
from frazil import projection as projections
from frazil.quality import Estimate


def uneven(count, dim=96, seed=0):
    """Vectors whose spread lies in a few directions that are none of the axes, away from the first dimensions."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).standard_normal((dim, dim)))[0]
    spread = np.where(np.arange(dim) < 30, 1.0, 0.03)
    return ((random.standard_normal((count, dim)) * spread) @ turn).astype(np.float32)


@pytest.fixture(scope="module")
def projection():
    return Projection.fit(uneven(500), 32)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_fit_finds_the_largest_directions(projection):
    """Against the definition: the leading right singular vectors of the unit vectors span the same space."""
    sample = unit(uneven(500).astype(np.float64))
    leading = np.linalg.svd(sample, full_matrices=False)[2][:32]
    matrix = projection.matrix.astype(np.float64)
    assert matrix.shape == (96, 32)
    assert matrix.T @ matrix == pytest.approx(np.eye(32), abs=1e-6)
    assert matrix @ matrix.T == pytest.approx(leading.T @ leading, abs=1e-5)
    values = unit(sample @ matrix)
    assert values.std(axis=0) == pytest.approx(
        np.full(32, 1 / np.sqrt(32)), rel=0.5
    )  # no dimension is without its part


def test_fit_depends_on_directions_alone():
    sample = uneven(200)
    factors = np.random.default_rng(0).uniform(0.001, 1000, (200, 1))
    a, b = Projection.fit(sample, 32), Projection.fit(sample.astype(np.float64) * factors, 32)
    assert np.abs(a.matrix) == pytest.approx(np.abs(b.matrix), abs=1e-4)
    assert Projection.fit(sample, 32) == a
    assert Projection.fit(sample, 32, seed=1) != a
    assert hash(Projection(a.matrix)) == hash(a)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, "bfloat16"])
def test_projecting(projection, dtype, monkeypatch):
    monkeypatch.setattr(projections, "_BLOCK", 7)
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x = uneven(50, 100).astype(dtype)
    wanted = x[:, :96].astype(np.float64) @ projection.matrix
    assert projection(x) == pytest.approx(wanted, abs=1e-5)
    assert projection(x[3]) == pytest.approx(wanted[3], abs=1e-5)
    assert projection(x[:0]).shape == (0, 32)
    assert projection(x[::-3, :]) == pytest.approx(wanted[::-3], abs=1e-5)


@pytest.mark.parametrize("factor", [1e30, 1e-30, 1e-44, 1e300, 1e-300])
def test_projecting_large_and_small_numbers(projection, factor):
    x = uneven(20).astype(np.float64)
    x[7] = 0
    scaled = x * factor
    if factor in (1e30, 1e-30):
        scaled = scaled.astype(np.float32)
    projected, wanted = projection(scaled), projection(x)
    assert (projected[7] == 0).all()
    others = np.arange(20) != 7
    assert unit(projected[others]) == pytest.approx(unit(wanted[others]), abs=1e-6)


@pytest.mark.parametrize("query_bits", [4, 8, 32])
def test_a_codec_with_a_projection(projection, query_bits):
    """Is the codec without, of what is projected; in parts as well."""
    x, queries = uneven(300), uneven(5, seed=1)
    codec, plain = Codec(32, 4, 0.5, projection=projection), Codec(32, 4, 0.5)
    codes = codec.pack(x)
    assert np.array_equal(codes, plain.pack(projection(x)))
    assert np.array_equal(codec.pack(x[4]), codes[4])
    asked = projection(queries)
    for name in ("score", "search"):
        found = getattr(codec, name)(queries, codes, query_bits=query_bits)
        assert np.array_equal(found, getattr(plain, name)(asked, codes, query_bits=query_bits))
    assert np.array_equal(codec.unpack(codes), plain.unpack(codes))
    assert codec != plain
    assert repr(codec) == "Codec(dim=32, bits=4, limit=0.5, projection=Projection(96 to 32))"
    assert {codec: 1}[Codec(32, 4, 0.5, projection=Projection(projection.matrix))] == 1


def test_packing_into_an_array(projection, monkeypatch):
    monkeypatch.setattr(projections, "_BLOCK", 7)
    codec, x = Codec(32, 4, 0.5, projection=projection), uneven(40)
    out = np.zeros((40, 16), np.uint8)
    assert codec.pack(x, out=out) is out
    assert np.array_equal(out, codec.pack(x))
    for wrong in (np.zeros((39, 16), np.uint8), np.zeros((40, 17), np.uint8), out.T, x.view(np.uint8)[:, :16]):
        with pytest.raises(ValueError, match="out"):
            codec.pack(x, out=wrong)
    with pytest.raises(TypeError, match="out"):
        codec.pack(x, out=np.zeros((40, 16), np.int8))
    x[23, 5] = np.nan
    with pytest.raises(ValueError, match="x: row 23"):
        codec.pack(x)
    with pytest.raises(ValueError, match="queries: row 23"):
        codec.search(x, out)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Projection(np.ones(3, np.float32)), ValueError, r"\(3,\)"),
        (lambda: Projection(np.ones((3, 4), np.float32)), ValueError, r"\(3, 4\)"),
        (lambda: Projection(np.ones((4, 1), np.float32)), ValueError, r"\(4, 1\)"),
        (lambda: Projection(np.full((4, 2), np.inf, np.float32)), ValueError, "finite"),
        (lambda: Projection(np.full((4, 2), 1e300)), ValueError, "finite"),
        (lambda: Projection(np.ones((4, 2), np.int64)), TypeError, "int64"),
        (lambda: Projection.fit(uneven(9), 97), ValueError, "97"),
        (lambda: Projection.fit(uneven(9), 1), ValueError, "dim 1"),
        (lambda: Projection.fit(uneven(9)[0], 4), ValueError, "sample"),
        (lambda: Projection.fit(np.zeros((9, 9), np.float32), 4), ValueError, "not zero"),
        (lambda: Projection.fit(np.full((9, 9), np.nan, np.float32), 4), ValueError, "row 0"),
        (lambda: Projection.fit(uneven(9), "a"), TypeError, "dim"),
        (lambda: Projection(np.eye(9, 4) * 1e30), ValueError, r"fit into float32, got up to 1e\+30"),
        (lambda: Codec(32, projection=np.eye(32)), TypeError, "Projection"),
        (lambda: Codec(30, projection=Projection(np.eye(40, 32))), ValueError, "30"),
        (lambda: Codec(32, projection=Projection(np.eye(40, 32))).pack(uneven(3, 39)), ValueError, "d >= 40"),
    ],
)
def test_wrong_input(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_fit_of_a_codec():
    """A projection where cutting loses much, none where it does not; the limit is near the best by recall."""
    sample = uneven(2000)
    codec = Codec.fit(sample, 32)
    assert codec.projection is not None
    assert Codec.fit(sample, 32) == codec
    assert Codec.fit(sample, 32, project=False).projection is None
    even = np.random.default_rng(0).standard_normal((2000, 96)) * np.where(np.arange(96) < 32, 1, 0.02)
    plain = Codec.fit(even, 32)
    assert plain.projection is None
    assert Codec.fit(even, 32, project=True).projection is not None
    documents, queries = uneven(3000, seed=5), uneven(200, seed=6)

    def recall(codec):
        estimate: Estimate = codec.report(documents, queries).recall_uncut[10]
        return estimate.mean

    others = [
        recall(Codec(32, 4, limit, projection=codec.projection)) for limit in codec.limit * np.array([0.5, 0.7, 1.4, 2])
    ]
    assert recall(codec) > max(others) - 0.01
    assert recall(codec) > recall(Codec(32, 4, codec.limit)) + 0.2


def test_fitted_limits_are_near_the_recipes(collections):
    """Which were chosen for arctic; MiniLM's values are spread nearly alike."""
    for name, documents, _ in collections:
        assert 0.15 <= Codec.fit(documents, 256, project=False).limit <= 0.21, name


def test_refined_codes_have_limits_of_their_own():
    random = np.random.default_rng(0)
    centres = random.standard_normal((60, 64), dtype=np.float32)
    sample = centres[random.integers(0, 60, 3000)] + random.standard_normal((3000, 64), dtype=np.float32) * 0.4
    metric = Metric.fit(sample, 64)

    def recall(codec):
        return codec.report(sample, refine=metric).recall[10].mean

    plain, refined = Codec.fit(sample, 64), Codec.fit(sample, 64, refine=True)
    assert refined.limit < plain.limit
    assert recall(refined) > max(recall(Codec(64, limit=refined.limit * times)) for times in (0.7, 0.8, 1.25, 1.5))
    with pytest.raises(TypeError, match=r"refine: expected a bool.* got Metric"):
        Codec.fit(sample, 64, refine=metric)


@pytest.mark.parametrize("bits", [4, 8])
def test_fit_of_odd_data(bits):
    for sample in (
        np.ones((50, 16), np.float32),
        np.repeat(uneven(5, 16), 10, axis=0),
        np.eye(32, 16, dtype=np.float32),
    ):
        for refine in (False, True):
            codec = Codec.fit(sample, 8, bits, refine=refine)
            assert codec.limit > 0
            assert len(codec.pack(sample)) == len(sample)
    assert Codec.fit(np.ones((50, 16), np.float32), 16, bits).limit == Codec(16, bits).limit
    rest = np.random.default_rng(0).standard_normal((50, 20))
    rest[:, 8:] = np.nan  # not read
    assert Codec.fit(rest, 8, bits, project=False) == Codec.fit(rest[:, :8], 8, bits)
    with pytest.raises(ValueError, match="row 0 holds NaN or infinity; every value must be finite"):
        Codec.fit(rest, 8, bits)
    with pytest.raises(ValueError, match="seed: expected at least 0, got -1"):
        Codec.fit(rest, 8, bits, project=False, seed=-1)
    with pytest.raises(TypeError, match="project: expected a bool or None, got str"):
        Codec.fit(rest, 8, bits, project="no")
    for count in (0, 1, 19):
        with pytest.raises(ValueError, match=f"at least 20 rows.* got {count}"):
            Codec.fit(uneven(count), 8, bits)
    with pytest.raises(ValueError, match="d >= 98"):
        Codec.fit(uneven(50), 98, bits)


@pytest.mark.parametrize("bits", [4, 8])
def test_fit_of_one_cluster_keeps_its_order(bits):
    """Codes that are all the same have no error beside a straight line, and find nothing."""
    random = np.random.default_rng(0)
    for spread in (0.003, 0.1):
        sample = (1 + spread * random.standard_normal((1000, 64))).astype(np.float32)
        codec = Codec.fit(sample, 64, bits)
        assert len(np.unique(codec.pack(sample), axis=0)) > 900
        best = max(Codec(64, bits, limit).report(sample).recall[10].mean for limit in np.geomspace(0.2, 1.2, 20))
        assert codec.report(sample).recall[10].mean > best / 2


def test_files(projection, tmp_path):
    for codec in (
        Codec(),
        Codec(30, 8, 0.1),
        Codec(32, 4, 0.18, projection=projection),
        Codec(30, 4, spacing="normal"),
    ):
        codec.save(tmp_path / "codec.npz")
        assert Codec.load(tmp_path / "codec.npz") == codec
        assert Codec.load(str(tmp_path / "codec.npz")) == codec
    assert [file.name for file in tmp_path.iterdir()] == ["codec.npz"]


def test_a_damaged_file_is_refused_or_read_right(tmp_path):
    """Each byte in turn, and each length: whatever zipfile makes of that, another codec never comes out."""
    path = tmp_path / "codec.npz"
    codec = Codec(4, 4, 0.5, projection=Projection(np.random.default_rng(0).standard_normal((6, 4))))
    codec.save(path)
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    for place, byte in enumerate(whole):
        damaged += [whole[:place] + bytes([byte ^ bit]) + whole[place + 1 :] for bit in (1, 0x80)]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            assert Codec.load(path) == codec
        except ValueError as error:
            assert "codec.npz" in str(error)  # noqa: PT017  either may come
            refused += 1
    assert refused > len(damaged) // 2


def test_a_huge_array_in_a_file_is_refused(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (10**13, 4)})
    Codec(4).save(tmp_path / "codec.npz")
    with zipfile.ZipFile(tmp_path / "codec.npz", "a") as file:
        file.writestr("projection.npy", head.getvalue())
    with pytest.raises(ValueError, match=r"codec\.npz: holds no codec"):
        Codec.load(tmp_path / "codec.npz")


def test_what_is_saved_over(tmp_path):
    """A link stays one; a folder, or a device, is nothing to replace."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.npz").symlink_to(tmp_path / "folder" / "codec.npz")
    Codec(4).save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert Codec.load(tmp_path / "folder" / "codec.npz") == Codec(4)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match=r"pipe: expected the name of a file"):
            Codec(4).save(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"folder: expected the name of a file"):
        Codec(4).save(tmp_path / "folder")


def test_wrong_files(tmp_path):
    path = tmp_path / "codec.npz"
    good = {"frazil_codec": 1, "dim": 32, "bits": 4, "limit": 0.18, "spacing": "uniform"}

    def written(**arrays):
        np.savez(path, **arrays)
        return path.read_bytes()

    whole = written(**good)
    objects = io.BytesIO()
    np.save(objects, np.array([print], object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("dim.npy", objects.getvalue())
    pickled = path.read_bytes()
    for content, text in (
        (b"", "holds no codec"),
        (b"hello", "holds no codec"),
        (whole[: len(whole) // 2], "holds no codec"),
        (pickled, "holds no codec"),
        (
            written(x=np.ones(3), dim=32.0),
            "holds no codec of frazil's: missing: frazil_codec, bits, limit, spacing; foreign: x; "
            "not what it should be: dim$",
        ),
        (written(**good | {"frazil_codec": 2}), "format 2; this frazil reads format 1"),
        (written(**good | {"frazil_codec": 0}), "holds no codec of frazil's: not what it should be: frazil_codec$"),
        (written(**good | {"bits": 5}), "bits"),
        (written(**good | {"dim": 31}), "dim"),
        (written(**good | {"limit": np.nan}), "limit"),
        (written(**good | {"limit": np.ones(2)}), "limit"),
        (written(**good | {"dim": "a"}), "dim"),
        (written(**good | {"spacing": "odd"}), "spacing"),
        (written(**good | {"spacing": 1}), "spacing"),
        (written(**good | {"other": 1}), "holds no codec of frazil's: foreign: other$"),
        (written(**good | {"projection": np.ones(3)}), "matrix"),
        (written(**good | {"projection": np.ones((40, 31))}), "projection"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=text):
            Codec.load(path)
        if path.name not in text:  # what is wrong with a codec is said of the file as well
            with pytest.raises(ValueError, match=r"codec\.npz: "):
                Codec.load(path)
    array = io.BytesIO()
    np.save(array, np.ones(3))
    path.write_bytes(array.getvalue())
    with pytest.raises(ValueError, match="holds no codec"):
        Codec.load(path)
    with pytest.raises(OSError, match="missing"):
        Codec.load(tmp_path / "missing.npz")
