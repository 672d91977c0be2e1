"""What the tests of the command share, as far as it is about collections."""

import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from collections_common import vector_of

from frazil import cli


class FakeEncoder:
    """Texts into vectors without a model."""

    dimensions = 64
    loaded = 0

    def __init__(self, model="fake", dtype=None, *, revision=None):
        FakeEncoder.loaded += 1
        self.name = model

    def encode_query(self, text, show_progress_bar=None):
        assert isinstance(text, str)
        return vector_of(text, dim=64)

    def stream_document(self, texts, *, window, progress):
        texts = iter(texts)
        while some := list(itertools.islice(texts, window)):
            progress(len(some))
            yield np.array([vector_of(text, dim=64) for text in some])


def run(capsys, *arguments):
    """Return the output of a command that ends well."""
    code = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (code, err) == (0, ""), err
    return out


def error(capsys, *arguments):
    """Return the one line of a command that fails."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("frazil: ")
    assert err.count("\n") == 1
    return err


def write_texts(path, count=30, ids=True):
    records = [
        {"_id": f"d{i}", "title": f"Title {i}", "text": f"text {i}, with\na line", "year": 2000 + i}
        for i in range(count)
    ]
    if not ids:
        records = [{name: value for name, value in record.items() if name != "_id"} for record in records]
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, records)) + "\n\n", encoding="utf-8")
    elif path.suffix == ".parquet":
        pa.parquet.write_table(pa.Table.from_pylist(records), path)
    else:
        lines = [[str(value) for value in record.values()] for record in records]
        text = "\n".join(",".join(f'"{value}"' for value in line) for line in [list(records[0]), *lines])
        path.write_text(text, encoding="utf-8")
    return records


def write_embeddings(path, x):
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".fvecs":
        rows = np.empty((len(x), x.shape[1] + 1), "<f4")
        rows[:, 0].view("<i4")[:] = x.shape[1]
        rows[:, 1:] = x
        rows.tofile(path)
    else:
        path.write_bytes(np.array(x.shape, "<u4").tobytes() + x.astype("<f4").tobytes())
    return path
