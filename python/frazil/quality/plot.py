"""A picture of what `frazil quality` found: recall against bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt  # after the choice of what draws

from frazil.quality.grid import refinement
from frazil.quality.report import Report

__all__ = ["plot"]


def plot(found: Sequence[Report], path: Path) -> None:
    """Draw recall against bytes per vector, a line for each width and query width, with 95% intervals.

    Left beside the floats cut to as many dimensions, right beside the uncut ones.
    """
    figure, panels = plt.subplots(1, 2, figsize=(13, 5.5), sharey=True)
    k = min(10, found[0].rows)
    for axes, uncut in zip(panels, (False, True), strict=True):
        for kind in dict.fromkeys(_kind(one) for one in found):
            line = sorted(
                (one for one in found if _kind(one) == kind),
                key=lambda one: one.codec.row_bytes,
            )
            recalls = [(one.recall_uncut if uncut else one.recall)[k] for one in line]
            spans = [[r.mean - r.low for r in recalls], [r.high - r.mean for r in recalls]]
            axes.errorbar(
                [one.codec.row_bytes for one in line],
                [r.mean for r in recalls],
                spans,
                marker="o",
                ms=4,
                capsize=3,
                label=kind,
            )
        axes.set_xscale("log", base=2)
        axes.set_xlabel("bytes per vector")
        axes.grid(alpha=0.3)
        axes.set_title("beside the uncut float32 vectors" if uncut else "beside float32 of as many dimensions")
    panels[0].set_ylabel(f"recall@{k}")
    panels[0].legend(loc="lower right")
    figure.suptitle(f"{found[0].rows:,} documents, {found[0].queries:,} queries, 95% intervals")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _kind(one: Report) -> str:
    name = f"{one.codec.bits} bits, queries {one.query_bits}"
    return name + {"no": "", "yes": ", refined", "metric": ", refined by a metric"}[refinement(one)]
