"""How well codes, frazil's and others' of about the same size, keep the order of floats: docs/refine.md's table.

    python bench/quality.py DATA [--rows 200000] [--clusters 2300] [--seed 0]

DATA holds folders in BEIR's layout, each with the embeddings of its texts as corpus.f16.npy and queries.f16.npy. All
are cut to 256 dimensions. recall@10 is counted beside the ten best of those floats, NDCG@10 against the judgements.
"dense" are vectors in tight clusters: real embeddings and noise of 0.03 a value, cut and renormalized, as are the
queries. Libraries that are not installed are named.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frazil import Codec, Metric
from frazil.bench.report import table_rows
from frazil.quality.beir import Beir
from frazil.quality.evaluate import measures
from frazil.quality.nearest import nearest, unit
from frazil.quality.report import Truth

_DIM, _K, _NOISE, _DENSE_QUERIES = 256, 10, 0.03, 1000
_FITTED = 5000  # vectors that a limit is fitted to
Floats = NDArray[np.float32]
Answers = tuple[NDArray[np.float32], NDArray[np.int64]]


class Set(NamedTuple):
    """Vectors, and who judges the answers."""

    name: str
    documents: Floats
    queries: Floats
    data: Beir | None
    others: Floats
    """documents of the other collections"""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=200_000, help="of the dense set (default: 200000)")
    parser.add_argument("--clusters", type=int, default=2300, help="that they lie in (default: 2300)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sets = _sets(arguments.data)
    sets.append(_dense(arguments))
    truths = {one.name: Truth(one.queries, one.documents, _DIM, _K) for one in sets}
    lines = []
    for name, row_bytes, search in _METHODS:
        recalls, judged = [], []
        for one in sets:
            try:
                scores, rows = search(one)
            except ImportError as error:
                print(f"{name}: not measured: {error}")
                break
            recalls.append(truths[one.name].recall(rows, _K).mean())
            if one.data is not None:
                judged.append(measures(one.data, scores, rows)[0].mean())
        else:
            mean = np.mean(recalls[:-1])
            figures = [f"{value:.3f}" for value in (*recalls[:-1], mean, recalls[-1])]
            lines.append([name, str(row_bytes), *figures, f"{np.mean(judged):.4f}"])
            print(f"{name}: mean {mean:.4f}, dense {recalls[-1]:.4f}, NDCG@10 {np.mean(judged):.4f}", flush=True)
    print("\n" + table_rows(["", "bytes", *(one.name for one in sets[:-1]), "mean", "dense", "NDCG@10"], lines))


def _sets(folder: Path) -> list[Set]:
    paths = sorted(path.parent for path in folder.glob("*/corpus.f16.npy"))
    if len(paths) < 2:
        raise SystemExit(f"{folder}: expected at least two folders with corpus.f16.npy")
    documents = {path: unit(np.load(path / "corpus.f16.npy"), _DIM) for path in paths}
    found = []
    for path in paths:
        data = Beir.read(path)
        queries = unit(np.load(path / "queries.f16.npy")[np.array(data.query_rows)], _DIM)
        others = np.concatenate([documents[other] for other in paths if other != path])
        found.append(Set(path.name, documents[path], queries, data, others))
    return found


def _dense(arguments: argparse.Namespace) -> Set:
    random = np.random.default_rng(arguments.seed)
    uncut = [np.load(path).astype(np.float32) for path in sorted(arguments.data.glob("*/corpus.f16.npy"))]
    vectors = np.concatenate(uncut)
    centres = vectors[random.permutation(len(vectors))[: arguments.clusters]]

    def draw(count: int) -> Floats:
        noise = random.standard_normal((count, centres.shape[1]), dtype=np.float32) * np.float32(_NOISE)
        return unit(centres[random.integers(0, len(centres), count)] + noise, _DIM)

    return Set("dense", draw(arguments.rows), draw(_DENSE_QUERIES), None, unit(vectors, _DIM))


def _metric_of_some(one: Set) -> Metric:
    return Metric.fit(_some(one.documents, 2000))


def _floats(one: Set) -> Answers:
    return nearest(one.queries, one.documents, _DIM, _K)


def _codes(codec: Codec, refine: Callable[[Set], bool | Metric], fit: bool = False) -> Callable[[Set], Answers]:
    def search(one: Set) -> Answers:
        fitted = codec
        if fit:
            fitted = Codec.fit(_some(one.documents, _FITTED), _DIM, spacing=codec.spacing, refine=True, project=False)
        hits = fitted.search(one.queries, fitted.pack(one.documents, refine=refine(one)), _K)
        return hits.scores, hits.rows

    return search


def _turbovec(one: Set) -> Answers:
    import turbovec

    index = turbovec.TurboQuantIndex(_DIM, 4)
    index.calibrate(_some(one.documents, 1024))
    index.add(one.documents)
    index.prepare()
    return _best(index.search(one.queries, _K))


def _rabitq(one: Set) -> Answers:
    import faiss

    index = faiss.IndexRaBitQFastScan(_DIM, faiss.METRIC_INNER_PRODUCT, 32, 4)
    index.qb = 8
    index.train(one.documents)
    index.add(one.documents)
    return _best(index.search(one.queries, _K))


def _best(found: Any) -> Answers:
    return np.asarray(found[0], np.float32)[:, :_K], np.asarray(found[1]).astype(np.int64)[:, :_K]


def _some(vectors: Floats, count: int) -> Floats:
    return np.ascontiguousarray(vectors[np.random.default_rng(0).permutation(len(vectors))[:count]])


_UNIFORM, _NORMAL = Codec(_DIM), Codec(_DIM, spacing="normal")
_METHODS: list[tuple[str, int, Callable[[Set], Answers]]] = [("float 256", 4 * _DIM, _floats)]
for _label, _codec in (("pack(x", _UNIFORM), ('spacing="normal", pack(x', _NORMAL)):
    _METHODS += [
        (f"`{_label})`", _codec.row_bytes, _codes(_codec, lambda one: False)),
        (f"`{_label}, refine=True)`", _codec.row_bytes, _codes(_codec, lambda one: True)),
        ("… the limit of `Codec.fit(x, refine=True)`", _codec.row_bytes, _codes(_codec, lambda one: True, True)),
        (f"`{_label}, refine=Metric.fit(x))`", _codec.row_bytes, _codes(_codec, lambda one: Metric.fit(one.documents))),
        ("… the metric of 2,000 of its vectors", _codec.row_bytes, _codes(_codec, _metric_of_some)),
        ("… and the limit of `Codec.fit(x, refine=True)`", _codec.row_bytes, _codes(_codec, _metric_of_some, True)),
        ("… the metric of the other collections", _codec.row_bytes, _codes(_codec, lambda one: Metric.fit(one.others))),
    ]
_METHODS += [
    ("turbovec 4 bits, calibrated", 132, _turbovec),
    ("faiss RaBitQ fast scan, 4 bits, `qb=8`", 140, _rabitq),
]

if __name__ == "__main__":
    main()
