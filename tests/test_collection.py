"""`Collection`: each operation, what it is given, and what it refuses."""

import enum
import sqlite3

import numpy as np
import pytest
from collections_common import CODEC, assert_whole, filled, vectors

from frazil import ARCTIC_INT4, ARCTIC_INT8, Codec, Collection, CollectionError
from frazil.collection import codefiles


@pytest.fixture
def collection(tmp_path):
    with filled(tmp_path / "store") as found:
        yield found


def test_what_is_added_is_found(collection):
    x = vectors(10)
    hits = collection.search(x[:3], k=2)
    assert hits.scores.shape == (3, 2)
    assert [ids[0] for ids in hits.ids] == ["i0", "i1", "i2"]
    assert [texts[0] for texts in hits.documents] == ["document 0", "document 1", "document 2"]
    assert [dicts[0] for dicts in hits.metadatas] == [{"n": n, "third": n % 3 == 0} for n in range(3)]
    one = collection.search(x[4], k=1)
    assert (one.ids, one.documents, one.metadatas) == (["i4"], ["document 4"], [{"n": 4, "third": False}])
    assert one.scores.shape == (1,)
    assert len(collection) == 10
    assert_whole(collection)


@pytest.mark.parametrize("query_bits", [4, 8, 32])
def test_a_search_is_the_codecs(collection, query_bits):
    codes = np.fromfile(collection.path / "codes-1.bin", np.uint8).reshape(10, CODEC.row_bytes)
    assert np.array_equal(codes, CODEC.pack(vectors(10)))
    for queries in (vectors(5, seed=1), vectors(1, seed=2)[0]):
        plain = CODEC.search(queries, codes, k=7, query_bits=query_bits)
        hits = collection.search(queries, k=7, query_bits=query_bits)
        assert np.array_equal(hits.scores, plain.scores)
        rows = np.vectorize(lambda name: int(name[1:]))(np.array(hits.ids))
        assert np.array_equal(rows, plain.rows)


def test_open_finds_what_was_closed(collection):
    collection.close()
    with Collection.open(collection.path) as again:
        assert again.codec == CODEC
        assert list(again) == [f"i{i}" for i in range(10)]
        assert_whole(again)
    with pytest.raises(CollectionError, match="was closed"):
        collection.search(vectors(1))
    with pytest.raises(CollectionError, match="was closed"):
        len(collection)
    assert repr(collection) == f"<Collection {str(collection.path)!r}, closed>"


def test_open_and_create(tmp_path):
    with pytest.raises(CollectionError, match="holds no collection"):
        Collection.open(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    with Collection.open(tmp_path / "a" / "b", CODEC, model="m", revision="r1") as made:
        assert (made.codec, made.rerank_codec, made.model, made.revision) == (CODEC, None, "m", "r1")
        assert repr(made) == f"<Collection {str(made.path)!r}: 0 items, {CODEC!r}>"
    with Collection.open(str(tmp_path / "a" / "b"), CODEC, model="m") as again:
        assert len(again) == 0
    for options in ({"codec": ARCTIC_INT4}, {"model": "n"}, {"revision": "r2"}, {"rerank": ARCTIC_INT8}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Collection.open(tmp_path / "a" / "b", **options)
    with pytest.raises(CollectionError, match="already"):
        Collection.create(tmp_path / "a" / "b", CODEC)
    with Collection.create(tmp_path / "used", CODEC) as used:  # whose files have other names than a new one's
        for change in (used.build_sketch, lambda: used.delete(["i"]) and used.compact()):
            used.upsert(["i", "j"], vectors(2))
            change()
            with pytest.raises(CollectionError, match="there is a collection already; open it"):
                Collection.create(tmp_path / "used", CODEC)
    (tmp_path / "file.txt").write_text("Dear …")
    for make in (Collection.create, Collection.open):
        with pytest.raises(CollectionError, match=r"file\.txt: expected a folder, got a file"):
            make(tmp_path / "file.txt", CODEC)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("Dear …")
    with pytest.raises(CollectionError, match=r"letter\.txt"):
        Collection.open(tmp_path / "other", CODEC)
    assert Collection.create(tmp_path / "default").codec == ARCTIC_INT4
    with pytest.raises(TypeError, match="codec"):
        Collection.create(tmp_path / "c", "int4")
    with pytest.raises(TypeError, match="model"):
        Collection.create(tmp_path / "c", CODEC, model=3)


def test_embeddings_in_a_column(tmp_path):
    """As pandas has them: objects, each of which is an array."""

    class Series:
        shape, dtype = (3,), np.dtype(object)

        def __array__(self, dtype=None, copy=None):
            return np.array([*vectors(3), None], object)[:-1]

    with Collection.create(tmp_path / "store", CODEC) as found:
        for column in (Series(), np.asarray(Series())):
            with pytest.raises(TypeError, match=r"embeddings: expected .* got 3 objects, .* np\.stack makes one array"):
                found.add([1, 2, 3], column)
        found.add([1, 2, 3], np.stack(np.asarray(Series())))


def test_ids_are_strings_and_integers(tmp_path):
    ids = ["1", 1, "", "a\0b", "ünï", "🧊", -(2**63), 2**63 - 1, "x" * 10_000, "'; DROP TABLE items; --"]
    with Collection.create(tmp_path / "store", CODEC) as found:
        found.add(ids, vectors(len(ids)))
        assert list(found) == ids
        assert found.get(ids).ids == ids
        assert found.get(["1"]).codes.tolist() == CODEC.pack(vectors(10)[:1]).tolist()
        assert [type(name) for name in found.get(["1", 1]).ids] == [str, int]
        assert all(name in found for name in ids)
        assert 2 not in found
        assert None not in found
        assert True not in found
        assert 2**70 not in found
        assert "\ud800" not in found
        assert np.datetime64(7, "ns") not in found
        assert found.delete([1]) == 1
        assert "1" in found
        found.add(np.array([7, 8], np.uint8), vectors(2))
        found.add(np.array(["p", "q"]), vectors(2))
        found.add((name for name in [np.int64(9), np.str_("r")]), vectors(2))
        found.add([Named.FIRST, Numbered.SECOND], vectors(2))
        assert list(found)[-8:] == [7, 8, "p", "q", 9, "r", "first", 2]
        assert [type(name) for name in found][-2:] == [str, int]
        assert Named.FIRST in found


class Named(str, enum.Enum):
    FIRST = "first"


class Numbered(enum.IntEnum):
    SECOND = 2


def test_numpys_numbers_in_metadata(collection):
    given = {"a": np.int64(7), "b": np.float32(0.5), "c": np.bool_(True), "d": [np.uint8(3)], "e": Named.FIRST}
    collection.add(["new"], vectors(1), metadatas=[given | {"f": np.str_("x"), "g": Numbered.SECOND}])
    (found,) = collection.get(["new"]).metadatas
    assert found == {"a": 7, "b": 0.5, "c": True, "d": [3], "e": "first", "f": "x", "g": 2}
    assert found["c"] is True
    for where in ({"a": 7}, {"a": np.int64(7), "b": np.float16(0.5)}, {"e": Named.FIRST}, {"f": np.str_("x"), "g": 2}):
        assert collection.search(vectors(1)[0], where=where).ids == ["new"]


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ("abc", TypeError),
        (b"abc", TypeError),
        (5, TypeError),
        (None, TypeError),
        ([1.0, "a"], TypeError),
        ([True, "a"], TypeError),
        ([None, "a"], TypeError),
        ([b"a", "a"], TypeError),
        (np.array(["2020", "2021"], "M8[Y]"), TypeError),
        (np.array([1, 2], "M8[ns]"), TypeError),
        (np.array([1, 2], "m8[s]"), TypeError),
        ([np.timedelta64(3), "a"], TypeError),
        ([2**63, "a"], ValueError),
        (["\ud800", "a"], ValueError),
        (np.zeros((2, 2), np.int64), ValueError),
    ],
)
def test_wrong_ids(collection, ids, error):
    for call in (lambda: collection.add(ids, vectors(2)), lambda: collection.delete(ids), lambda: collection.get(ids)):
        with pytest.raises(error, match="ids"):
            call()
    assert len(collection) == 10


def test_ids_that_are_there_already(collection):
    with pytest.raises(ValueError, match="'i3', 'i5': in the collection already"):
        collection.add(["new", "i3", "i5"], vectors(3))
    with pytest.raises(ValueError, match="'a': more than once"):
        collection.add(["a", "b", "a"], vectors(3))
    with pytest.raises(ValueError, match="'a': more than once"):
        collection.upsert(["a", "b", "a"], vectors(3))
    assert len(collection) == 10
    assert "new" not in collection
    assert_whole(collection)


def test_nothing_of_a_failed_call_is_kept(collection, monkeypatch):
    """Also where it fails in a later part, whose rows have been written already."""
    monkeypatch.setattr("frazil.collection.writer._AT_ONCE", 4)
    x = vectors(10, seed=3)
    x[9, 0] = np.nan
    ids = [f"n{i}" for i in range(10)]
    with pytest.raises(ValueError, match="embeddings: row 9 holds NaN"):
        collection.add(ids, x)
    with pytest.raises(ValueError, match="'i1'"):
        collection.add([*ids[:9], "i1"], vectors(10))
    with pytest.raises(ValueError, match="row 9 "):
        collection.upsert(["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9"], x)
    assert list(collection) == [f"i{i}" for i in range(10)]
    assert_whole(collection)
    collection.add(ids, vectors(10, seed=4))
    assert np.array_equal(collection.get(ids).codes, CODEC.pack(vectors(10, seed=4)))
    assert_whole(collection)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TypeError, "either embeddings or codes"),
        ({"embeddings": vectors(2), "codes": CODEC.pack(vectors(2))}, TypeError, "either embeddings or codes"),
        ({"embeddings": vectors(3)}, ValueError, r"expected shape \(2, d\)"),
        ({"embeddings": vectors(2)[0]}, ValueError, r"expected shape \(2, d\)"),
        ({"embeddings": vectors(2, dim=8)}, ValueError, "8"),
        ({"embeddings": vectors(2).astype(int)}, TypeError, "int64"),
        ({"codes": CODEC.pack(vectors(3))}, ValueError, "expected shape"),
        ({"codes": CODEC.pack(vectors(2))[:, :8]}, ValueError, "expected shape"),
        ({"codes": vectors(2)}, TypeError, "uint8"),
        ({"codes": [[1]]}, TypeError, "uint8"),
        ({"embeddings": vectors(2), "rerank_codes": CODEC.pack(vectors(2))}, TypeError, "rerank_codes"),
        ({"embeddings": vectors(2), "documents": ["one"]}, ValueError, "expected 2"),
        ({"embeddings": vectors(2), "documents": "ab"}, TypeError, "expected a list"),
        ({"embeddings": vectors(2), "documents": [1, "b"]}, TypeError, "documents"),
        ({"embeddings": vectors(2), "documents": ["\udc00", "b"]}, ValueError, "Unicode"),
        ({"embeddings": vectors(2), "metadatas": [{}]}, ValueError, "expected 2"),
        ({"embeddings": vectors(2), "metadatas": {"a": 1}}, TypeError, "expected a list"),
        ({"embeddings": vectors(2), "metadatas": [{}, 3]}, TypeError, "dicts"),
        ({"embeddings": vectors(2), "metadatas": [{}, {1: 2}]}, TypeError, "keys"),
        ({"embeddings": vectors(2), "metadatas": [{}, {"a": {1: 2, "1": 3}}]}, TypeError, "keys"),
        ({"embeddings": vectors(2), "metadatas": [{}, {"a": object()}]}, TypeError, "object"),
        ({"embeddings": vectors(2), "metadatas": [{}, {"a": np.datetime64(1, "ns")}]}, TypeError, "datetime64"),
        ({"embeddings": vectors(2), "metadatas": [{}, {"a": np.timedelta64(1, "s")}]}, TypeError, "timedelta64"),
        ({"embeddings": vectors(2), "metadatas": [{}, {"a": float("nan")}]}, ValueError, "nan"),
        ({"embeddings": vectors(2), "metadatas": [{}, {"a": "\ud800"}]}, ValueError, "Unicode"),
        ({"embeddings": vectors(2), "notes": {"a": 1}}, TypeError, "notes"),
    ],
)
def test_wrong_arguments_of_add(collection, options, error, message):
    for write in (collection.add, collection.upsert):
        with pytest.raises(error, match=message):
            write(["a", "b"], **options)
    assert len(collection) == 10


def test_many_kinds_of_embeddings(tmp_path):
    x = vectors(4)
    with Collection.create(tmp_path / "store", CODEC) as found:
        found.add(["a", "b"], x[:2].tolist())
        found.add(["c"], x[2:3].astype(np.float16))
        found.add(["d"], codes=CODEC.pack(x[3:]))
        found.add([], np.empty((0, 32), np.float32))
        found.add([], [])
        found.upsert([], [])
        with pytest.raises(ValueError, match=r"embeddings: expected 32 columns, .* got 99"):
            found.add(["wide"], vectors(1, dim=99))
        assert np.array_equal(found.get(["a", "b"]).codes, CODEC.pack(x[:2].astype(np.float64)))
        assert np.array_equal(found.get(["d"]).codes, CODEC.pack(x[3:]))


def test_upsert_replaces(collection):
    x = vectors(2, seed=9)
    collection.upsert(["i3", "new"], x, documents=["other", None])
    assert len(collection) == 11
    found = collection.get(["i3", "new"])
    assert found.documents == ["other", None]
    assert found.metadatas == [None, None]
    assert np.array_equal(found.codes, CODEC.pack(x))
    assert collection.search(x[0], k=1).ids == ["i3"]
    assert collection.search(vectors(10)[3], k=11).ids.count("i3") == 1
    assert_whole(collection)


def test_delete(collection):
    assert collection.delete(["i3", "no", 7, "i4", "i3"]) == 2
    assert collection.delete([]) == 0
    assert collection.delete(["i3"]) == 0
    assert len(collection) == 8
    assert "i3" not in collection
    found = collection.search(vectors(10)[3], k=10).ids
    assert sorted(found) == [f"i{i}" for i in range(10) if i not in (3, 4)]
    assert collection.info()["rows"] == 10
    collection.add(["i3"], vectors(1))
    assert len(collection) == 9
    assert_whole(collection)


def test_get_keeps_the_order_and_leaves_out_what_is_not_there(collection):
    found = collection.get(["i7", "nope", "i2", "i7"])
    assert found.ids == ["i7", "i2", "i7"]
    assert found.documents == ["document 7", "document 2", "document 7"]
    assert np.array_equal(found.codes, CODEC.pack(vectors(10)[[7, 2, 7]]))
    assert collection.get([]).codes.shape == (0, CODEC.row_bytes)


def test_iteration_is_a_snapshot(collection):
    batches = collection.batches(4)
    first = next(batches)
    collection.delete(["i9"])
    collection.compact()
    collection.add(["late"], vectors(1))
    rest = list(batches)
    assert [len(batch.ids) for batch in [first, *rest]] == [4, 4, 2]
    assert rest[-1].ids == ["i8", "i9"]
    assert np.array_equal(rest[-1].codes, CODEC.pack(vectors(10)[8:]))
    assert list(collection) == [*(f"i{i}" for i in range(9)), "late"]


def test_compact(collection):
    collection.delete(["i0", "i5"])
    collection.upsert(["i7"], vectors(1, seed=5), documents=["new"])
    before = {name: (collection.get([name]).codes.tolist(), collection.get([name]).documents) for name in collection}
    assert collection.compact() == 3
    assert collection.compact() == 0
    assert {
        name: (collection.get([name]).codes.tolist(), collection.get([name]).documents) for name in collection
    } == before
    assert (collection.path / "codes-2.bin").stat().st_size == 8 * CODEC.row_bytes
    assert not (collection.path / "codes-1.bin").exists()
    assert collection.info()["generation"] == 2
    assert_whole(collection)
    collection.delete(list(collection))
    assert collection.compact() == 8
    assert len(collection) == 0
    assert collection.search(vectors(1)[0]).ids == []
    collection.add(["again"], vectors(1))
    assert collection.search(vectors(1)[0]).ids == ["again"]
    assert_whole(collection)


def test_an_empty_collection(tmp_path):
    with Collection.create(tmp_path / "store", CODEC) as found:
        assert found.search(vectors(2)).scores.shape == (2, 0)
        assert found.search(vectors(2), where={"a": 1}).ids == [[], []]
        assert list(found) == list(found.batches()) == []
        found.build_sketch()
        assert found.search(vectors(2), failure=1e-3).ids == [[], []]
        assert found.compact() == 0
        assert_whole(found)


def test_allow_and_ids(collection):
    x = vectors(10)
    mask = np.zeros(10, np.bool_)
    mask[[2, 5, 8]] = True
    assert sorted(collection.search(x[0], allow=mask).ids) == ["i2", "i5", "i8"]
    assert sorted(collection.search(x[0], allow=[8, 2, 2]).ids) == ["i2", "i8"]
    assert sorted(collection.search(x[0], ids=["i5", "i6", "no"], allow=mask).ids) == ["i5"]
    assert sorted(collection.search(x[0], ids=["i5", "i6", 3]).ids) == ["i5", "i6"]
    assert collection.search(x[0], ids=[]).ids == []
    assert sorted(collection.search(x[0], where={"third": True}, ids=["i3", "i4"], allow=range(10)).ids) == ["i3"]
    collection.delete(["i5"])
    assert sorted(collection.search(x[0], allow=mask).ids) == ["i2", "i8"]
    for wrong in (np.ones(9, np.bool_), [10], [-1], np.zeros((2, 2), np.int64)):
        with pytest.raises(ValueError, match="allow"):
            collection.search(x[0], allow=wrong)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"k": 0}, ValueError),
        ({"k": 1.5}, TypeError),
        ({"query_bits": 5}, ValueError),
        ({"rerank": 20}, ValueError),
        ({"where": ["a"]}, TypeError),
        ({"ids": "i3"}, TypeError),
        ({"threads": 0}, ValueError),
    ],
)
def test_wrong_arguments_of_search(collection, options, error):
    with pytest.raises(error, match=next(iter(options))):
        collection.search(vectors(1), **options)


def test_sketch_and_what_was_added_since(tmp_path):
    x = vectors(3000, dim=64)
    codec = Codec(64, 4)
    with Collection.create(tmp_path / "store", codec) as found:
        found.add(range(2500), x[:2500])
        found.build_sketch()
        found.build_sketch()
        found.add(range(2500, 3000), x[2500:])
        found.delete(range(0, 3000, 7))
        assert found.info()["sketch_rows"] == 2500
        for queries in (x[:20] + 0.1, x[2700]):
            for options in ({}, {"ids": list(range(100))}, {"ids": list(range(10, 2999))}):
                exact = found.search(queries, k=20, **options)
                by_sketch = found.search(queries, k=20, failure=1e-9, **options)
                assert np.array_equal(exact.scores, by_sketch.scores)
                assert exact.ids == by_sketch.ids
        assert_whole(found)
        found.build_sketch()
        assert sorted(path.name for path in found.path.glob("sketch*")) == ["sketch-1-3000.bin"]
        assert found.search(x[0], k=20, failure=1e-9).ids == found.search(x[0], k=20).ids
        found.compact()
        assert found.info()["sketch_rows"] == 0
        assert list(found.path.glob("sketch*")) == []
        assert found.search(x[0], failure=1e-3).ids == found.search(x[0]).ids
        found.build_sketch()
        with pytest.raises(ValueError, match="failure"):
            found.search(x[0], failure=0.5)


def test_blocks_that_are_filled_bit_by_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(codefiles, "BLOCK_ROWS", 8)
    monkeypatch.setattr("frazil.collection.checks.BLOCK_ROWS", 8)
    monkeypatch.setattr("frazil.collection.catalog.BLOCK_ROWS", 8)
    monkeypatch.setattr("frazil.collection.writer.BLOCK_ROWS", 8)
    with Collection.create(tmp_path / "store", CODEC) as found:
        start = 0
        for count in (1, 6, 1, 8, 7, 2, 17, 16, 3):
            found.add(range(start, start + count), vectors(count, seed=count))
            start += count
            report = found.verify()
            assert (report.ok, report.blocks) == (True, -(-start // 8))
        found.delete(range(0, start, 2))
        found.compact()
        assert_whole(found)


def test_ids_given_often_are_deleted_once(collection):
    count = len(collection)
    assert collection.delete(["i1"] * 1001) == 1
    assert len(collection) == count - 1
    assert collection.get(["i2"] * 1001).ids == ["i2"] * 1001
    assert_whole(collection)


def test_too_few_rows_are_refused(collection):
    class Rows:
        shape = (4, CODEC.dim)

        def __getitem__(self, part):
            return vectors(4)[part][:2]

    before = list(collection)
    with pytest.raises(ValueError, match="expected 4 rows"):
        collection.add(list("wxyz"), Rows())
    assert list(collection) == before
    assert_whole(collection)


def test_a_lost_or_damaged_sketch_is_built_anew(collection):
    collection.build_sketch()
    (path,) = collection.path.glob("sketch-*.bin")
    for harm in (path.unlink, lambda: path.write_bytes(path.read_bytes()[:-1] + b"?")):
        harm()
        assert not collection.verify().ok
        collection.build_sketch()
        assert_whole(collection)
    path.unlink()
    with Collection.open(collection.path) as reader:
        assert reader.search(vectors(10)[3], k=1, failure=1e-3).ids == ["i3"]


def test_notes_are_committed_with_the_items(collection):
    collection.add(["a"], vectors(1), notes={"file": "3", "other": "x"})
    with pytest.raises(ValueError, match="already"):
        collection.add(["a"], vectors(1), notes={"file": "4"})
    collection.upsert([], np.empty((0, 32)), notes={"other": "y"})
    assert collection.notes == {"file": "3", "other": "y"}


def test_rerank(tmp_path):
    x = vectors(500, dim=64)
    with Collection.create(tmp_path / "store", Codec(64, 4), rerank=Codec(64, 8)) as found:
        found.add(range(400), x[:400])
        found.add(range(400, 500), codes=Codec(64, 4).pack(x[400:]), rerank_codes=Codec(64, 8).pack(x[400:]))
        found.delete(range(0, 500, 5))
        for round_ in range(2):
            for queries in (x[:6] + 0.05, x[7]):
                hits = found.search(queries, k=5, rerank=400)
                alive = [row for row in range(500) if row % 5]
                truth = Codec(64, 8).search(queries, Codec(64, 8).pack(x), k=5, allow=alive)
                assert np.array_equal(hits.scores, truth.scores)
                assert np.array_equal(np.array(hits.ids), truth.rows)
                few = found.search(queries, k=5, rerank=8)
                candidates = found.search(queries, k=8)
                for found_ids, among in zip(np.atleast_2d(few.ids), np.atleast_2d(candidates.ids), strict=True):
                    assert set(found_ids) <= set(among)
            if round_ == 0:
                found.compact()
                assert_whole(found)
        with pytest.raises(ValueError, match="at least k"):
            found.search(x[0], k=10, rerank=9)
        with pytest.raises(TypeError, match="rerank_codes"):
            found.add([1000], codes=Codec(64, 4).pack(x[:1]))
    with Collection.open(tmp_path / "store") as again:
        assert again.rerank_codec == Codec(64, 8)


def test_embeddings_are_of_one_width(tmp_path):
    """Which the collection remembers; codes have none."""
    with Collection.create(tmp_path / "store", CODEC) as found:
        found.add([0], codes=CODEC.pack(vectors(1)))
        found.upsert([], np.empty((0, 99)), notes={"a": "b"})
        assert found.info()["embedding_dim"] is None
        found.search(vectors(1, dim=40)[0])
        with pytest.raises(ValueError, match="more than once"):
            found.add([1, 1], vectors(2, dim=50))
        found.add([1], vectors(1, dim=48))
        assert found.info()["embedding_dim"] == 48
        assert found.notes == {"a": "b"}
    with Collection.open(tmp_path / "store") as found:
        for write in (found.add, found.upsert):
            with pytest.raises(ValueError, match=r"embeddings: expected 48 columns, .*, got 32"):
                write([2, 3], vectors(2))
        for queries in (vectors(3), vectors(1)[0], vectors(3).tolist()):
            with pytest.raises(ValueError, match=r"queries: expected 48 columns, .*, got 32"):
                found.search(queries)
        assert found.search(vectors(2, dim=48), k=2).scores.shape == (2, 2)
        assert list(found) == [0, 1]
        with pytest.raises(ValueError, match=r"begin with 'frazil\.'"):
            found.upsert([], np.empty((0, 48)), notes={"frazil.embedding_dim": "3"})
    with sqlite3.connect(tmp_path / "store" / "catalog.sqlite3") as sql:
        sql.execute("UPDATE notes SET value = 'wide' WHERE key = 'frazil.embedding_dim'")
    sql.close()
    with Collection.open(tmp_path / "store") as found, pytest.raises(CollectionError, match=r"damaged: .* 'wide'"):
        found.search(vectors(1))


def test_text_instead_of_vectors(collection):
    for queries in ("a text", ["a text"], np.array([["a"]])):
        with pytest.raises(TypeError, match=r"queries: expected floats, got text .*encode_query"):
            collection.search(queries)
    with pytest.raises(TypeError, match=r"embeddings: expected floats, got text .*encode_document"):
        collection.add(["new"], ["a text"])
