"""Time frazil and its peers in turn, with recall@10 against float32."""

from __future__ import annotations

import gc
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil import ARCTIC_INT4, ARCTIC_INT8, Codec, Hits, Metric, Sketch
from frazil.bench.blocks import Floats, search_floats
from frazil.bench.cases import K, Search, WrongAnswer, expected_hits
from frazil.bench.data import Vectors
from frazil.bench.options import Options
from frazil.bench.packers import measure_packers
from frazil.bench.peers import PEERS, Built
from frazil.bench.progress import progress
from frazil.bench.results import Line, Table, failure
from frazil.bench.timing import Contestant, interleave, median

__all__ = ["measure_peers"]

_SAMPLE = 16_384  # rows that a metric is fitted to, about


@dataclass
class _Entry:
    """A peer that runs, and its first answers: those of later runs must be the same."""

    name: str
    built: Built
    first: dict[int, NDArray[Any]]
    kernels: str | None = None


def measure_peers(options: Options, vectors: Vectors, show: Callable[[Table], None]) -> list[str]:
    """Measure one query, a batch, then packing.

    Args:
        options: rows, queries, repeats and the set that frazil runs on, the first one.
        vectors: what to search.
        show: is given each table.

    Returns:
        The peers that did not run, and why.

    Raises:
        WrongAnswer: frazil's answer was not that of `scalar`, or a peer's not the same in every run.
    """
    x = vectors.floats(options.peer_rows)
    some = vectors.queries(max(1, options.queries))
    some /= np.maximum(np.linalg.norm(some, axis=1, keepdims=True), np.float32(1e-30))
    batches = {"peers-one": some[:1], "peers-batch": some}
    metric, normal = Metric.fit(x[:: -(-len(x) // _SAMPLE)]), Codec(x.shape[1], 4, spacing="normal")
    codes = [
        ("frazil 4 bits", ARCTIC_INT4, ARCTIC_INT4.pack(x)),
        ("frazil 4 bits, refined", ARCTIC_INT4, ARCTIC_INT4.pack(x, refine=metric)),
        ("frazil 4 bits, normal, refined", normal, normal.pack(x, refine=metric)),
        ("frazil 8 bits", ARCTIC_INT8, ARCTIC_INT8.pack(x)),
    ]
    ours = [entry for one in codes for entry in _frazil(*one, list(batches.values()), options.sets[0])]
    del codes
    missing: list[str] = []
    with progress("building peers", len(PEERS)) as step:
        entries = [*ours, *_build(x, list(batches.values()), missing, step)]
    gc.collect()
    print(_versions(missing), flush=True)
    for key, queries in batches.items():
        show(_table(key, entries, queries, x, options, data=vectors.name))
    del entries, ours, x
    missing_packers = measure_packers(options, show)
    for line in missing_packers:
        print(line, flush=True)
    return [*missing, *missing_packers]


def _frazil(name: str, codec: Codec, codes: NDArray[np.uint8], batches: list[Floats], isa: str) -> list[_Entry]:
    """Find the answers that `scalar` agrees with: of a full scan, and of a search by a sketch."""
    entries = []
    for sketch in (None, Sketch.build(codec, codes)):

        def search(queries: Floats, threads: int | None, sketch: Sketch | None = sketch) -> Hits:
            return codec.search(queries, codes, K, sketch=sketch, threads=threads)

        def rows(queries: Floats, search: Search = search) -> NDArray[Any]:
            return search(queries, 1).rows

        first = {len(queries): expected_hits(search, queries).rows for queries in batches}
        size = codec.row_bytes + (0 if sketch is None else sketch.data.nbytes / len(codes))
        entries.append(_Entry(name + ("" if sketch is None else ", sketch"), Built(size, rows), first, isa))
    return entries


def _build(x: Floats, batches: list[Floats], missing: list[str], step: Callable[[], None]) -> list[_Entry]:
    """Build every peer's index and let it answer once."""
    entries = []
    for peer in PEERS:
        try:
            built = peer.build(x)
            entries.append(_Entry(peer.name, built, {len(q): _answer(built, q) for q in batches}))
        except Exception as error:  # whatever goes wrong in another library is its entry in the report
            missing.append(failure(peer.name, error, peer.package))
        step()
    return entries


def _answer(built: Built, queries: Floats) -> NDArray[Any]:
    rows = built.search(queries)
    if rows.shape[0] != len(queries) or rows.ndim != 2:
        raise ValueError(f"answered with shape {rows.shape}")
    return rows


def _versions(missing: list[str]) -> str:
    versions = []
    for package in dict.fromkeys(peer.package for peer in PEERS):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "\n".join([", ".join(versions), *missing])


def _table(key: str, entries: list[_Entry], queries: Floats, x: Floats, options: Options, *, data: str) -> Table:
    exact = search_floats(x, queries)

    def contestant(entry: _Entry) -> Contestant:
        def check(rows: NDArray[Any]) -> None:
            if not np.array_equal(rows, entry.first[len(queries)]):
                raise WrongAnswer(f"{key}: {entry.name}: not the answer of the reference")

        return Contestant(lambda: entry.built.search(queries), check, kernels=entry.kernels)

    with progress(key, len(entries) * (options.repeats + 1)) as step:
        seconds = interleave([contestant(entry) for entry in entries], options.repeats, turn=step)
    lines = []
    for entry, times in zip(entries, seconds, strict=True):
        ratio = median([ours / theirs for ours, theirs in zip(seconds[0], times, strict=True)])
        found = entry.first[len(queries)]
        recall = np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact, strict=True)])
        lines.append(
            Line(
                entry.name,
                1,
                times,
                rows=options.peer_rows,
                work=options.peer_rows * len(queries),
                limit=entries[0].name,
                of_limit=ratio,
                recall=float(recall),
                bytes_per_vector=entry.built.bytes_per_vector,
            )
        )
    counted = "one query" if len(queries) == 1 else f"{len(queries)} queries"
    return Table(key, f"{counted}, {options.peer_rows:,} {data} rows, one thread each", "pairs", lines)
