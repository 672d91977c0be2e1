"""Collections whose codecs have projections, and whose codes are refined."""

import sqlite3

import numpy as np
import pytest
from collections_common import assert_whole, vectors

from frazil import Codec, Collection, CollectionError, Metric, Projection

PROJECTION = Projection.fit(vectors(300, dim=48), 32)
METRIC = Metric.fit(vectors(300, seed=1, dim=32), 32)
CODEC = Codec(32, 4, 0.4, projection=PROJECTION)


@pytest.mark.parametrize("refine", [False, True, METRIC], ids=["plain", "refined", "metric"])
@pytest.mark.parametrize("codec", [Codec(32), CODEC, Codec(32, spacing="normal")], ids=["cut", "projected", "normal"])
def test_codes_are_the_codecs(tmp_path, codec, refine):
    x, queries = vectors(500, dim=48), vectors(4, seed=2, dim=48)
    finer = Codec(32, 8, projection=codec.projection)
    with Collection.create(tmp_path / "store", codec, rerank=finer, refine=refine) as found:
        found.add(range(400), x[:400])
        found.upsert(range(390, 500), x[390:])
    codes = codec.pack(x, refine=refine)
    with Collection.open(tmp_path / "store", codec, rerank=finer, refine=refine) as found:
        assert (found.codec, found.rerank_codec, found.refine) == (codec, finer, refine)
        assert found.info()["refine"] == refine
        records = found.get(range(500))
        assert np.array_equal(records.codes, codes)
        assert np.array_equal(records.rerank_codes, finer.pack(x))
        hits, wanted = found.search(queries, k=7), codec.search(queries, codes, 7)
        assert np.array_equal(hits.scores, wanted.scores)
        assert hits.ids == wanted.rows.tolist()
        found.delete([3])
        found.compact()
        found.build_sketch()
        assert_whole(found)
        hits = found.search(queries, k=7, rerank=50)
        finest = finer.score(queries, finer.pack(x))
        wanted = finest[np.arange(4), [row[0] for row in hits.ids]]
        assert hits.scores[:, 0] == pytest.approx(wanted, abs=1e-6)  # the last bits of a projection are NumPy's


def test_another_codec_or_refinement_is_refused(tmp_path):
    Collection.create(tmp_path / "store", CODEC, refine=METRIC).close()
    other = Projection.fit(vectors(300, dim=48), 32, seed=1)
    for codec in (Codec(32, 4, 0.4), Codec(32, 4, 0.4, projection=other)):
        with pytest.raises(ValueError, match="codec: expected"):
            Collection.open(tmp_path / "store", codec)
    for refine in (True, False, Metric(np.eye(32))):
        with pytest.raises(ValueError, match="refine: expected"):
            Collection.open(tmp_path / "store", CODEC, refine=refine)
    Collection.open(tmp_path / "store", CODEC, refine=METRIC).close()
    with pytest.raises(TypeError, match="refine"):
        Collection.create(tmp_path / "other", CODEC, refine="yes")
    with pytest.raises(ValueError, match="32 dimensions"):
        Collection.create(tmp_path / "other", CODEC, refine=Metric(np.eye(30)))
    assert not (tmp_path / "other").exists()


def test_every_bit_of_a_codec_is_checked(tmp_path):
    """A flipped bit would decode every row wrongly."""
    Collection.create(tmp_path / "store", CODEC, refine=METRIC).close()
    path = tmp_path / "store" / "catalog.sqlite3"
    for column, matrix in (("projection", PROJECTION.matrix), ("metric", METRIC.matrix)):
        whole = bytearray(matrix.tobytes())
        for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 20).tolist():
            whole[bit // 8] ^= 1 << bit % 8
            sql = sqlite3.connect(path)
            sql.execute(f"UPDATE codecs SET {column} = ?", (bytes(whole),))
            sql.commit()
            sql.close()
            with pytest.raises(CollectionError, match="codecs: the checksum"):
                Collection.open(tmp_path / "store")
            whole[bit // 8] ^= 1 << bit % 8
        sql = sqlite3.connect(path)
        sql.execute(f"UPDATE codecs SET {column} = ?", (bytes(whole),))
        sql.commit()
        sql.close()
    with Collection.open(tmp_path / "store") as found:
        assert found.codec == CODEC
        assert found.refine == METRIC


@pytest.mark.parametrize("refine", [True, METRIC], ids=["refined", "metric"])
def test_parquet_holds_them(tmp_path, refine):
    pytest.importorskip("pyarrow")
    from frazil.collection.exchange import told_properties

    with Collection.create(tmp_path / "store", CODEC, refine=refine, model="some/model") as found:
        found.add(range(9), vectors(9, dim=48))
        found.export(tmp_path / "x.parquet")
        told = told_properties(tmp_path / "x.parquet")
        assert (told.codec, told.rerank, told.refine, told.model) == (CODEC, None, refine, "some/model")
        with Collection.create(tmp_path / "copy", told.codec, refine=told.refine, model=told.model) as copy:
            copy.import_(tmp_path / "x.parquet")
            assert np.array_equal(copy.get(range(9)).codes, found.get(range(9)).codes)
        with (
            Collection.create(tmp_path / "other", Codec(32, 4, 0.4)) as other,
            pytest.raises(ValueError, match="codec"),
        ):
            other.import_(tmp_path / "x.parquet")


def test_index_with_a_codec(tmp_path, capsys):
    from frazil import cli

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    x = vectors(60, dim=48)
    np.save(tmp_path / "x.npy", x)
    CODEC.save(tmp_path / "codec.npz")
    options = "-o", tmp_path / "store", "--codec", tmp_path / "codec.npz"
    assert run("index", tmp_path / "x.npy", *options, "--refine", "--rerank")[0] == 0
    assert run("index", tmp_path / "x.npy", *options, "--refine", "--rerank")[0] == 0
    with Collection.open(tmp_path / "store") as found:
        assert (found.codec, found.refine, found.rerank_codec) == (CODEC, True, Codec(32, 8, projection=PROJECTION))
        assert np.array_equal(found.get(range(60)).codes, CODEC.pack(x, refine=True))
    _, out, _ = run("info", tmp_path / "store")
    assert "projection=Projection(48 to 32))\n" in out
    Codec(32).save(tmp_path / "other.npz")
    np.save(tmp_path / "narrow.npy", x[:, :40])
    for arguments, wanted in (
        (("index", tmp_path / "x.npy", "-o", tmp_path / "store", "--codec", tmp_path / "other.npz"), "--codec"),
        (("index", tmp_path / "x.npy", "-o", tmp_path / "new", *options[2:], "--dim", "32"), "--dim"),
        (("index", tmp_path / "narrow.npy", "-o", tmp_path / "new", *options[2:]), "takes 48 dimensions"),
        (("index", tmp_path / "x.npy", "-o", tmp_path / "new", "--codec", tmp_path / "x.npy"), "holds no codec"),
    ):
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert wanted in err
    assert not (tmp_path / "new").exists()
