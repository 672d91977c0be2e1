"""Measure an operation: all sets and thread counts in turn, and between them the probes of what bounds them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from frazil import _native, use_kernels
from frazil.bench.cases import Case, Setup, WrongAnswer
from frazil.bench.operations import Operation
from frazil.bench.progress import progress
from frazil.bench.results import Line, Table
from frazil.bench.timing import Contestant, interleave, median

__all__ = ["Probe", "dot_probe", "measure", "measure_limits", "memory_probe", "with_limit"]

_PROBE_SECONDS = 0.03  # what a dot product probe should take, at least


@dataclass(frozen=True)
class Probe:
    """Something that runs at a limit of the machine."""

    name: str
    threads: int
    contestant: Contestant
    bytes: int = 0
    products: int = 0

    def line(self, seconds: list[float]) -> Line:
        """Return the result."""
        return Line(self.name, self.threads, seconds, bytes=self.bytes, products=self.products)

    def seconds_for(self, line: Line, seconds: float) -> float:
        """Return how long the work of `line` would take at this limit, where the probe took `seconds`."""
        return seconds * (line.products / self.products if self.products else line.bytes / self.bytes)


def memory_probe(case: Case, threads: int) -> Probe:
    """Make a probe that reads what the operation must read."""
    memory, kept = case.memory, case.kept
    if kept is None:
        run: Callable[[], int] = lambda: _native.read_bytes(memory, threads)  # noqa: E731
        return Probe("read", threads, Contestant(run), bytes=memory.nbytes)
    run = lambda: _native.read_rows(memory, kept, threads)  # noqa: E731
    return Probe(f"read {kept} of {memory.shape[1]}", threads, Contestant(run), bytes=len(memory) * kept)


_rounds: dict[str, int] = {}


def dot_probe(isa: str, threads: int) -> Probe:
    """Make a probe that multiplies and adds at the rate of an instruction set."""
    with use_kernels(isa):
        if isa not in _rounds:
            rounds, seconds = 1_000, 0.0
            while seconds < _PROBE_SECONDS:
                rounds = round(rounds * max(2.0, min(100.0, 1.2 * _PROBE_SECONDS / max(seconds, 1e-6))))
                start = time.perf_counter()
                _native.dot_peak(rounds, 1)
                seconds = time.perf_counter() - start
            _rounds[isa] = rounds
        products = _native.dot_peak(1, threads) * _rounds[isa]
    run = lambda: _native.dot_peak(_rounds[isa], threads)  # noqa: E731
    return Probe(f"dot {isa}", threads, Contestant(run, kernels=isa), products=products)


def measure_limits(setup: Setup, cases: list[Case]) -> Table:
    """Measure what the machine can do at most: the reads of `cases`, and the dot products of every set."""
    probes = [memory_probe(case, threads) for case in cases for threads in setup.options.threads]
    probes += [dot_probe(isa, threads) for isa in setup.options.sets for threads in setup.options.threads]
    contestants = [probe.contestant for probe in probes]
    with progress("limits", len(contestants) * (setup.options.repeats + 1)) as step:
        seconds = interleave(contestants, setup.options.repeats, turn=step)
    lines = [probe.line(times) for probe, times in zip(probes, seconds, strict=True)]
    return Table("limits", "Limits of this machine", "limits", [], lines)


def measure(operation: Operation, setup: Setup) -> Table:
    """Measure one operation.

    Raises:
        WrongAnswer: a run gave another answer than the reference; the message says which.
    """
    options = setup.options
    title = operation.title.format(
        rows=operation.rows(options),
        queries=options.queries,
        vectors=setup.vectors.name,
        clustered=setup.clustered.name,
    )
    try:
        cases = {1: operation.make(setup, operation.rows(options))}
        if "scalar" in options.sets and operation.scalar_share not in cases:
            rows = max(1, operation.rows(options) // operation.scalar_share)
            cases[operation.scalar_share] = operation.make(setup, rows)
    except WrongAnswer as error:
        raise WrongAnswer(f"{operation.key}: {error}") from error
    probes: list[Probe] = []
    runs: list[tuple[str, int, Case, list[int]]] = []  # set, threads, case, which probes bound it
    contestants: list[tuple[Contestant, Probe | int]] = []

    def add_probe(probe: Probe) -> int:
        contestants.append((probe.contestant, probe))
        probes.append(probe)
        return len(probes) - 1

    for threads in options.threads:
        memory = [add_probe(memory_probe(cases[1], threads))] if "memory" in operation.limits else []
        for isa in options.sets:
            dot = [add_probe(dot_probe(isa, threads))] if "dot" in operation.limits else []
            case = cases[operation.scalar_share if isa == "scalar" else 1]
            contestants.append((_contestant(operation, isa, threads, case), len(runs)))
            runs.append((isa, threads, case, memory + dot))

    with progress(operation.key, len(contestants) * (options.repeats + 1)) as step:
        seconds = interleave([contestant for contestant, _ in contestants], options.repeats, turn=step)
    probe_seconds = [s for s, (_, what) in zip(seconds, contestants, strict=True) if isinstance(what, Probe)]
    run_seconds = [s for s, (_, what) in zip(seconds, contestants, strict=True) if not isinstance(what, Probe)]
    lines = []
    for (isa, threads, case, bounds), times in zip(runs, run_seconds, strict=True):
        line = Line(isa, threads, [], case.rows, case.work, case.bytes, case.products)
        lines.append(with_limit(line, times, [(probes[i], probe_seconds[i]) for i in bounds]))
    probe_lines = [probe.line(times) for probe, times in zip(probes, probe_seconds, strict=True)]
    notes = [operation.note] if operation.note else []
    if len(cases) > 1:
        notes.append(f"scalar is slow and does {cases[operation.scalar_share].rows:,} rows.")
    return Table(operation.key, title, operation.unit, lines, probe_lines, " ".join(notes))


def _contestant(operation: Operation, isa: str, threads: int, case: Case) -> Contestant:
    def check(answer: object) -> None:
        try:
            case.check(answer)
        except WrongAnswer as error:
            counted = "1 thread" if threads == 1 else f"{threads} threads"
            raise WrongAnswer(f"{operation.key}: {isa} with {counted}: {error}") from error

    return Contestant(lambda: case.run(threads), check, case.before, isa)


def with_limit(line: Line, seconds: list[float], bounds: list[tuple[Probe, list[float]]]) -> Line:
    """Add the seconds, the limit, and the median over all repeats of what the limit would take / what the run took."""
    ideal = {probe.name: [probe.seconds_for(line, s) for s in times] for probe, times in bounds}
    worst = [max(repeat) for repeat in zip(*ideal.values(), strict=True)]
    of_limit = median([a / b for a, b in zip(worst, seconds, strict=True)])
    name = max(ideal, key=lambda name: median(ideal[name]))
    return replace(line, seconds=seconds, limit=name, of_limit=of_limit)
