"""Measure pack and search beside what bounds them and what NumPy does, in one run, one thread each.

    python bench/bench.py [--rows 4000000] [--batch-rows 1000000] [--repeats 7] [--json FILE]

Every repeat runs all contestants once, in turn, so that what else the machine does meets them alike; the figures are
medians, and the ratios are medians of the ratios within a repeat. Results are checked while they are timed.
"""

from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # NumPy's matmul on one thread, too; must be set before NumPy is imported

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import frazil
from frazil import _native

CODEC = frazil.ARCTIC_INT4
K = 10
BATCH = 256


def interleave(contestants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, np.ndarray]:
    """Run every contestant once for warming up, then `repeats` times in turn; return each one's seconds."""
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def with_kernels(isa: str, run: Callable[[], Any], check: Callable[[Any], None]) -> Callable[[], None]:
    def forced() -> None:
        with frazil.use_kernels(isa):
            check(run())

    return forced


def must_equal(expected: frazil.Hits) -> Callable[[frazil.Hits], None]:
    def check(hits: frazil.Hits) -> None:
        if not (np.array_equal(hits.rows, expected.rows) and np.array_equal(hits.scores, expected.scores)):
            raise AssertionError("a search gave another answer")

    return check


def numpy_search(queries: np.ndarray, documents: np.ndarray, k: int) -> np.ndarray:
    """Find the k best by float32 matmul and argpartition, in blocks of documents: what people write today."""
    block = 1 << 16
    best_scores = np.empty((len(queries), 0), np.float32)
    best_rows = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(documents), block):
        scores = queries @ documents[start : start + block].T
        rows = np.argpartition(scores, -k, axis=1)[:, -k:]
        best_scores = np.hstack([best_scores, np.take_along_axis(scores, rows, 1)])
        best_rows = np.hstack([best_rows, rows + start])
    order = np.argsort(-best_scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(best_rows, order, 1)


def numpy_pack(x: np.ndarray) -> np.ndarray:
    """Pack by the recipe, in NumPy."""
    x = x[:, : CODEC.dim]
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    limit = np.float32(CODEC.limit)
    codes = np.rint(np.clip(x + limit, 0, 2 * limit) * np.float32(1 / CODEC.step)).astype(np.uint8)
    return codes[:, ::2] << 4 | codes[:, 1::2]


def bench_single(rows: int, repeats: int, rng: np.random.Generator) -> dict[str, Any]:
    codes = rng.integers(0, 256, (rows, CODEC.row_bytes), dtype=np.uint8)
    query = rng.standard_normal((1, CODEC.dim), dtype=np.float32)
    with frazil.use_kernels("scalar"):
        check = must_equal(CODEC.search(query, codes, K))
    runs: dict[str, Callable[[], Any]] = {"read": lambda: _native.read_bytes(codes, 1)}
    for isa in frazil.kernels():
        runs[isa] = with_kernels(isa, lambda: CODEC.search(query, codes, K, threads=1), check)
    seconds = interleave(runs, repeats)
    return report(f"one query, {rows:,} rows", "M rows/s", seconds, rows, "read")


def bench_batch(rows: int, repeats: int, rng: np.random.Generator) -> dict[str, Any]:
    documents = rng.standard_normal((rows, CODEC.dim), dtype=np.float32)
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    queries = rng.standard_normal((BATCH, CODEC.dim), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    codes = CODEC.pack(documents)
    exact = numpy_search(queries, documents, K)
    hits = CODEC.search(queries, codes, K)
    recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(hits.rows, exact, strict=True)])
    runs: dict[str, Callable[[], Any]] = {"numpy float32": lambda: numpy_search(queries, documents, K)}
    for isa in frazil.kernels():
        if isa != "scalar":
            runs[isa] = with_kernels(isa, lambda: CODEC.search(queries, codes, K, threads=1), must_equal(hits))
    seconds = interleave(runs, repeats)
    title = f"{BATCH} queries, {rows:,} rows, k={K}, recall@{K} against float32 {recall:.3f} (random vectors)"
    return report(title, "M pairs/s", seconds, rows * BATCH, "numpy float32")


def bench_pack(rows: int, repeats: int, rng: np.random.Generator) -> dict[str, Any]:
    x = rng.standard_normal((rows, 768), dtype=np.float32)
    expected = CODEC.pack(x)

    def check(codes: np.ndarray) -> None:
        if not np.array_equal(codes, expected):
            raise AssertionError("a pack gave other codes")

    def check_numpy() -> None:  # its float32 steps may fall on the other side of a rounding boundary
        if np.mean(numpy_pack(x) != expected) > 1e-3:
            raise AssertionError("NumPy's codes differ")

    out = np.empty_like(expected)
    runs: dict[str, Callable[[], Any]] = {"numpy recipe": check_numpy}
    for isa in frazil.kernels():
        runs[isa] = with_kernels(isa, lambda: CODEC.pack(x, out=out, threads=1), check)
    seconds = interleave(runs, repeats)
    return report(
        f"pack {rows:,} rows of 768 float32 into {CODEC.row_bytes} bytes", "M rows/s", seconds, rows, "numpy recipe"
    )


def report(title: str, unit: str, seconds: dict[str, np.ndarray], work: int, base: str) -> dict[str, Any]:
    """Print one table as Markdown and return its figures."""
    figures = {}
    print(f"\n### {title}\n\n| | {unit} | of `{base}` | spread |\n|---|--:|--:|--:|")
    for name, values in seconds.items():
        rate = work / np.median(values) / 1e6
        ratio = float(np.median(seconds[base] / values))
        spread = float((np.percentile(values, 90) - np.percentile(values, 10)) / np.median(values))
        print(f"| {name} | {rate:,.1f} | {ratio:.2f} | {spread:.0%} |", flush=True)
        figures[name] = {"rate": rate, "unit": unit, "ratio": ratio, "spread": spread}
    return {"title": title, "base": base, "figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000, help="rows for the single query")
    parser.add_argument("--batch-rows", type=int, default=1_000_000, help="rows for the batch")
    parser.add_argument("--pack-rows", type=int, default=100_000, help="rows to pack")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    cpu = _native.cpu_name() or platform.processor()
    print(f"frazil {frazil.__version__} on {cpu}: {', '.join(frazil.kernels())}; one thread")
    tables = [
        bench_single(args.rows, args.repeats, rng),
        bench_batch(args.batch_rows, args.repeats, rng),
        bench_pack(args.pack_rows, args.repeats, rng),
    ]
    if args.json:
        args.json.write_text(json.dumps({"cpu": cpu, "version": frazil.__version__, "tables": tables}, indent=2) + "\n")


if __name__ == "__main__":
    main()
