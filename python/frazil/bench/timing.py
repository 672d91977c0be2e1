"""Time contestants in turn, and what their seconds come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from frazil import use_kernels

__all__ = ["Contestant", "interleave", "median", "spread"]


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Contestant:
    """Something to time. Only `run` is inside the timed interval."""

    run: Callable[[], Any]
    check: Callable[[Any], None] = _nothing
    """is given the answer of each run, and raises if it is wrong"""
    before: Callable[[], None] = _nothing
    kernels: str | None = None
    """the instruction set to force while it runs"""


def interleave(
    contestants: Sequence[Contestant],
    repeats: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    turn: Callable[[], None] = _nothing,
) -> list[list[float]]:
    """Run every contestant once for warming up, then all of them in turn, `repeats` times.

    What else the machine does meanwhile meets all of them alike, and ratios within one repeat stay meaningful.

    Args:
        contestants: what to run.
        repeats: how often, at least 1.
        clock: returns seconds.
        turn: is called after each single run.

    Returns:
        The seconds of each contestant, in the order given, one for every repeat.
    """
    seconds: list[list[float]] = [[] for _ in contestants]
    for repeat in range(repeats + 1):
        for contestant, times in zip(contestants, seconds, strict=True):
            contestant.before()
            with nullcontext() if contestant.kernels is None else use_kernels(contestant.kernels):
                start = clock()
                answer = contestant.run()
                end = clock()
            contestant.check(answer)
            if repeat:
                times.append(end - start)
            turn()
    return seconds


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(np.median(values))


def spread(values: Sequence[float]) -> float:
    """Return (90th percentile - 10th percentile) / median."""
    low, middle, high = np.percentile(values, [10, 50, 90])
    return float((high - low) / middle)
