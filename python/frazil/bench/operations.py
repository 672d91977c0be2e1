"""The table of what is measured, and what bounds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from frazil.bench.cases import Case, Setup, by_metric, by_normal_levels, by_sketch, pack, search, unpack
from frazil.bench.options import Options

__all__ = ["OPERATIONS", "Operation", "names", "select"]


@dataclass(frozen=True)
class Operation:
    """One line of the table below."""

    key: str
    title: str
    """may name {rows}, {queries}, {vectors} and {clustered}"""
    unit: str
    limits: tuple[str, ...]
    """what bounds it, whichever is slower: `memory`, `dot`"""
    rows: Callable[[Options], int]
    make: Callable[[Setup, int], Case]
    scalar_share: int = 1
    """`scalar` does one in so many rows"""
    note: str = ""


_NORMAL_NOTE = (
    "Sets that sum products up in 16 bits (AVX2, SSE4.1, NEON) take two for each of these: half of the limit is theirs."
)
_SKETCH_NOTE = "The limit is that of a full scan, which reads all codes: a search by a sketch need not keep to it."
_PACK_NOTE = "Counted are the bytes read of the dimensions kept; the limit reads the same bytes and writes none."
_REFINE_NOTE = "Refining computes: the limit, of reading, is far from what bounds it."

OPERATIONS = (
    Operation("single", "search, one query, {rows:,} {vectors} rows", "rows", ("memory",), lambda o: o.rows, search(1)),
    *(
        Operation(
            f"small-{count}",
            f"search, {count} queries, {{rows:,}} {{vectors}} rows",
            "pairs",
            ("memory", "dot"),
            lambda o: o.batch_rows,
            search(count),
            scalar_share=4,
        )
        for count in (2, 4, 8, 16)
    ),
    Operation(
        "batch",
        "search, {queries} queries, {rows:,} {vectors} rows",
        "pairs",
        ("dot",),
        lambda o: o.batch_rows,
        search(None),
        scalar_share=16,
    ),
    Operation(
        "normal-single",
        "search, normal spacing, one query, {rows:,} {vectors} rows",
        "rows",
        ("memory",),
        lambda o: o.rows,
        search(1, prepare=by_normal_levels),
    ),
    Operation(
        "normal-batch",
        "search, normal spacing, {queries} queries, {rows:,} {vectors} rows",
        "pairs",
        ("dot",),
        lambda o: o.batch_rows,
        search(None, prepare=by_normal_levels),
        scalar_share=16,
        note=_NORMAL_NOTE,
    ),
    Operation(
        "sketch-single",
        "search by a sketch, one query, {rows:,} {clustered} rows",
        "rows",
        ("memory",),
        lambda o: o.rows,
        search(1, prepare=by_sketch, clustered=True),
        note=_SKETCH_NOTE,
    ),
    Operation(
        "sketch-batch",
        "search by a sketch, {queries} queries, {rows:,} {clustered} rows",
        "pairs",
        ("dot",),
        lambda o: o.batch_rows,
        search(None, prepare=by_sketch, clustered=True),
        scalar_share=16,
        note=_SKETCH_NOTE,
    ),
    Operation(
        "sketch-random",
        "search by a sketch, one query, {rows:,} {vectors} rows",
        "rows",
        ("memory",),
        lambda o: o.batch_rows,
        search(1, prepare=by_sketch),
        note=_SKETCH_NOTE,
    ),
    Operation(
        "float",
        "search, one query of floats (query_bits=32), {rows:,} {vectors} rows",
        "rows",
        ("memory",),
        lambda o: max(1, o.rows // 4),
        search(1, query_bits=32),
        scalar_share=4,
    ),
    Operation(
        "pack-float32",
        "pack, {rows:,} rows of 768 float32",
        "rows",
        ("memory",),
        lambda o: o.pack_rows,
        pack(np.float32),
        note=_PACK_NOTE,
    ),
    Operation(
        "pack-float16",
        "pack, {rows:,} rows of 768 float16",
        "rows",
        ("memory",),
        lambda o: o.pack_rows,
        pack(np.float16),
        note=_PACK_NOTE,
    ),
    Operation(
        "pack-refined",
        "pack, refined, {rows:,} rows of 768 float32",
        "rows",
        ("memory",),
        lambda o: max(1, o.pack_rows // 10),
        pack(np.float32, refine=lambda setup, x: True),
        scalar_share=4,
        note=_REFINE_NOTE,
    ),
    Operation(
        "pack-metric",
        "pack, refined by a metric, {rows:,} rows of 768 float32",
        "rows",
        ("memory",),
        lambda o: max(1, o.pack_rows // 10),
        pack(np.float32, refine=by_metric),
        scalar_share=16,
        note=_REFINE_NOTE,
    ),
    Operation(
        "unpack",
        "unpack, {rows:,} rows",
        "rows",
        ("memory",),
        lambda o: max(1, o.pack_rows // 2),
        unpack,
        note="Counted are the bytes read and written; the limit reads as many: writing that fast may be impossible.",
    ),
)


def names() -> str:
    """Return by which names `select` knows the operations: those of several at once, and in brackets of each."""
    families = dict.fromkeys(o.key.split("-")[0] for o in OPERATIONS)
    members = {family: [o.key for o in OPERATIONS if _called(o.key, family)] for family in families}
    return ", ".join(
        family if keys == [family] else f"{family} ({', '.join(keys)})" for family, keys in members.items()
    )


def select(only: tuple[str, ...]) -> tuple[Operation, ...]:
    """Return the operations whose key is given, or begins with what is given and a hyphen; all if none is given.

    Raises:
        ValueError: nothing is called so.
    """
    for name in only:
        if not any(_called(o.key, name) for o in OPERATIONS):
            raise ValueError(f"only: expected some of {names()}; got {name!r}")
    return tuple(o for o in OPERATIONS if not only or any(_called(o.key, name) for name in only))


def _called(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}-")
