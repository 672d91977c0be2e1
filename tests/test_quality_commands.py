"""`frazil quality` and `frazil eval`."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from frazil import Codec, cli
from frazil.quality import evaluate
from frazil.quality.beir import Beir


def vectors(count, dim=64, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "x.npy", vectors(400))
    return tmp_path / "x.npy"


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_quality(file, capsys):
    code, out, err = run(capsys, "quality", file, "--dims", "32,64", "--limit", "0.7", "--query-bits", "4,8")
    assert (code, err) == (0, "")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("|")]
    assert lines[0][:4] == ["bytes", "dim", "bits", "query_bits"]
    assert [line[:5] for line in lines[2:]] == [
        [str(dim * bits // 8), str(dim), str(bits), str(query_bits), refine]
        for dim in (32, 64)
        for bits in (4, 8)
        for query_bits in (4, 8)
        for refine in ("no", "yes", "metric")
    ]
    report = Codec(64, 8, 0.7).report(np.load(file), refine=True)
    assert lines[-2][9].startswith(f"{report.recall[10].mean:.3f} ±")


def test_quality_as_json(file, tmp_path, capsys):
    np.save(tmp_path / "q.npy", vectors(20, seed=1))
    code, out, err = run(
        capsys, "quality", file, "--queries", tmp_path / "q.npy", "--dims", "64", "--bits", "4", "--query-bits", "8",
        "--refine", "no", "--json",
    )  # fmt: skip
    assert code == 0
    (found,) = json.loads(out)
    report = Codec(64).report(np.load(file), vectors(20, seed=1))
    assert found["recall"]["10"]["mean"] == report.recall[10].mean
    assert found["score_error"] == report.score_error
    assert (found["rows"], found["queries"], found["row_bytes"]) == (400, 20, 32)
    assert "warning: Codec(dim=64, bits=4, limit=0.18): limit 0.18 is too small" in err


def test_wrong_options(file, capsys):
    for arguments, wanted in (("--refine", "maybe"), "maybe"), (("--bits", "5"), "bits"), (("--dims", "65"), "65"):
        code, out, err = run(capsys, "quality", file, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert wanted in err
    for arguments, wanted in (
        (("--seed", "-1"), "argument --seed: expected a whole number of at least 0, got '-1'"),
        (("--dims", "64,"), "argument --dims: expected whole numbers of at least 1, with commas between, got '64,'"),
    ):
        with pytest.raises(SystemExit):
            run(capsys, "quality", file, *arguments)
        assert wanted in capsys.readouterr().err


def test_quality_of_some_rows(file, capsys):
    outs = [
        run(capsys, "quality", file, "--rows", "100", "--dims", "64", "--seed", seed, "--json") for seed in (1, 1, 2)
    ]
    assert outs[0] == outs[1] != outs[2]
    assert json.loads(outs[0][1])[0]["rows"] == 90


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_plot(file, tmp_path, capsys, name):
    code, _, _ = run(capsys, "quality", file, "--plot", tmp_path / name)
    assert code == 0
    assert (tmp_path / name).read_bytes()[:4] in (b"\x89PNG", b"<?xm")


def test_a_plot_that_cannot_be_is_told_before_anything_is_measured(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("frazil.quality.grid.load", None)
    for name, wanted in (("cost.foo", "ends in .png or .svg, got 'cost.foo'"), ("no/cost.png", "there is no folder")):
        code, out, err = run(capsys, "quality", file, "--plot", tmp_path / name)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert wanted in err
    monkeypatch.setitem(sys.modules, "frazil.quality.plot", None)
    code, _, err = run(capsys, "quality", file, "--plot", tmp_path / "cost.png")
    assert (code, "pip install 'frazil[bench]'" in err) == (2, True)


def test_quality_of_wrong_files(tmp_path, capsys):
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "integers.npy", np.arange(9))
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    np.save(tmp_path / "nan.npy", np.full((5, 64), np.nan))
    np.save(tmp_path / "one.npy", vectors(1))
    np.save(tmp_path / "long.npy", vectors(50).astype(np.longdouble))
    long = ["long"] if np.dtype(np.longdouble).itemsize > 8 else []
    for name in ("text", "empty", "integers", "objects", "nan", "one", "missing", *long):
        code, out, err = run(capsys, "quality", tmp_path / f"{name}.npy")
        assert (code, out, err.count("\n")) == (2, "", 1), name
        assert f"{name}.npy" in err
        assert "allow_pickle" not in err
        assert ("is no .npy file" in err) == (name in ("text", "empty"))


@pytest.fixture
def beir(tmp_path):
    """Sixty documents, of which every query has three that are near it, and judgements that say so, mostly."""
    random = np.random.default_rng(0)
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w") as file:
        for i in range(60):
            file.write(json.dumps({"_id": f"d{i}", "title": "a" if i % 2 else "", "text": f"text {i}"}) + "\n")
    with (folder / "queries.jsonl").open("w") as file:
        for i in range(22):
            file.write(json.dumps({"_id": f"q{i}" if i else "d7", "text": f"query {i}"}) + "\n")
    queries, documents = vectors(22, 300), vectors(60, 300, 1)
    with (folder / "qrels" / "test.tsv").open("w") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for i in range(20):  # the last two queries have no judgements
            for j in range(3):
                near = 3 * i + j
                documents[near] = queries[i] + random.standard_normal(300) * (0.5 + j)
                file.write(f"{f'q{i}' if i else 'd7'}\td{near if j < 2 else (near + 1) % 60}\t{2 - j // 2}\n")
    np.save(folder / "d.npy", documents)
    np.save(folder / "q.npy", queries)
    return folder


def test_eval_of_ready_embeddings(beir, capsys):
    code, out, err = run(capsys, "eval", beir, "--documents", beir / "d.npy", "--queries", beir / "q.npy")
    assert (code, err) == (0, "")
    assert "60 documents, 20 judged queries" in out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("|")][2:]
    assert [line[:2] for line in lines] == [
        ["float32, 300d", "1,200"],
        ["float32, 256d", "1,024"],
        ["int8, 256d", "256"],
        ["int4, 256d", "128"],
        ["int4, 256d, queries of 4 bits", "128"],
        ["int4, 256d, refined", "128"],
        ["int4, 256d, refined by a metric", "128"],
        ["int4, 300d projected to 256d, refined", "128"],
    ]
    for line, dim in zip(lines[:2], (300, 256), strict=True):
        assert line[2].startswith(f"{ndcg_at_10(beir, dim):.4f} ["), line


def ndcg_at_10(folder, dim):
    """By scikit-learn."""
    metrics = pytest.importorskip("sklearn.metrics")
    data = Beir.read(folder)
    documents, queries = (np.load(folder / name)[:, :dim] for name in ("d.npy", "q.npy"))
    documents = documents / np.linalg.norm(documents, axis=1)[:, None]
    found = []
    for query, row in zip(data.query_ids, data.query_rows, strict=True):
        grades = np.array([data.judgements[query].get(name, 0) for name in data.document_ids])
        scores = documents @ queries[row]
        others = np.array([name != query for name in data.document_ids])  # as in BEIR
        ideal = metrics.dcg_score([np.sort(grades)[::-1]], [np.arange(len(grades), 0, -1)], k=10)
        found.append(metrics.dcg_score([grades[others]], [scores[others]], k=10) / ideal)
    return np.mean(found)


class Stub:
    """An encoder of texts that end in a number."""

    name, folder, prompts, pooling, max_tokens, dtype, dimensions = "some/stub", Path("x"), {}, "cls", 9, "float32", 300

    def __init__(self, beir):
        self._beir, self.calls = beir, []

    def encode_query(self, texts, show_progress_bar=None):
        self.calls.append("query")
        return np.load(self._beir / "q.npy")[[int(text.split()[-1]) for text in texts]]

    def encode_document(self, texts, show_progress_bar=None):
        self.calls.append("document")
        return np.load(self._beir / "d.npy")[[int(text.split()[-1]) for text in texts]]


def test_eval_encodes_once(beir, tmp_path, capsys, monkeypatch):
    from frazil.collection import indexing

    stub = Stub(beir)
    monkeypatch.setattr(indexing, "load_encoder", lambda model, revision, dtype: stub)
    monkeypatch.setattr(evaluate, "_AT_ONCE", 7)
    arguments = "eval", beir, "--model", "some/stub", "--cache", tmp_path / "cache"
    ready = run(capsys, "eval", beir, "--documents", beir / "d.npy", "--queries", beir / "q.npy")
    assert run(capsys, *arguments) == ready
    assert stub.calls == ["document"] * 9 + ["query"] * 3
    assert run(capsys, *arguments) == ready
    assert len(stub.calls) == 12
    stub.prompts = {"query": "Q: "}
    run(capsys, *arguments)
    assert len(stub.calls) == 24


def test_eval_that_is_stopped_goes_on(beir, tmp_path, monkeypatch):
    stub = Stub(beir)
    monkeypatch.setattr(evaluate, "_AT_ONCE", 7)
    encoded = []

    def fails(texts, show_progress_bar):
        if len(stub.calls) == 3:
            raise KeyboardInterrupt
        encoded.extend(texts)
        return Stub.encode_document(stub, texts)

    stub.encode_document = fails
    texts = [f"text {i}" for i in range(60)]
    with pytest.raises(KeyboardInterrupt):
        evaluate.embeddings(stub, texts, "document", tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 3  # and nothing half written
    stub.calls.clear()
    stub.encode_document = lambda texts, show_progress_bar: encoded.extend(texts) or Stub.encode_document(stub, texts)
    found = evaluate.embeddings(stub, texts, "document", tmp_path / "cache")
    assert np.array_equal(found, np.load(beir / "d.npy").astype(np.float32))
    assert encoded == texts  # each once
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_kept_embeddings_that_do_not_fit(beir, tmp_path, monkeypatch):
    """Damaged files, and those of a model that has changed since, are as good as none."""
    monkeypatch.setattr(evaluate, "_AT_ONCE", 20)
    mapped = np.lib.format.open_memmap

    def to_read(path, mode, **options):
        assert mode == "r", "a full disk ends a process that writes to a memory map"
        return mapped(path, mode=mode, **options)

    monkeypatch.setattr(np.lib.format, "open_memmap", to_read)
    cache, model = tmp_path / "cache", tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("a")
    stub = Stub(beir)
    stub.folder = model
    texts = [f"text {i}" for i in range(60)]
    right = np.array(evaluate.embeddings(stub, texts, "document", cache))
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    other = io.BytesIO()
    np.save(other, right[:, :8])
    for content in (b"", whole[:20], whole[:-1], b"junk" * 100, other.getvalue()):
        path.write_bytes(content)
        calls = len(stub.calls)
        assert np.array_equal(evaluate.embeddings(stub, texts, "document", cache), right)
        assert len(stub.calls) == calls + 3
        path.unlink()
        path.with_name(f"{path.stem}-20-20.npy").write_bytes(content)  # of a run that was stopped
        assert np.array_equal(evaluate.embeddings(stub, texts, "document", cache), right)
        assert list(cache.iterdir()) == [path]
    calls = len(stub.calls)
    evaluate.embeddings(stub, texts, "document", cache)
    assert len(stub.calls) == calls
    (model / "weights").write_text("trained on")
    evaluate.embeddings(stub, texts, "document", cache)
    assert len(stub.calls) == calls + 3


def test_eval_of_what_editors_and_others_write(beir, capsys):
    """Byte-order marks, empty lines, and judgements of what is not there, which are not left out in silence."""
    ready = "--documents", beir / "d.npy", "--queries", beir / "q.npy"
    _, plain, _ = run(capsys, "eval", beir, *ready)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        lines = (beir / name).read_text().splitlines()
        lines = lines[1:] if name.endswith(".tsv") else lines  # a file without a header
        (beir / name).write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, "", ""]).encode())
    assert run(capsys, "eval", beir, *ready) == (0, plain, "")
    with (beir / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\tnowhere\t1\nq99\td1\t1\n")
    code, out, err = run(capsys, "eval", beir, *ready)
    assert (code, "20 judged queries" in out) == (0, True)
    assert "warning: 1 of 21 judged queries are not in queries.jsonl, 'q99' among them" in err
    assert "warning: 1 of 61 judgements are of documents that are not in corpus.jsonl, 'nowhere' among them" in err


def test_eval_of_one_query(beir, capsys):
    """Nothing is said of what chance does: it has no spread."""
    lines = (beir / "qrels" / "test.tsv").read_text().splitlines()
    (beir / "qrels" / "test.tsv").unlink()
    (beir / "qrels.tsv").write_text("\n".join(lines[:3]))  # where a folder without splits has them
    code, out, err = run(capsys, "eval", beir, "--documents", beir / "d.npy", "--queries", beir / "q.npy")
    assert (code, err) == (0, "")
    assert "1 judged queries" in out
    assert "nan" not in out
    assert "±" not in out


def test_eval_of_wrong_folders(beir, tmp_path, capsys, monkeypatch):
    ready = "--documents", beir / "d.npy", "--queries", beir / "q.npy"
    for name, text, wanted in (
        ("corpus.jsonl", "{", "corpus.jsonl, line 1: is not JSON"),
        ("corpus.jsonl", '{"_id": 3, "text": ""}', "corpus.jsonl, line 1: expected an object"),
        ("corpus.jsonl", '{"_id": "a", "text": ""}\n\n{"_id": "a", "text": ""}', "line 3: _id 'a' was there"),
        ("corpus.jsonl", "", "holds no documents"),
        # By these trec_eval's code ends the process, or takes one document for another
        ("corpus.jsonl", '{"_id": "a\\ud800", "text": ""}', "line 1: expected Unicode, got a lone surrogate"),
        ("corpus.jsonl", '{"_id": "a\\u0000b", "text": ""}', "line 1: expected an _id without NUL"),
        ("qrels/test.tsv", "d7\td1\t99999999999\n", "a whole score up to 1,000,000"),
        ("qrels/test.tsv", "d7 d1 1\n", "with tabs between, got 'd7 d1 1"),
        ("queries.jsonl", '{"_id": "d7", "text": "a\\udcff"}', "line 1: expected Unicode, got a lone surrogate"),
        ("queries.jsonl", '{"_id": "other", "text": ""}', "holds no queries with judgements"),
        ("qrels/test.tsv", "a\tb\n", "test.tsv, line 1: expected query-id"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\na\tb\tc\n", "test.tsv, line 2: expected query-id"),
    ):
        before = (beir / name).read_text()
        (beir / name).write_text(text)
        code, out, err = run(capsys, "eval", beir, *ready)
        (beir / name).write_text(before)
        assert (code, out, err.count("\n")) == (2, "", 1), (name, err)
        assert wanted in err
    (beir / "corpus.jsonl").write_bytes(before := (beir / "corpus.jsonl").read_bytes() + b"\xff")
    code, _, err = run(capsys, "eval", beir, *ready)
    assert (code, "corpus.jsonl, line" in err, "is not UTF-8" in err) == (2, True, True)
    (beir / "corpus.jsonl").write_bytes(before[:-1])
    np.save(beir / "cut.npy", np.load(beir / "q.npy")[:, :200])
    for arguments, wanted in (
        (
            ("--split", "dev", *ready),
            "holds no qrels/dev.tsv; expected BEIR's layout, with corpus.jsonl, queries.jsonl and",
        ),
        (("--dim", 301, *ready), "--dim: expected at most 300, the width of the embeddings, got 301"),
        (ready[:2], "expected both, or none"),
        (("--documents", beir / "q.npy", "--queries", beir / "q.npy"), "a row for each line"),
        (("--documents", beir / "d.npy", "--queries", beir / "cut.npy"), "vectors of one model, got 300 and 200 dim"),
    ):
        code, _, err = run(capsys, "eval", beir, *arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert wanted in err
    for folder, wanted in (
        (tmp_path / "nothere", "nothere'; expected one in BEIR's layout, with corpus"),
        (tmp_path / "beir" / "qrels", "holds no corpus.jsonl"),
    ):
        code, _, err = run(capsys, "eval", folder, *ready)
        assert (code, wanted in err, "Errno" in err) == (2, True, False)
    monkeypatch.setitem(sys.modules, "pytrec_eval", None)
    code, _, err = run(capsys, "eval", beir, *ready)
    assert code == 2
    assert "pip install 'frazil[eval]'" in err


def test_real_collections(collections, capsys):
    """Against figures for MiniLM that others have computed: NDCG@10 of the uncut and of the cut floats."""
    wanted = {"cranfield": ("0.3955", "0.3846"), "npl": ("0.433", "0.4278"), "banking77": ("0.8797", "0.8774")}
    from conftest import data_folder

    for name, _, _ in collections:
        if name not in wanted or name == "banking77":  # which takes seconds
            continue
        folder = data_folder() / name
        _, out, _ = run(
            capsys, "eval", folder, "--documents", folder / "corpus.f16.npy", "--queries", folder / "queries.f16.npy"
        )
        lines = out.splitlines()
        for line, figure in zip(lines[4:6], wanted[name], strict=True):
            assert f"| {figure}" in line
