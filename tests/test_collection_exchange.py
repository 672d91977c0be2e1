"""Export and import: Parquet, Arrow, NumPy; and what is wrong with a file."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
from collections_common import CODEC, assert_whole, vectors

from frazil import Codec, Collection

FINE = Codec(32, 8)
CODEC_TEXT = '{"dim": 32, "bits": 4, "limit": 0.18, "spacing": "uniform"}'


def everything(collection):
    found = []
    for batch in collection.batches(7):
        finer = [None] * len(batch.ids) if batch.rerank_codes is None else map(bytes, batch.rerank_codes)
        found += zip(batch.ids, map(bytes, batch.codes), batch.documents, batch.metadatas, finer, strict=True)
    return found


@pytest.fixture(params=["strings", "integers", "empty"])
def collection(request, tmp_path):
    kind = request.param
    with Collection.create(tmp_path / "store", CODEC, rerank=FINE, model="m", revision="r") as found:
        if kind != "empty":
            ids = [f"ünï {i}" for i in range(50)] if kind == "strings" else list(range(-25, 25))
            texts = [None if i % 7 == 0 else f"text\n{i} 🧊" for i in range(50)]
            metadatas = [None if i % 5 == 0 else {"n": i, "ü": [i, {"x": None}], "f": i / 7} for i in range(50)]
            found.add(ids, vectors(50), texts, metadatas)
            found.delete(ids[::4])
        yield found


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_there_and_back(collection, suffix, tmp_path, monkeypatch):
    monkeypatch.setattr("frazil.collection.exchange._AT_ONCE", 9)
    path = tmp_path / f"file{suffix}"
    assert collection.export(path) == len(collection)
    assert [one.name for one in tmp_path.iterdir() if "partial" in one.name] == []
    with Collection.create(tmp_path / "other", CODEC, rerank=FINE, model="m") as other:
        assert other.import_(path) == len(collection)
        assert everything(other) == everything(collection)
        assert_whole(other)
        if len(collection):
            with pytest.raises(ValueError, match="already"):
                other.import_(path)
        assert other.import_(path, upsert=True) == len(collection)
        assert everything(other) == everything(collection)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_what_does_not_go_together(suffix, tmp_path):
    """Models, re-ranking and widths of a file and of a collection, new or not, that differ."""
    files = {}
    for name, model, options in (
        ("named", "m", {"revision": "r"}),
        ("nameless", None, {}),
        ("finer", "m", {"rerank": FINE}),
        ("wide", "m", {}),
    ):
        with Collection.create(tmp_path / name, CODEC, model=model, **options) as found:
            found.add(["a"], vectors(1, dim=64 if name == "wide" else 32))
            files[name] = tmp_path / f"{name}{suffix}"
            found.export(files[name])
    with Collection.create(tmp_path / "o", CODEC) as found:
        for _ in range(2):
            with pytest.raises(ValueError, match=r"is of the model m, .*o does not say of which model it is$"):
                found.import_(files["named"])
            found.upsert([1], vectors(1))
        assert found.import_(files["nameless"]) == 1
    with Collection.create(tmp_path / "n", CODEC, model="n") as found:
        with pytest.raises(ValueError, match=r"is of the model m, .*n is of the model n$"):
            found.import_(files["named"])
        with pytest.raises(ValueError, match=r"named.* is of the model m, not of n$"):
            found.import_(files["named"], model="n")
        with pytest.raises(ValueError, match=r"does not say .*, .*n is of the model n; .* say so \(model, --model\)"):
            found.import_(files["nameless"])
        assert len(found) == 0
        assert found.import_(files["nameless"], model="n") == 1
    with Collection.create(tmp_path / "m", CODEC, model="m", revision="s") as found:
        with pytest.raises(ValueError, match=r"is of the model's revision r, .* of s$"):
            found.import_(files["named"])
        with pytest.raises(ValueError, match=r"holds second codes, of Codec\(dim=32, bits=8.* was made without"):
            found.import_(files["finer"])
        assert found.import_(files["wide"]) == 1
        assert found.info()["embedding_dim"] == 64
        with pytest.raises(ValueError, match=r"expected 64 columns, .* got 32"):
            found.add([1], vectors(1))
    with Collection.create(tmp_path / "w", CODEC, model="m") as found:
        found.add([1], vectors(1))
        with pytest.raises(ValueError, match=r"expected 32 columns, .* got 64"):
            found.import_(files["wide"])
        for width in ("many", "31", "-64"):
            table = pa.table({"id": [3], "codes": pa.array([b"x" * 16], pa.binary(16))})
            fields = [table.schema.field(0), table.schema.field(1).with_metadata({"frazil.codec": CODEC_TEXT})]
            schema = pa.schema(fields, metadata={"frazil.embedding_dim": width, "frazil.model": "m"})
            pa.parquet.write_table(table.cast(schema), tmp_path / "width.parquet")
            with pytest.raises(ValueError, match=f"says a width of embeddings .*: '{width}'"):
                found.import_(tmp_path / "width.parquet")
        assert list(found) == [1]


def test_a_numpy_file_is_of_the_collections_model(tmp_path):
    np.save(tmp_path / "x.npy", vectors(2))
    np.save(tmp_path / "x.ids.npy", np.arange(2))
    with Collection.create(tmp_path / "m", CODEC, model="m") as found:
        with pytest.raises(ValueError, match=r"x\.npy: is of the model n, .* is of the model m"):
            found.import_(tmp_path / "x.npy", model="n")
        with pytest.raises(TypeError, match="model"):
            found.import_(tmp_path / "x.npy", model=3)
        assert found.import_(tmp_path / "x.npy") == 2


def test_what_is_in_the_file(collection, tmp_path):
    collection.export(tmp_path / "file.parquet")
    table = pa.parquet.read_table(tmp_path / "file.parquet")
    assert table.schema.names == ["id", "codes", "rerank", "document", "metadata"]
    assert table.schema.field("codes").type == pa.binary(16)
    assert table.schema.field("codes").metadata[b"frazil.codec"] == CODEC_TEXT.encode()
    assert table.schema.metadata[b"frazil.model"] == b"m"
    assert table.column("id").to_pylist() == list(collection)
    collection.export(tmp_path / "file.arrow")
    assert pa.ipc.open_file(str(tmp_path / "file.arrow")).read_all().equals(table)


def test_numpy_there_and_back(collection, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # a full disk ends a process that writes to a memory map
        patch.setattr(np.lib.format, "open_memmap", None)
        assert collection.export(tmp_path / "file.npy") == len(collection)
    codes = np.load(tmp_path / "file.npy")
    assert (codes.dtype, codes.shape) == (np.uint8, (len(collection), 16))
    with Collection.create(tmp_path / "other", CODEC) as other:
        assert other.import_(tmp_path / "file.npy") == len(collection)
        assert [item[:2] for item in everything(other)] == [item[:2] for item in everything(collection)]
        np.save(tmp_path / "floats.npy", vectors(3))
        np.save(tmp_path / "floats.ids.npy", np.array([1000, 1001, 1002]))
        assert other.import_(tmp_path / "floats.npy") == 3
        assert np.array_equal(other.get([1000, 1001, 1002]).codes, CODEC.pack(vectors(3)))


def test_wrong_files(tmp_path):
    with Collection.create(tmp_path / "store", CODEC) as found, Collection.create(tmp_path / "w", Codec(32, 8)) as wide:
        found.add([1, 2], vectors(2))
        for read in (found.import_, found.export):
            with pytest.raises(ValueError, match=r"\.parquet, \.arrow"):
                read(tmp_path / "file.xlsx")
        with pytest.raises(OSError, match="nothing"):
            found.import_(tmp_path / "nothing.parquet")
        found.export(tmp_path / "a.parquet")
        with pytest.raises(
            ValueError, match=r"codes: is of the codec Codec\(dim=32, bits=4, .* of Codec\(dim=32, bits=8"
        ):
            wide.import_(tmp_path / "a.parquet")
        with (
            Collection.create(tmp_path / "l", Codec(32, 4, 0.2)) as other,
            pytest.raises(ValueError, match=r"is of the codec Codec\(dim=32, bits=4, limit=0.18\)"),
        ):
            other.import_(tmp_path / "a.parquet")
        for suffix, text in ((".parquet", "no Parquet"), (".arrow", "no Arrow"), (".npy", "no NumPy")):
            (tmp_path / f"bad{suffix}").write_text(text * 20)
            with pytest.raises(ValueError, match=r".+"):
                found.import_(tmp_path / f"bad{suffix}")
        pa.parquet.write_table(pa.table({"id": [3], "x": [1]}), tmp_path / "columns.parquet")
        with pytest.raises(ValueError, match="columns id and codes, got id, x"):
            found.import_(tmp_path / "columns.parquet")
        told = {b"frazil.codec": CODEC_TEXT.encode()}
        schema = pa.schema([("id", pa.int64()), pa.field("codes", pa.binary(16), metadata=told)])
        pa.parquet.write_table(pa.table([[3, 4], [b"x" * 16, None]], schema=schema), tmp_path / "null.parquet")
        with pytest.raises(ValueError, match="missing in 1 rows"):
            found.import_(tmp_path / "null.parquet")
        schema = schema.append(pa.field("metadata", pa.string()))
        for text in ("{", "[" * 100_000, '{"a": "\\u0000"}', '{"a": ' + "[" * 200 + "]" * 200 + "}", '{"a": NaN}'):
            columns = [[3, 4], [b"x" * 16, b"y" * 16], [None, text]]
            pa.parquet.write_table(pa.table(columns, schema=schema), tmp_path / "metadata.parquet")
            with pytest.raises(ValueError, match="metadata"):
                found.import_(tmp_path / "metadata.parquet")
        found.add(["text"], vectors(1))
        for suffix in (".parquet", ".npy"):
            with pytest.raises(ValueError, match="one kind"):
                found.export(tmp_path / f"mixed{suffix}")
        np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
        with pytest.raises(ValueError, match="objects"):
            found.import_(tmp_path / "pickled.npy")
        assert list(found) == [1, 2, "text"]


def test_what_a_file_lacks(tmp_path):
    with Collection.create(tmp_path / "store", CODEC, rerank=FINE) as found:
        found.add([1, 2], vectors(2))
        with Collection.create(tmp_path / "plain", CODEC) as plain:
            plain.add([3, 4], vectors(2))
            for suffix in (".parquet", ".npy"):
                plain.export(tmp_path / f"plain{suffix}")
                with pytest.raises(ValueError, match=r"not the second ones, of Codec.* to re-rank with"):
                    found.import_(tmp_path / f"plain{suffix}")
        (tmp_path / "plain.ids.npy").unlink()
        with pytest.raises(FileNotFoundError, match=r"plain\.npy: its ids, .* must be in plain\.ids\.npy"):
            found.import_(tmp_path / "plain.npy")
        x = vectors(6)
        x[4, 1] = np.inf
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "x.ids.npy", np.arange(10, 16))
        with pytest.raises(ValueError, match=r"x\.npy: row 4 holds NaN"):
            found.import_(tmp_path / "x.npy")
        np.save(tmp_path / "x.ids.npy", np.array([7, 8, 1, 9, 10, 11]))
        np.save(tmp_path / "x.npy", vectors(6))
        with pytest.raises(ValueError, match=r"x\.npy: rows 0 to 5: ids: 1: in the collection already"):
            found.import_(tmp_path / "x.npy")
        fields = [pa.field(name, pa.binary(16), metadata={"frazil.codec": "{}}"}) for name in ("codes", "rerank")]
        schema = pa.schema([("id", pa.int64()), *fields])
        pa.parquet.write_table(pa.table([[1], [b"x" * 16], [b"x" * 16]], schema=schema), tmp_path / "codec.parquet")
        with pytest.raises(ValueError, match=r"codec\.parquet: codes: says a codec that is none"):
            found.import_(tmp_path / "codec.parquet")


def test_a_missing_pyarrow_is_named(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from frazil import Collection\n"
        "with Collection.create(sys.argv[1]) as found:\n"
        "    try: found.export('x.parquet')\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], capture_output=True, text=True, check=True)
    assert "pip install 'frazil[arrow]'" in done.stdout
