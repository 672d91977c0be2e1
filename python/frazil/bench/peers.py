"""Other libraries' exact or exhaustive searches over the same vectors, one thread each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frazil import Codec
from frazil.bench.blocks import BLOCK, Floats, numpy_blocks, search_floats, torch_blocks
from frazil.bench.cases import K

__all__ = ["PEERS", "Built", "Peer"]

_TRAINING = 65_536  # rows at most

Search = Callable[[Floats], NDArray[Any]]


class Built(NamedTuple):
    """An index, ready to search."""

    bytes_per_vector: float
    search: Search
    """unit queries (q, d) -> row numbers (q, K)"""


@dataclass(frozen=True)
class Peer:
    """A library's way to search."""

    name: str
    package: str
    """what to install"""
    build: Callable[[Floats], Built]
    """unit vectors (n, d), not to be changed -> the index; raises ImportError where the library is not installed"""


def _load(name: str) -> Any:
    """Import a library that mypy need not find."""
    return importlib.import_module(name)


def _faiss(make: Callable[[Any, int], Any], bytes_per_vector: Callable[[int], float]) -> Callable[[Floats], Built]:
    # By constructors: `index_factory` crashes in its regular expressions where another C++ library was loaded before.
    def build(x: Floats) -> Built:
        faiss = _load("faiss")
        faiss.omp_set_num_threads(1)
        index = make(faiss, x.shape[1])
        step = max(1, len(x) // _TRAINING)
        index.train(np.ascontiguousarray(x[::step][:_TRAINING]))
        index.add(x)
        return Built(bytes_per_vector(x.shape[1]), lambda q: np.asarray(index.search(q, K)[1]))

    return build


def _scalar_quantizer(kind: str) -> Callable[[Any, int], Any]:
    return lambda faiss, d: faiss.IndexScalarQuantizer(
        d, getattr(faiss.ScalarQuantizer, kind), faiss.METRIC_INNER_PRODUCT
    )


def _fast_scan(faiss: Any, d: int) -> Any:
    return faiss.IndexPQFastScan(d, d, 4, faiss.METRIC_INNER_PRODUCT)


def _turbovec(x: Floats) -> Built:
    index = _load("turbovec").TurboQuantIndex(x.shape[1], 4)
    index.calibrate(np.ascontiguousarray(x[:: max(1, len(x) // 1024)][:1024]))
    index.add(x)
    index.prepare()
    return Built(len(index.to_bytes()) / len(x), lambda q: np.asarray(index.search(q, K)[1]))


def _int8(x: Floats, scale: float) -> NDArray[np.int8]:
    codes = np.empty(x.shape, np.int8)
    for start in range(0, len(x), BLOCK):
        codes[start : start + BLOCK] = np.rint(np.clip(x[start : start + BLOCK] * scale, -127, 127))
    return codes


def _scale(x: Floats) -> float:
    return 127 / max(1e-9, float(x.max()), -float(x.min()))


def _torch_float32(x: Floats) -> Built:
    torch = _load("torch")
    torch.set_num_threads(1)
    blocks = torch.from_numpy(x).split(BLOCK)
    return Built(
        4 * x.shape[1],
        lambda q: torch_blocks(torch, len(blocks), lambda i: torch.from_numpy(q) @ blocks[i].T),
    )


def _torch_int8(x: Floats) -> Built:
    torch = _load("torch")
    torch.set_num_threads(1)
    scale = _scale(x)
    blocks = torch.from_numpy(_int8(x, scale)).split(BLOCK)

    def search(q: Floats) -> NDArray[Any]:
        queries = torch.from_numpy(_int8(q, _scale(q)))
        if len(q) == 1:  # a matrix times a vector is faster than a vector times a matrix
            return torch_blocks(torch, len(blocks), lambda i: torch._int_mm(blocks[i], queries.T).T)
        return torch_blocks(torch, len(blocks), lambda i: torch._int_mm(queries, blocks[i].T))

    return Built(x.shape[1], search)


def _usearch(x: Floats) -> Built:
    usearch = _load("usearch.index")
    scale = _scale(x)
    codes = _int8(x, scale)

    def search(q: Floats) -> NDArray[Any]:
        some = _int8(q, _scale(q))
        found = usearch.search(codes, some, K, usearch.MetricKind.IP, exact=True, threads=1)
        return np.asarray(found.keys).reshape(len(q), -1)

    return Built(x.shape[1], search)


def _numkong_i8(x: Floats) -> Built:
    numkong = _load("numkong")
    codes = _int8(x, _scale(x))
    blocks = [numkong.dots_pack(codes[i : i + BLOCK]) for i in range(0, len(x), BLOCK)]

    def search(q: Floats) -> NDArray[Any]:
        queries = _int8(q, _scale(q))
        return numpy_blocks(len(blocks), lambda i: np.asarray(numkong.dots_packed(queries, blocks[i])))

    return Built(sum(block.nbytes for block in blocks) / len(x), search)


def _numkong_u4(x: Floats) -> Built:
    """4-bit codes of frazil's; what sets their products apart from the inner product is a sum for each row."""
    numkong = _load("numkong")
    codec = Codec(x.shape[1], 4)
    middle = np.float32(codec.levels / 2)
    blocks, sums = [], []
    for i in range(0, len(x), BLOCK):
        codes = codec.pack(x[i : i + BLOCK])
        blocks.append(numkong.dots_pack(codes, dtype="uint4"))
        sums.append(middle * ((codes >> 4).sum(1) + (codes & 15).sum(1)).astype(np.float32))

    def search(q: Floats) -> NDArray[Any]:
        queries = codec.pack(q)
        return numpy_blocks(
            len(blocks), lambda i: np.asarray(numkong.dots_packed(queries, blocks[i])).astype(np.float32) - sums[i]
        )

    return Built(sum(block.nbytes for block in blocks) / len(x) + 4, search)


def _numpy(x: Floats) -> Built:
    return Built(4 * x.shape[1], lambda q: search_floats(x, q))


PEERS = (
    Peer("faiss PQ256x4fs", "faiss-cpu", _faiss(_fast_scan, lambda d: d / 2)),
    Peer("faiss SQ 4 bits", "faiss-cpu", _faiss(_scalar_quantizer("QT_4bit"), lambda d: d / 2)),
    Peer("faiss SQ 8 bits", "faiss-cpu", _faiss(_scalar_quantizer("QT_8bit"), lambda d: d)),
    Peer("faiss Flat float32", "faiss-cpu", _faiss(lambda faiss, d: faiss.IndexFlatIP(d), lambda d: 4 * d)),
    Peer("turbovec 4 bits", "turbovec", _turbovec),
    Peer("usearch int8, exact", "usearch", _usearch),
    Peer("numkong uint4 + NumPy argpartition", "numkong", _numkong_u4),
    Peer("numkong int8 + NumPy argpartition", "numkong", _numkong_i8),
    Peer("torch int8 + topk", "torch", _torch_int8),
    Peer("torch float32 + topk", "torch", _torch_float32),
    Peer("NumPy float32 + argpartition", "numpy", _numpy),
)
