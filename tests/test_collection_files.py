"""`frazil index` and `import`: what is said of options and files that are wrong, odd or have changed."""

import json

import numpy as np
import pytest
from collections_common import filled, vectors
from commands_common import FakeEncoder, error, run, write_embeddings, write_texts

from frazil import Codec, Collection
from frazil.collection import indexing


def test_options_of_an_existing_collection(fake, tmp_path, capsys):
    """They were fixed when it was made: others are refused, not ignored; the same, and none, are fine."""
    x, store = tmp_path / "x.npy", tmp_path / "store"
    np.save(x, vectors(20, dim=64))
    run(capsys, "index", x, "-o", store, "--bits", 8, "--dim", 32, "--limit", 0.25, "--model", "m")
    for option, has, got in (("bits", 8, 4), ("dim", 32, 64), ("limit", 0.25, 0.3), ("model", "m", "other")):
        message = error(capsys, "index", x, "-o", store, f"--{option}", got)
        assert f"--{option}: {store} has {has}, got {got}" in message
    assert "--rerank: " in error(capsys, "index", x, "-o", store, "--rerank")
    assert "0 items added" in run(capsys, "index", x, "-o", store)
    assert "0 items added" in run(capsys, "index", x, "-o", store, "--bits", 8, "--dim", 32, "--limit", 0.25)
    message = error(capsys, "index", x, "-o", tmp_path / "n", "--dim", 65)
    assert "--dim: expected at most 64" in message
    assert not (tmp_path / "n").exists()


def test_embeddings_of_several_models(tmp_path, capsys):
    store = tmp_path / "store"
    for dim in (64, 96):
        np.save(tmp_path / f"{dim}.npy", vectors(20, dim=dim))
    both = error(capsys, "index", tmp_path / "64.npy", tmp_path / "96.npy", "-o", store)
    assert "64.npy 64" in both
    assert "96.npy 96" in both
    assert not store.exists()
    run(capsys, "index", tmp_path / "64.npy", "-o", store)
    message = error(capsys, "index", tmp_path / "96.npy", "-o", store)
    assert "96.npy" in message
    assert "expected 64 columns" in message
    assert "embedding dim         64\n" in run(capsys, "info", store)
    with Collection.open(store) as found:
        assert len(found) == 20


def test_upsert(fake, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(indexing, "_TEXTS", 8)
    path, store = tmp_path / "a.jsonl", tmp_path / "store"
    write_texts(path)
    run(capsys, "index", path, "-o", store)
    records = [{"_id": f"d{i}", "text": f"new {i}"} for i in (3, 4, 30)] + [{"_id": "d4", "text": "newest"}]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    assert "--upsert" in error(capsys, "index", path, "-o", store)
    assert "4 items added or replaced, 31 in" in run(capsys, "index", path, "-o", store, "--upsert")
    with Collection.open(store) as found:
        assert found.get(["d3", "d4", "d30", "d5"]).documents == [
            "new 3",
            "newest",
            "new 30",
            "Title 5 text 5, with\na line",
        ]
        assert found.verify()
    assert "0 items added" in run(capsys, "index", path, "-o", store)
    other = tmp_path / "other.jsonl"
    write_texts(other, count=3)
    message = error(capsys, "index", other, "-o", store)
    assert f"{other}: lines 1 to 3: ids: 'd0', 'd1', 'd2': in the collection already; --upsert replaces" in message
    assert "3 items" in run(capsys, "index", other, "-o", store, "--upsert")
    write_texts(tmp_path / "none.jsonl", ids=False)
    assert "no ids" in error(capsys, "index", tmp_path / "none.jsonl", "-o", store, "--upsert")
    np.save(tmp_path / "x.npy", vectors(2, dim=64))
    assert "no ids" in error(capsys, "index", tmp_path / "x.npy", "-o", store, "--upsert")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".npy"])
def test_export_and_import(suffix, fake, tmp_path, capsys):
    path, store, other = tmp_path / f"x{suffix}", tmp_path / "store", tmp_path / "other"
    write_texts(tmp_path / "a.jsonl")
    is_table = suffix != ".npy"
    run(capsys, "index", tmp_path / "a.jsonl", "-o", store, "--bits", 8, *(["--rerank"] if is_table else []))
    run(capsys, "export", store, path)
    assert "frazil import" in error(capsys, "index", path, "-o", other)
    if is_table:
        assert "--bits, --limit: are for .npy" in error(capsys, "import", path, "-o", other, "--bits", 8)
        assert "of the model fake, not of another" in error(capsys, "import", path, "-o", other, "--model", "another")
    else:
        assert "--bits 4 or --bits 8" in error(capsys, "import", path, "-o", other)
    options = [] if is_table else ["--bits", 8, "--model", "fake"]
    assert not other.exists()
    assert run(capsys, "import", path, "-o", other, *options) == f"30 items imported, 30 in {other}\n"
    assert "already" in error(capsys, "import", path, "-o", other)
    with Collection.open(other) as found:
        assert found.info()["embedding_dim"] == (64 if is_table else None)
    assert "30 items imported, 30 in" in run(capsys, "import", path, "-o", other, "--upsert")
    with Collection.open(store) as one, Collection.open(other) as two:
        assert (two.codec, two.rerank_codec, two.model) == (one.codec, one.rerank_codec, one.model)
        a, b = next(one.batches(100)), next(two.batches(100))
        assert a.ids == b.ids
        assert np.array_equal(a.codes, b.codes)
        if is_table:
            assert (a.documents, a.metadatas) == (b.documents, b.metadatas)
            assert np.array_equal(a.rerank_codes, b.rerank_codes)
    query = ["search", "Title 3 text 3", "-k", 2, "--json"]
    hits = [json.loads(run(capsys, query[0], folder, *query[1:])) for folder in (store, other)]
    assert [hit["score"] for hit in hits[0]] == [hit["score"] for hit in hits[1]]
    with Collection.create(tmp_path / "else", Codec(64, 8), rerank=two.rerank_codec, model="else"):
        pass
    if is_table:
        assert "is of the model fake" in error(capsys, "import", path, "-o", tmp_path / "else")


def test_a_failed_command_leaves_nothing_behind(fake, tmp_path, capsys, monkeypatch):
    """No settings that would bind the next command; what was committed stays, and so does what was there before."""
    monkeypatch.setattr(indexing, "_EMBEDDINGS", 8)
    x = vectors(20)
    np.save(tmp_path / "good.npy", x)
    for name, row in (("first", 0), ("later", 13)):
        bad = x.copy()
        bad[row] = np.nan
        np.save(tmp_path / f"{name}.npy", bad)
    np.save(tmp_path / "first.ids.npy", np.arange(20))
    (tmp_path / "bad.jsonl").write_text('{"text": "a", "id": 1}\n{')
    before = sorted(tmp_path.iterdir())
    for command, files in (("index", ("first.npy", "bad.jsonl")), ("import", ("first.npy", "good.npy"))):
        for file in files:
            for folder in (tmp_path / "n", tmp_path / "a" / "b" / "c"):
                error(capsys, command, tmp_path / file, "-o", folder)
                assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "mine").mkdir()
    error(capsys, "index", tmp_path / "first.npy", "-o", tmp_path / "mine", "--rerank")
    assert list((tmp_path / "mine").iterdir()) == []
    run(capsys, "index", tmp_path / "good.npy", "-o", tmp_path / "mine", "--bits", 8)
    error(capsys, "index", tmp_path / "later.npy", "-o", tmp_path / "n")
    with Collection.open(tmp_path / "n") as found:
        assert len(found) == 8
        assert found.verify().ok
    with Collection.create(tmp_path / "empty", Codec(32)):
        pass
    error(capsys, "index", tmp_path / "first.npy", "-o", tmp_path / "empty")
    with Collection.open(tmp_path / "empty") as found:
        assert len(found) == 0


def test_what_is_wrong_with_a_file(fake, tmp_path, capsys, monkeypatch):
    """Which file, and where in it."""
    monkeypatch.setattr(indexing, "_EMBEDDINGS", 8)
    good = vectors(20)
    np.save(tmp_path / "good.npy", good)
    cut = tmp_path / "cut.npy"
    cut.write_bytes((tmp_path / "good.npy").read_bytes()[:-10])
    (tmp_path / "empty.npy").touch()
    good[13, 5] = np.nan
    for suffix in (".npy", ".fvecs", ".fbin"):
        write_embeddings(tmp_path / f"nan{suffix}", good)
    np.savez(tmp_path / "archive.npz", good)
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    (tmp_path / "latin.csv").write_bytes(b"id,text\n1,caf\xe9\n")
    (tmp_path / "utf16.jsonl").write_bytes('{"text": "a"}'.encode("utf-16"))
    (tmp_path / "pretty.jsonl").write_text(json.dumps([{"text": "a"}], indent=1))
    (tmp_path / "twice.csv").write_text("id,text,text\n1,a,b\n")
    (tmp_path / "more.csv").write_text("id,text\n1,a\n2,b,c\n")
    (tmp_path / "quote.csv").write_text('id,text\n1,"a\n')
    (tmp_path / "empty.parquet").touch()
    (tmp_path / "deep.jsonl").write_text('{"text": ' + "[" * 200_000 + "}")
    (tmp_path / "list.jsonl").write_text('{"text": "a"}\n\n{"text": ["b"]}')
    (tmp_path / "nan.jsonl").write_text('{"text": "a", "x": NaN}')
    (tmp_path / "wrong.arrow").touch()
    for name, message in (
        ("cut.npy", "cut short"),
        ("empty.npy", "no .npy file"),
        ("archive.npy", "archive"),
        ("nan.npy", "row 13 holds NaN"),
        ("nan.fvecs", "row 13 holds NaN"),
        ("nan.fbin", "row 13 holds NaN"),
        ("latin.csv", "not UTF-8"),
        ("utf16.jsonl", "line 1 or a later one is not UTF-8"),
        ("pretty.jsonl", "line 1, character 3: Expecting value; expected a JSON object in each line"),
        ("twice.csv", "a name twice: id, text, text"),
        ("more.csv", "line 3: more fields"),
        ("quote.csv", "line 2: "),
        ("empty.parquet", "Parquet"),
        ("deep.jsonl", "line 1: "),
        ("list.jsonl", "line 3: text: expected a text"),
        ("nan.jsonl", "lines 1 to 1: metadatas"),
        ("wrong.arrow", "frazil import"),
    ):
        told = error(capsys, "index", tmp_path / name, "-o", tmp_path / f"store of {name}")
        assert f"{tmp_path / name}: " in told
        assert message in told
        assert told.count(name) == 1


def test_odd_files(fake, tmp_path, capsys):
    store = tmp_path / "store"
    for name, text, count in (
        ("empty.jsonl", "", 0),
        ("blank.jsonl", "\n\n", 0),
        ("empty.csv", "", 0),
        ("header.csv", "id,text\n", 0),
        ("bom.csv", "\ufeffid,text\na,ü🧊\n", 1),
        ("huge.csv", f"id,text\nb,{'x' * 300_000}\n", 1),
        ("huge.jsonl", json.dumps({"id": "c", "text": "x" * 3_000_000}), 1),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert f"{count} {'item' if count == 1 else 'items'} added" in run(
            capsys, "index", tmp_path / name, "-o", store
        )
    assert "0 items added" in run(
        capsys, "index", write_embeddings(tmp_path / "none.npy", np.empty((0, 64), np.float32)), "-o", store
    )
    with Collection.open(store) as found:
        assert list(found) == ["a", "b", "c"]
        assert found.get(["a"]).documents == ["ü🧊"]


def test_a_crash_while_the_collection_was_made(tmp_path, capsys):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "catalog.sqlite3").touch()
    np.save(tmp_path / "x.npy", vectors(3))
    assert "3 items added" in run(capsys, "index", tmp_path / "x.npy", "-o", tmp_path / "store")


def test_where_models_are(tmp_path, capsys, monkeypatch, fake):
    """A hub that cannot be reached, a folder that is not there: what helps. A folder's name holds wherever one is."""

    def fail(self, model="arctic", revision=None, dtype=None):
        raise OSError(f"model: {model!r} is no folder, and the hub failed")

    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "a.jsonl")
    run(capsys, "index", "a.jsonl", "-o", "store", "--model", "model")
    with Collection.open("store") as found:
        assert found.model == str(tmp_path / "model")
    monkeypatch.setattr(FakeEncoder, "__init__", fail)
    for command in (
        ["index", "a.jsonl", "-o", "new"],
        ["search", "store", "x"],
        ["search", "store", "x", "--model", "m"],
    ):
        assert "--model takes another hub id, or the folder" in error(capsys, *command)


def test_an_export_into_no_folder(tmp_path, capsys):
    with filled(tmp_path / "store"):
        pass
    for name in ("x.parquet", "x.arrow", "x.npy"):
        message = error(capsys, "export", tmp_path / "store", tmp_path / "none" / name)
        assert f"{name}: there is no folder '{tmp_path / 'none'}'" in message
