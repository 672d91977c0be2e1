"""`report`: what a codec's codes of a sample differ in from its floats. Needs NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frazil._arrays import as_count, as_floats, as_numbers
from frazil.metric import Metric
from frazil.projection import Projection
from frazil.quality.nearest import nearest, unit

if TYPE_CHECKING:
    from frazil.codec import Codec

__all__ = ["Estimate", "Report", "Sample", "Truth", "report"]

_KS = (1, 10, 100)
_MOST_QUERIES = 1000
_SCORED_ROWS = 4096  # of a sample, for the error of scores: a million pairs and more
_TIE = 4e-7  # cosines of float32 that are closer are one: their sums of hundreds of products are no better than this
_Z = 1.959964  # of a normal distribution, 95% lie within so many standard deviations
_LARGEST_ERROR = 0.5  # of a step, RMS; rounding alone makes 1 / sqrt(12) = 0.29
_LEAST_USED = 0.4  # of the limit, by the largest value


class Estimate(NamedTuple):
    """A mean over queries, and the interval that holds the mean of all such queries with 95% confidence.

    Wilson's interval, for as many trials as would give a proportion the mean's standard error, and at least one for
    each query: so it has a width where all queries of a small sample agree.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Estimate:
        """Estimate the mean of values between 0 and 1."""
        count, mean = len(values), float(values.mean())
        variance = float(values.var(ddof=1)) if count > 1 else 0.0
        trials = max(count, mean * (1 - mean) * count / variance) if variance > 0 else float(count)
        middle = (mean + _Z * _Z / (2 * trials)) / (1 + _Z * _Z / trials)
        root = math.sqrt(max(0.0, mean * (1 - mean) / trials + _Z * _Z / (4 * trials * trials)))
        half = _Z * root / (1 + _Z * _Z / trials)
        return cls(mean, min(mean, max(0.0, middle - half)), max(mean, min(1.0, middle + half)))

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Report:
    """What a codec's codes of a sample cost, beside its floats; `str(report)` is a table in Markdown."""

    codec: Codec
    query_bits: int
    refine: bool | Metric
    rows: int
    """how many documents were packed"""
    queries: int
    """how many queries were asked"""
    clip_rate: float
    """of the kept values, after renormalizing, the part outside of -limit to limit"""
    largest: float
    """the largest of them, by amount"""
    value_error: float
    """root mean square of decoded minus kept values"""
    score_error: float
    """root mean square of scores minus inner products of the float vectors, cut to `dim` and renormalized"""
    recall: dict[int, Estimate]
    """by k: which part of the codes' first k are among the k nearest by the floats, cut to `dim` and renormalized"""
    recall_uncut: dict[int, Estimate]
    """the same beside the uncut floats: what cutting costs is in it"""

    @property
    def warnings(self) -> list[str]:
        """What does not fit: a codec's limit and this data."""
        limit, found = self.codec.limit, []
        if self.value_error > _LARGEST_ERROR * self.codec.step:
            found.append(
                f"limit {limit:g} is too small for these vectors: it clips {self.clip_rate:.1%} of all values, "
                f"the largest of which is {self.largest:.3g}"
            )
        if self.largest < _LEAST_USED * limit:
            found.append(f"limit {limit:g} is too large for these vectors: no value is above {self.largest:.3g}")
        return found

    def __str__(self) -> str:
        lines = [
            f"{self.codec!r}, query_bits={self.query_bits}, refine={self.refine!r}: {self.codec.row_bytes} bytes a "
            f"vector; {self.rows:,} documents, {self.queries:,} queries",
            "",
            "| | |",
            "|---|--:|",
            f"| values clipped | {self.clip_rate:.3%} |",
            f"| error of a value, RMS | {self.value_error:.5f} |",
            f"| error of a score, RMS | {self.score_error:.5f} |",
        ]
        for name, recalls in ((f"float32, {self.codec.dim}d", self.recall), ("uncut float32", self.recall_uncut)):
            lines += [f"| recall@{k} beside {name} | {estimate} |" for k, estimate in recalls.items()]
        return "\n".join(lines + [f"\nWarning: {text}" for text in self.warnings])


class Truth:
    """The best documents for each query by the floats of `dim` dimensions, and what a recall is counted against.

    A document that scores what the k-th best does, up to float32's rounding, is as right an answer as that one: or
    copies of one document would count as errors of the codec.
    """

    def __init__(self, queries: NDArray[Any], documents: NDArray[Any], dim: int, k: int) -> None:
        self.scores, self.rows = nearest(queries, documents, dim, k)
        self.queries, self.documents = unit(queries, dim), unit(documents, dim)

    def recall(self, rows: NDArray[np.int64], k: int) -> NDArray[np.float64]:
        """Return which part of each query's first k answers belongs there, float64 (q,); `rows` is (q, >= k)."""
        scores = np.empty((len(rows), k), np.float32)
        for query, its_rows in enumerate(rows[:, :k]):
            scores[query] = self.documents[its_rows] @ self.queries[query]
        right: NDArray[np.float64] = (scores >= self.scores[:, k - 1 : k] - _TIE).mean(axis=1)
        return right


class Sample:
    """Documents and queries, as floats, and the right answers beside which codecs are measured.

    Args:
        documents: floats (n, d).
        queries: floats (q, d); None: a tenth of the documents, at most 1,000, chosen at random, become the queries.
        seed: of the random choice.
        least: fewer documents are an error; None: what can be compared at all.
        kept: so many dimensions of the documents are read; None: all.

    Raises:
        ValueError: wrong shape, NaN or infinity, or too few rows.
        TypeError: wrong dtype.
    """

    def __init__(
        self, documents: Any, queries: Any = None, seed: int = 0, *, least: int | None = None, kept: int | None = None
    ) -> None:
        self.documents = _matrix(documents, "sample", kept)
        least = least or (2 if queries is None else 1)
        if len(self.documents) < least:
            held_out = ", some of which are held out as queries" if queries is None else ""
            raise ValueError(f"sample: expected at least {least} rows{held_out}, got {len(self.documents)}")
        if queries is None:
            order = np.random.default_rng(seed).permutation(len(self.documents))
            held = min(_MOST_QUERIES, max(1, len(order) // 10))
            self.documents, self.queries = self.documents[np.sort(order[held:])], self.documents[np.sort(order[:held])]
        else:
            self.queries = _matrix(queries, "queries")
        if not len(self.queries):
            raise ValueError("queries: expected at least 1 row, got 0")
        if self.queries.shape[1] != self.dim:
            raise ValueError(f"queries: expected {self.dim} dimensions, as the sample has, got {self.queries.shape[1]}")
        self._truths: dict[tuple[int, int, Projection | None], Truth] = {}

    @property
    def dim(self) -> int:
        """How many dimensions the floats have."""
        return int(self.documents.shape[1])

    def truth(self, dim: int, k: int, projection: Projection | None = None) -> Truth:
        """Return the k best by the floats, projected or cut to `dim`, and renormalized."""
        key = dim, k, projection
        if key not in self._truths:
            queries, documents = self.queries, self.documents
            if projection is not None:
                queries, documents = projection(queries, "queries"), projection(documents, "sample")
            self._truths[key] = Truth(queries, documents, dim, k)
        return self._truths[key]


def report(
    codec: Codec,
    sample: Sample,
    *,
    ks: Sequence[int] = _KS,
    query_bits: int = 8,
    refine: bool | Metric = False,
    threads: int | None = None,
) -> Report:
    """Measure a codec by a sample; see `Codec.report`."""
    if codec.projection is None and sample.dim < codec.dim:
        raise ValueError(f"sample: expected shape (n, d) with d >= {codec.dim}, got d = {sample.dim}")
    count = len(sample.documents)
    ks = sorted({min(as_count(k, "ks", 2**62), count) for k in ks})
    if not ks:
        raise ValueError("ks: expected at least one number of answers")
    options: dict[str, Any] = {"query_bits": query_bits, "threads": threads}
    codes = codec.pack(sample.documents, refine=refine, threads=threads)
    rows = codec.search(sample.queries, codes, ks[-1], **options).rows

    def recalls(truth: Truth) -> dict[int, Estimate]:
        return {k: Estimate.of(truth.recall(rows, k)) for k in ks}

    truth = sample.truth(codec.dim, ks[-1], codec.projection)
    scored = slice(None, None, max(1, count // _SCORED_ROWS))
    errors = codec.score(sample.queries, codes[scored], **options) - truth.queries @ truth.documents[scored].T
    amounts = np.abs(truth.documents)
    return Report(
        codec,
        query_bits,
        refine,
        count,
        len(sample.queries),
        clip_rate=float((amounts > codec.limit).mean()),
        largest=float(amounts.max()),
        value_error=_root_mean_square(codec.unpack(codes) - truth.documents),
        score_error=_root_mean_square(errors),
        recall=recalls(truth),
        recall_uncut=recalls(sample.truth(sample.dim, ks[-1])),
    )


def _matrix(values: Any, name: str, kept: int | None = None) -> NDArray[Any]:
    array = as_numbers(*as_floats(values, name))
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"{name}: expected shape (n, d), got {array.shape}")
    array = array[:, :kept]
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise ValueError(f"{name}: row {int(bad.argmax())} holds NaN or infinity; every value must be finite")
    return array


def _root_mean_square(errors: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(errors, dtype=np.float64))))
