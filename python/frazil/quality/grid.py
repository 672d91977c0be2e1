"""`frazil quality`: what many codecs' codes of one file cost, side by side."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil._arrays import as_floats
from frazil._files import load_array
from frazil.bench.report import table_rows
from frazil.codec import Codec
from frazil.metric import Metric
from frazil.quality.report import Report, Sample, report

__all__ = ["REFINEMENTS", "Grid", "as_json", "load", "markdown", "refinement", "reports"]

REFINEMENTS = ("no", "yes", "metric")


@dataclass(frozen=True)
class Grid:
    """Which codecs are measured: every combination."""

    dims: Sequence[int] = ()
    """none: 64, 128, 256, 512 …, up to the file's"""
    bits: Sequence[int] = (4, 8)
    query_bits: Sequence[int] = (8,)
    refine: Sequence[str] = REFINEMENTS
    limit: float | None = None
    """None: the recipe's, for each number of bits"""

    def combinations(self, dim: int) -> list[tuple[Codec, int, str]]:
        """Return codecs, query_bits and refinements for vectors of `dim` dimensions."""
        dims = list(self.dims) or [kept for kept in (64, 128, 256, 512, 1024) if kept <= dim] or [dim]
        if not self.dims and dims[-1] != dim and dim <= 512:
            dims.append(dim)
        # Codec fills None in, by what the recipe says for the bits.
        return [
            (Codec(kept, bits, self.limit), asked, refine)  # type: ignore[arg-type]
            for kept, bits, asked, refine in itertools.product(dims, self.bits, self.query_bits, self.refine)
        ]


def load(path: Path, most: int | None, seed: int) -> NDArray[Any]:
    """Return the vectors of a .npy file, of more than `most` so many chosen at random, floats (n, d).

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be read.
    """
    vectors = load_array(path)
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ValueError(f"{path}: expected an array of floats (n, d), got {vectors.dtype} {vectors.shape}")
    try:
        as_floats(vectors[:0], str(path))
    except TypeError as error:  # of other floats, such as long doubles
        raise ValueError(str(error)) from None
    if most is None or len(vectors) <= most:
        return vectors
    return vectors[np.sort(np.random.default_rng(seed).choice(len(vectors), most, replace=False))]


def reports(sample: Sample, grid: Grid, step: Callable[[], None]) -> list[Report]:
    """Measure every combination of a grid; `step` is called after each. Metrics are learned from the documents."""
    found, metrics = [], functools.cache(lambda dim: Metric.fit(sample.documents, dim))
    for codec, query_bits, name in grid.combinations(sample.dim):
        refine = metrics(codec.dim) if name == "metric" else name == "yes"
        found.append(report(codec, sample, query_bits=query_bits, refine=refine))
        step()
    return found


def refinement(one: Report) -> str:
    """Return the name of a report's refinement."""
    return REFINEMENTS[int(one.refine)] if isinstance(one.refine, bool) else "metric"


def markdown(found: Sequence[Report]) -> str:
    """Return a table of reports; recalls with half the width of their 95% interval."""
    lines = []
    for one in found:
        codec = one.codec
        recalls = [*one.recall.values(), one.recall_uncut[min(10, one.rows)]]
        lines.append(
            [f"{codec.row_bytes:,}", str(codec.dim), str(codec.bits), str(one.query_bits), refinement(one)]
            + [f"{one.clip_rate:.2%}", f"{one.value_error:.5f}", f"{one.score_error:.5f}"]
            + [f"{estimate.mean:.3f} ±{(estimate.high - estimate.low) / 2:.3f}" for estimate in recalls]
        )
    head = ["bytes", "dim", "bits", "query_bits", "refine", "clipped", "value error", "score error"]
    head += [*(f"recall@{k}" for k in found[0].recall), f"recall@{min(10, found[0].rows)}, uncut"]
    return table_rows(head, lines)


def as_json(found: Sequence[Report]) -> str:
    """Return all figures as JSON: a list with an object for each report."""
    lines = []
    for one in found:
        codec = {"dim": one.codec.dim, "bits": one.codec.bits, "limit": one.codec.limit}
        figures = {
            name: value
            for name, value in vars(one).items()
            if name not in ("codec", "refine", "recall", "recall_uncut")
        }
        recalls = {
            name: {str(k): estimate._asdict() for k, estimate in values.items()}
            for name, values in (("recall", one.recall), ("recall_uncut", one.recall_uncut))
        }
        lines.append(
            {
                **codec,
                "row_bytes": one.codec.row_bytes,
                "refine": refinement(one),
                **figures,
                **recalls,
                "warnings": one.warnings,
            }
        )
    return json.dumps(lines, indent=1)
