"""A roofline picture: what the machine can do at most, and where the operations are below that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt  # after the choice of what draws
import numpy as np

from frazil import _native
from frazil.bench.results import Table
from frazil.bench.timing import median

__all__ = ["plot"]


def plot(tables: list[Table], path: Path) -> None:
    """Draw one panel for each number of threads.

    Across: products per byte read. Up: 1e9 products a second. The slope is the read bandwidth, the level lines are the
    peaks of the instruction sets.
    """
    searches = [t for t in tables if any(line.products for line in t.lines)]
    limits: dict[tuple[str, int], list[float]] = {}
    for probe in (probe for table in tables for probe in table.probes):  # each is measured again beside each operation
        limits.setdefault((probe.name, probe.threads), []).append(probe.rate / 1e9)
    threads = list(dict.fromkeys(count for _, count in limits))
    figure, panels = plt.subplots(1, len(threads), figsize=(7.5 * len(threads), 6), squeeze=False, sharey=True)
    for axes, count in zip(panels[0], threads, strict=True):
        _panel(axes, count, {name: median(rates) for (name, n), rates in limits.items() if n == count}, searches)
    panels[0][0].set_ylabel("G products/s")
    sets = dict.fromkeys(line.name for table in searches for line in table.lines)
    for i, name in enumerate(sets):
        panels[0][0].plot([], [], "o", ms=5, color=f"C{i}", label=name)
    panels[0][0].legend(loc="lower right", fontsize=8)
    figure.suptitle(f"frazil on {_native.cpu_name()}: search beside the limits of the machine")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _panel(axes: Any, threads: int, limits: dict[str, float], searches: list[Table]) -> None:
    bandwidth = limits["read"]
    peaks = {name.removeprefix("dot "): rate for name, rate in limits.items() if name.startswith("dot ")}
    colors = {name: f"C{i}" for i, name in enumerate(peaks)}
    points = [(table, line) for table in searches for line in table.lines if line.threads == threads]
    across = [line.products / line.bytes for _, line in points] or [1.0]
    left, right = min(across) / 2, max(across) * 32
    x = np.geomspace(left, right, 200)
    axes.loglog(x, np.minimum(bandwidth * x, max(peaks.values())), color="0.3", lw=1.5)
    axes.annotate(
        f"read {bandwidth:.1f} GB/s",
        (left, bandwidth * left),
        fontsize=8,
        color="0.3",
        va="top",
        xytext=(6, -6),
        textcoords="offset points",
    )
    for name, peak in peaks.items():
        axes.hlines(peak, max(left, peak / bandwidth), right, color=colors[name], lw=1, ls="--")
    for names, peak in _levels(peaks):
        axes.annotate(f"{names}: {peak:,.0f}", (right, peak), fontsize=8, color="0.3", ha="right", va="bottom")
    highest: dict[str, tuple[float, float]] = {}
    for table, line in points:
        at, height = line.products / line.bytes, line.products * line.rate / line.work / 1e9
        mark = "s" if table.key == "float" else "o"  # floats are not bounded by integer products
        axes.plot(at, height, mark, ms=5, color=colors[line.name], fillstyle="none" if mark == "s" else "full")
        if height > highest.get(table.key, (0.0, 0.0))[1]:
            highest[table.key] = at, height
    for key, point in highest.items():
        axes.annotate(key, point, xytext=(6, -3), textcoords="offset points", fontsize=8, va="top")
    axes.set_title(f"{threads} thread{'s' if threads > 1 else ''}")
    axes.set_xlabel("products per byte read")
    axes.grid(visible=True, which="major", color="0.9")


def _levels(peaks: dict[str, float]) -> list[tuple[str, float]]:
    """Put those together whose labels would lie upon each other."""
    levels: list[tuple[str, float]] = []
    for name, peak in peaks.items():
        if levels and 0.8 < peak / levels[-1][1] < 1.25:
            levels[-1] = f"{levels[-1][0]}, {name}", max(levels[-1][1], peak)
        else:
            levels.append((name, peak))
    return levels
