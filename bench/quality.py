"""Which part of float32's ten nearest documents codes find, beside other libraries: the table of docs/refine.md.

    python bench/quality.py FOLDER [--clusters 2300] [--only TEXT]

FOLDER holds collections, a folder each with corpus.f16.npy and queries.f16.npy: float16 embeddings of at least 256
dimensions. What is cut to 256 dimensions and renormalized, in float32, is what all are measured against. Of them all,
dense clusters are made besides: real embeddings, each with 87 neighbours around it, a normal deviate of 0.03 a value
away. Peers are left out where they are not installed (`pip install 'frazil[peers]'`).
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import frazil
from frazil.bench.peers import PEERS

DIM, K = 256, 10
NEAR, SIGMA, DENSE_QUERIES = 87, 0.03, 1000
Search = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""documents (n, 256), queries (q, 256) -> row numbers (q, 10)"""


def unit(x):
    """Return vectors cut to DIM dimensions and renormalized, float32."""
    x = x[:, :DIM].astype(np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-20)


def load(folder):
    """Return (documents, queries) of each collection by its name, not yet cut."""
    return {
        path.parent.name: tuple(np.load(path.with_name(f"{what}.f16.npy")) for what in ("corpus", "queries"))
        for path in sorted(folder.glob("*/corpus.f16.npy"))
    }


def dense(collections, clusters):
    """Return documents and queries around `clusters` of the collections' documents, not yet cut."""
    rng = np.random.default_rng(0)
    pool = np.concatenate([documents for documents, _ in collections.values()]).astype(np.float32)
    centres = pool[rng.permutation(len(pool))[:clusters]]

    def draw(n):
        noise = rng.standard_normal((n, pool.shape[1]), np.float32) * np.float32(SIGMA)
        return centres[rng.integers(0, len(centres), n)] + noise

    return draw(NEAR * clusters), draw(DENSE_QUERIES)


def nearest(documents, queries):
    """Return the row numbers (q, K) of the best by float32."""
    parts = []
    for start in range(0, len(queries), 256):
        scores = queries[start : start + 256] @ documents.T
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        parts.append(best)
    return np.concatenate(parts)


def recall(found, best):
    """Return which part of the best was found, over all queries."""
    return np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, best, strict=True)]) / K


def ours(codec, how) -> Search:
    """Search by codes of a codec: `how` of the documents is what `refine` is."""
    return lambda documents, queries: codec.search(queries, codec.pack(documents, refine=how(documents)), K).rows


def rabitq(documents, queries):
    """Search by faiss' codes of RaBitQ, queries of 8 bits."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexRaBitQFastScan(DIM, faiss.METRIC_INNER_PRODUCT, 32, 4)
    index.qb = 8
    index.train(documents)
    index.add(documents)
    return index.search(queries, K)[1]


def methods():
    """Yield (name, bytes a vector, search)."""
    by_metric = frazil.Metric.fit
    rng = np.random.default_rng(2)
    for spacing in ("uniform", "normal"):
        codec = frazil.Codec(DIM, 4, spacing=spacing)
        yield f"int4, {spacing}", codec.row_bytes, ours(codec, lambda x: False)
        yield f"int4, {spacing}, refined", codec.row_bytes, ours(codec, lambda x: True)
        yield f"int4, {spacing}, metric", codec.row_bytes, ours(codec, by_metric)
        yield (
            f"int4, {spacing}, metric of 2,000 documents",
            codec.row_bytes,
            ours(codec, lambda x: by_metric(x[rng.permutation(len(x))[:2000]])),
        )
    for name, size in (("turbovec 4 bits", 132), ("faiss PQ256x4fs", 128)):
        peer = next(peer for peer in PEERS if peer.name == name)
        yield name, size, lambda x, q, peer=peer: peer.build(x).search(np.ascontiguousarray(q))[:, :K]
    yield "faiss RaBitQ fast scan, 4 bits", 140, rabitq


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clusters", type=int, default=2300, help="87 documents each")
    parser.add_argument("--only", default="", help="methods whose name contains this")
    options = parser.parse_args()
    collections = load(options.folder)
    if not collections:
        parser.error(f"{options.folder}: expected folders with corpus.f16.npy and queries.f16.npy")
    sets = {name: (unit(x), unit(q)) for name, (x, q) in collections.items()}
    sets["dense"] = tuple(unit(x) for x in dense(collections, options.clusters))
    best = {name: nearest(x, q) for name, (x, q) in sets.items()}
    print("| | bytes | " + " | ".join([*collections, "mean", "dense"]) + " |")
    print("|---|" + "--:|" * (len(sets) + 2))
    for name, size, search in methods():
        if options.only not in name:
            continue
        try:
            found = [recall(search(x, q), best[key]) for key, (x, q) in sets.items()]
        except ImportError as error:
            print(f"| {name} | {size} | {error} |")
            continue
        cells = [*found[:-1], np.mean(found[:-1]), found[-1]]
        print(f"| {name} | {size} | " + " | ".join(f"{value:.4f}".lstrip("0") for value in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
