"""How each operation is made, run and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil import Codec, Hits, Metric, Sketch, kernels, use_kernels
from frazil.bench.data import Vectors
from frazil.bench.options import Options

__all__ = [
    "Case",
    "K",
    "Search",
    "Setup",
    "WrongAnswer",
    "by_metric",
    "by_normal_levels",
    "by_sketch",
    "expected_hits",
    "pack",
    "search",
    "unpack",
    "wide_vectors",
]

K = 10
_WIDE = 768  # dimensions of the vectors that are packed
_SAMPLE = 8  # queries of a batch that scalar answers, too


class WrongAnswer(ValueError):
    """A run gave another answer than the reference."""


@dataclass(frozen=True)
class Setup:
    """What all operations are made from."""

    options: Options
    vectors: Vectors
    clustered: Vectors
    """the same, if they were given; else ones in clusters, among which most rows are far from a query"""

    @property
    def codec(self) -> Codec:
        """How codes are packed."""
        return self.vectors.codec


@dataclass(frozen=True)
class Case:
    """An operation over so many rows, ready to run."""

    run: Callable[[int], Any]
    """is given the number of threads and returns the answer"""
    expected: tuple[NDArray[Any], ...]
    """the arrays of the right answer"""
    rows: int
    work: int
    """rows or pairs"""
    bytes: int
    """what must be moved"""
    memory: NDArray[np.uint8]
    """what a probe reads to find how fast memory is: (n, row bytes)"""
    kept: int | None = None
    """how many bytes the probe reads of each row of `memory`; None: all of them"""
    products: int = 0
    before: Callable[[], None] = lambda: None

    def check(self, answer: Any) -> None:
        """Raise WrongAnswer unless the answer is the expected one, to the last bit."""
        given = answer if isinstance(answer, tuple) else (answer,)
        if not all(np.array_equal(one, other) for one, other in zip(given, self.expected, strict=True)):
            raise WrongAnswer("not the answer of the reference")


Search = Callable[[NDArray[np.float32], int | None], Hits]


def by_sketch(setup: Setup, codes: NDArray[np.uint8], query_bits: int) -> Search:
    """Search by a sketch, made beforehand."""
    sketch = Sketch.build(setup.codec, codes)
    return lambda queries, threads: setup.codec.search(
        queries, codes, K, query_bits=query_bits, sketch=sketch, threads=threads
    )


def by_normal_levels(setup: Setup, codes: NDArray[np.uint8], query_bits: int) -> Search:
    """Search the same bytes as codes of normal spacing."""
    codec = Codec(setup.codec.dim, 4, spacing="normal")
    return lambda queries, threads: codec.search(queries, codes, K, query_bits=query_bits, threads=threads)


def _full_scan(setup: Setup, codes: NDArray[np.uint8], query_bits: int) -> Search:
    return lambda queries, threads: setup.codec.search(queries, codes, K, query_bits=query_bits, threads=threads)


def search(
    queries: int | None,
    query_bits: int = 8,
    prepare: Callable[[Setup, NDArray[np.uint8], int], Search] = _full_scan,
    *,
    clustered: bool = False,
) -> Callable[[Setup, int], Case]:
    """Make a search for so many queries (None: as --queries says). Bytes and products are those of a full scan."""

    def make(setup: Setup, rows: int) -> Case:
        count = setup.options.queries if queries is None else queries
        vectors = setup.clustered if clustered else setup.vectors
        codes, some = vectors.codes(rows), vectors.queries(count)
        answer = prepare(setup, codes, query_bits)
        return Case(
            run=lambda threads: answer(some, threads),
            expected=expected_hits(answer, some),
            rows=rows,
            work=rows * count,
            bytes=codes.nbytes,
            memory=codes,
            products=rows * count * setup.codec.dim,
        )

    return make


def expected_hits(answer: Search, queries: NDArray[np.float32]) -> Hits:
    """Return what `scalar` answers; of a batch what the best set answers, with a sample of it checked by `scalar`.

    Raises:
        WrongAnswer: the two differ.
    """
    if len(queries) <= _SAMPLE:
        with use_kernels("scalar"):
            return answer(queries, None)
    with use_kernels(kernels()[0]):
        hits = answer(queries, None)
    sample = np.linspace(0, len(queries) - 1, _SAMPLE).astype(np.int64)
    with use_kernels("scalar"):
        truth = answer(queries[sample], None)
    if not (np.array_equal(hits.scores[sample], truth.scores) and np.array_equal(hits.rows[sample], truth.rows)):
        raise WrongAnswer(f"{kernels()[0]} and scalar answer a sample of the batch differently")
    return hits


def by_metric(setup: Setup, x: NDArray[Any]) -> Metric:
    """Refine by a metric of these vectors."""
    return Metric.fit(x[:2_000, : setup.codec.dim])


def pack(
    dtype: type[np.floating[Any]], refine: Callable[[Setup, NDArray[Any]], bool | Metric] = lambda setup, x: False
) -> Callable[[Setup, int], Case]:
    """Make a packing of vectors of this type, refined as `refine` says."""

    def make(setup: Setup, rows: int) -> Case:
        x = wide_vectors(setup.options.seed, rows, dtype)
        how = refine(setup, x)
        with use_kernels("scalar"):
            expected = setup.codec.pack(x, refine=how)
        out = np.empty_like(expected)

        def spoil() -> None:  # what an earlier run has written proves nothing
            np.invert(expected, out=out)

        kept = setup.codec.dim * x.itemsize
        return Case(
            run=lambda threads: setup.codec.pack(x, refine=how, out=out, threads=threads),
            expected=(expected,),
            rows=rows,
            work=rows,
            bytes=rows * kept,
            memory=x.view(np.uint8),
            kept=kept,
            before=spoil,
        )

    return make


def wide_vectors(seed: int, rows: int, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Return random vectors (rows, 768), as models give them."""
    some = np.random.default_rng([seed, 3]).standard_normal((min(rows, 8192), _WIDE), dtype=np.float32)
    return np.resize(some.astype(dtype), (rows, _WIDE))  # the values repeat, the memory does not


def unpack(setup: Setup, rows: int) -> Case:
    """Make an unpacking of random codes."""
    codes = np.random.default_rng([setup.options.seed, 4]).integers(
        0, 256, (rows, setup.codec.row_bytes), dtype=np.uint8
    )
    with use_kernels("scalar"):
        expected = setup.codec.unpack(codes)
    out = np.empty_like(expected)
    return Case(
        run=lambda threads: setup.codec.unpack(codes, out=out, threads=threads),
        expected=(expected,),
        rows=rows,
        work=rows,
        bytes=codes.nbytes + out.nbytes,
        memory=expected.view(np.uint8),
        before=lambda: out.fill(np.nan),
    )
