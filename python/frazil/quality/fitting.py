"""`Codec.fit`: which limit, and whether a projection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil.projection import Projection
from frazil.quality.report import Sample, Truth

if TYPE_CHECKING:
    from frazil.codec import Codec

__all__ = ["fit"]

_LEAST_ROWS = 20
_QUERIES, _DOCUMENTS = 300, 5000  # at most so many are compared: the figures that are least then differ by a hundredth
_NEAREST = 100  # the scores that decide about recall
_WORTH = 0.02  # of recall@10, which a projection must bring
_SPREADS = np.geomspace(1.6, 10, 48)  # limits that are tried, in standard deviations of a value: 4% apart


def fit(codec: Codec, sample: Any, refine: bool, project: bool | None, seed: int) -> Codec:
    """Return a codec like the given one, its limit and projection fitted to a sample; see `Codec.fit`."""
    kept = None if project is None or project else codec.dim  # else all of them count
    held = Sample(sample, seed=seed, least=_LEAST_ROWS, kept=kept)
    if held.dim < codec.dim:
        raise ValueError(f"sample: expected shape (n, d) with d >= {codec.dim}, got d = {held.dim}")
    few = Sample(_some(held.documents, _DOCUMENTS, seed), held.queries[:_QUERIES])
    if project is None:
        project = held.dim > codec.dim and _projecting_is_worth_it(held, few, codec.dim, seed)
    if project:
        codec = replace(codec, projection=Projection.fit(held.documents, codec.dim, seed=seed))
    truth = few.truth(codec.dim, min(_NEAREST, len(few.documents)), codec.projection)
    spread = 1 / np.sqrt(codec.dim)
    plain = replace(codec, projection=None)  # what is packed here is projected already
    limits = [float(f"{times * spread:.3g}") for times in _SPREADS]
    errors = [_error(replace(plain, limit=limit), truth, refine) for limit in limits]
    if not min(errors) < max(errors):
        return codec  # whose limit is as good as any: no scores differ, or none is found by codes
    return replace(codec, limit=limits[int(np.argmin(errors))])


def _some(rows: Any, most: int, seed: int) -> Any:
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))]


def _projecting_is_worth_it(held: Sample, few: Sample, dim: int, seed: int) -> bool:
    k = min(10, len(few.documents))
    whole = few.truth(few.dim, k)
    recalls = []
    for projection in (None, Projection.fit(held.documents, dim, seed=seed)):
        rows = few.truth(dim, k, projection).rows
        recalls.append(whole.recall(rows, k).mean())
    return bool(recalls[1] > recalls[0] + _WORTH)


def _error(codec: Codec, truth: Truth, refine: bool) -> float:
    """Return what is left of the nearest documents' scores when a straight line of the codes' scores is taken out.

    Each query's scores are taken relative to their mean, as no order depends on it. It is the floats' scores that are
    to follow from the codes', not the other way round: codes that are all the same would have no error then.
    """
    scores = codec.score(truth.queries, codec.pack(truth.documents, refine=refine))
    given = np.take_along_axis(scores, truth.rows, 1).astype(np.float64)
    true = truth.scores.astype(np.float64)
    given = (given - given.mean(axis=1, keepdims=True)).ravel()
    true = (true - true.mean(axis=1, keepdims=True)).ravel()
    both, square = given @ true, given @ given
    return float(true @ true - both * both / square) if both > 0 else float("inf")
