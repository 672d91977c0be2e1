"""Other exact searches on a GPU, over floats of the same vectors."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frazil.bench.blocks import BLOCK, Floats, torch_blocks
from frazil.bench.cases import K
from frazil.bench.progress import progress
from frazil.bench.results import Line, Table, failure
from frazil.bench.timing import Contestant, interleave, median

if TYPE_CHECKING:
    from frazil.bench.data import Vectors
    from frazil.bench.gpu import Gpu
    from frazil.bench.options import Options

__all__ = ["PEERS", "GpuPeer", "measure_gpu_peers"]

Search = Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class GpuPeer:
    """A library's way to search on a GPU."""

    name: str
    package: str
    """what to install"""
    bytes_of: int
    """bytes of a value"""
    build: Callable[[Gpu, Floats, Floats], Search]
    """unit vectors (n, d), unit queries (q, d) -> what returns row numbers (q, K); raises ImportError without it"""


def _torch(gpu: Gpu, x: Floats, queries: Floats, dtype: type[np.floating[Any]] = np.float16) -> Search:
    """Multiply blocks of rows, and keep the best of each."""
    import torch

    blocks = [gpu.put(x[first : first + BLOCK].astype(dtype)) for first in range(0, len(x), BLOCK)]
    q = gpu.put(queries.astype(dtype))
    return lambda: torch_blocks(torch, len(blocks), lambda i: q @ blocks[i].T)


def _faiss(gpu: Gpu, x: Floats, queries: Floats) -> Search:
    faiss: Any = importlib.import_module("faiss")
    if not hasattr(faiss, "StandardGpuResources"):
        raise ModuleNotFoundError("faiss is installed, but not its build for GPUs")
    config = faiss.GpuIndexFlatConfig()
    config.useFloat16 = True
    index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), x.shape[1], config)
    index.add(x)
    return lambda: np.asarray(index.search(queries, K)[1])


def _cuvs(gpu: Gpu, x: Floats, queries: Floats) -> Search:
    brute_force: Any = importlib.import_module("cuvs.neighbors.brute_force")
    index = brute_force.build(gpu.put(x.astype(np.float16)), metric="inner_product")
    q = gpu.put(queries.astype(np.float16))
    return lambda: np.asarray(brute_force.search(index, q, K)[1].copy_to_host())


PEERS = (
    GpuPeer("torch float16 + topk", "torch", 2, _torch),
    GpuPeer("faiss-gpu Flat float16", "faiss-gpu", 2, _faiss),
    GpuPeer("cuVS brute force float16", "cuvs", 2, _cuvs),
)


def measure_gpu_peers(gpu: Gpu, options: Options, vectors: Vectors, show: Callable[[Table], None]) -> list[str]:
    """Measure a batch of queries with frazil and its peers in turn; recall is beside torch's float32.

    Args:
        gpu: where to measure.
        options: rows of a batch, queries and repeats.
        vectors: what to search.
        show: is given the table.

    Returns:
        The peers that did not run, and why.
    """
    codec, x = vectors.codec, vectors.floats(options.batch_rows)
    queries = vectors.queries(options.queries)
    queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), np.float32(1e-30))
    exact = _torch(gpu, x, queries, np.float32)()
    codes, on_gpu = gpu.put(codec.pack(x)), gpu.put(queries)

    def ours() -> NDArray[Any]:
        rows: Any = codec.search(on_gpu, codes, K).rows
        found: NDArray[Any] = rows.cpu().numpy()
        return found

    searches: list[tuple[str, float, Search]] = [(f"frazil {codec.bits} bits", codec.row_bytes, ours)]
    missing, answers = [], [ours()]
    for peer in PEERS:
        try:
            search = peer.build(gpu, x, queries)
            answers.append(search())
            searches.append((peer.name, peer.bytes_of * codec.dim, search))
        except Exception as error:  # whatever goes wrong in another library is its entry in the report
            missing.append(failure(peer.name, error, peer.package))
    del x
    print("\n".join(missing), flush=True)
    with progress("gpu-peers", len(searches) * (options.repeats + 1)) as step:
        seconds = interleave([Contestant(search) for _, _, search in searches], options.repeats, turn=step)
    lines = [
        Line(
            name,
            1,
            times,
            rows=options.batch_rows,
            work=options.batch_rows * options.queries,
            limit=searches[0][0],
            of_limit=median([first / theirs for first, theirs in zip(seconds[0], times, strict=True)]),
            recall=float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact, strict=True)])),
            bytes_per_vector=size,
        )
        for (name, size, _), times, found in zip(searches, seconds, answers, strict=True)
    ]
    title = f"{options.queries:,} queries, {options.batch_rows:,} {vectors.name} rows, on the GPU"
    show(Table("peers-gpu", title, "pairs", lines))
    return missing
