"""What a `Collection` costs beside what it is made of: plain writes and SQLite, and `Codec.search` on arrays.

    python bench/collection.py [--folder DIR] [--rows 1000000] [--filter-rows 4000000] [--repeats 5]

Each figure is a ratio of two things measured in turns, on the same disk; the median of the repeats, and their range.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from frazil import ARCTIC_INT4, Collection

_BATCH = 10_000


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: the temporary folder)")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--filter-rows", type=int, default=4_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="frazil-bench-", dir=arguments.folder))
    try:
        print("| what | beside | its time | ratio | range | wanted |")
        print("|---|---|--:|--:|---|---|")
        codes = np.random.default_rng(0).integers(0, 256, (arguments.rows, 128), dtype=np.uint8)
        for kind in ("integers", "strings"):
            _measure_add(folder, codes, kind, max(1, arguments.repeats // 2))
        _measure_search(folder, codes, arguments.repeats)
        _measure_filters(folder, arguments.filter_rows, arguments.repeats)
    finally:
        shutil.rmtree(folder)


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _compare(
    what: str, function: Callable[[], object], beside: str, base: Callable[[], object], repeats: int, wanted: str
) -> None:
    """Print a line of the table."""
    pairs = [(_timed(base), _timed(function)) for _ in range(repeats)]
    ratios = sorted(time_ / base_time for base_time, time_ in pairs)
    base_time = statistics.median(base_time for base_time, _ in pairs)
    ratio = statistics.median(ratios)
    numbers = f"{base_time * 1e3:,.2f} ms | {ratio:.3f} | {ratios[0]:.3f} to {ratios[-1]:.3f}"
    print(f"| {what} | {beside} | {numbers} | {wanted} |", flush=True)


def _measure_add(folder: Path, codes: np.ndarray, kind: str, repeats: int) -> None:
    """Adding in batches, each on the disk when the call returns; beside writing and inserting by hand, just so."""
    rows = len(codes)
    ids: list[int | str] = list(range(rows))
    if kind == "strings":
        ids = [f"document-{n * 7919 % rows:08}" for n in range(rows)]

    def by_hand() -> None:
        shutil.rmtree(folder / "plain", ignore_errors=True)
        (folder / "plain").mkdir()
        database = sqlite3.connect(folder / "plain" / "ids.sqlite3", isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE items (row INTEGER PRIMARY KEY, id NOT NULL UNIQUE)")
        with (folder / "plain" / "codes.bin").open("wb", buffering=0) as file:
            for start in range(0, rows, _BATCH):
                file.write(codes[start : start + _BATCH].data)
                os.fsync(file.fileno())
                database.execute("BEGIN")
                database.executemany("INSERT INTO items VALUES (?, ?)", enumerate(ids[start : start + _BATCH], start))
                database.execute("COMMIT")
        database.close()

    def added() -> None:
        shutil.rmtree(folder / "added", ignore_errors=True)
        with Collection.create(folder / "added", ARCTIC_INT4) as collection:
            for start in range(0, rows, _BATCH):
                collection.add(ids[start : start + _BATCH], codes=codes[start : start + _BATCH])

    what = f"add {rows:,} rows, {kind} as ids, by {_BATCH:,}"
    _compare(what, added, "write, fsync, SQLite's insert", by_hand, repeats, "≤ 2")


def _measure_search(folder: Path, codes: np.ndarray, repeats: int) -> None:
    """Searching the collection that was added last; beside the codec's search of the same codes, mapped as well."""
    mapped = np.memmap(folder / "added" / "codes-1.bin", np.uint8, "r").reshape(codes.shape)
    with Collection.open(folder / "added") as collection:
        for count in (1, 32):
            queries = np.random.default_rng(1).standard_normal((count, 256), dtype=np.float32)
            hits, plain = collection.search(queries), ARCTIC_INT4.search(queries, mapped)
            assert np.array_equal(hits.scores, plain.scores)
            _compare(
                f"search {len(codes):,} rows, {count} queries",
                lambda queries=queries: collection.search(queries),  # type: ignore[misc]
                "Codec.search of the mapped file",
                lambda queries=queries: ARCTIC_INT4.search(queries, mapped),  # type: ignore[misc]
                4 * repeats,
                "≤ 1.2, + 1 ms",
            )


def _measure_filters(folder: Path, rows: int, repeats: int) -> None:
    """Filters over an indexed field; beside the same search without one."""
    random = np.random.default_rng(2)
    with Collection.create(folder / "filtered", ARCTIC_INT4) as collection:
        for start in range(0, rows, 200_000):
            ids = range(start, min(rows, start + 200_000))
            block = random.integers(0, 256, (len(ids), 128), dtype=np.uint8)
            collection.add(ids, codes=block, metadatas=[{"group": n * 7919 % 100} for n in ids])
        collection.create_index("group")
        query = random.standard_normal(256, dtype=np.float32)
        plain = collection.search(query, k=50)
        one, everything = {"group": 5}, {"group": {"$gte": 0}}
        assert len(collection.search(query, where=one).ids) == 10
        assert collection.search(query, k=50, where=everything).ids == plain.ids
        forget = collection._reader._filters.clear

        def fresh(where: dict[str, object]) -> Callable[[], object]:
            def run() -> object:
                forget()
                return collection.search(query, where=where)

            return run

        def committed(where: dict[str, object]) -> Callable[[], object]:
            def run() -> object:
                collection.upsert([0], codes=codes[:1], metadatas=[{"group": 0}])
                return collection.search(query, where=where)

            return run

        codes = np.memmap(folder / "filtered" / "codes-1.bin", np.uint8, "r").reshape(rows, 128)
        mask = np.ones(rows, np.bool_)
        some = np.arange(0, rows) % 100 != 5
        for what, function, wanted in (
            ("filter for 1%, seen before", lambda: collection.search(query, where=one), "≤ 0.2"),
            ("filter for 1%, new", fresh(one), "≤ 0.2"),
            ("filter for all, seen before", lambda: collection.search(query, where=everything), "≤ 1.1"),
            ("filter for all, new", fresh(everything), ""),
            ("mask of all", lambda: collection.search(query, allow=mask), "≤ 1.1"),
            ("mask of 99%, given to Codec.search", lambda: ARCTIC_INT4.search(query, codes, allow=some), ""),
            ("filter for all, after a commit", committed(everything), ""),
        ):
            _compare(f"{what}, {rows:,} rows", function, "no filter", lambda: collection.search(query), repeats, wanted)


if __name__ == "__main__":
    main()
