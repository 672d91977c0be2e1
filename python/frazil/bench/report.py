"""The results as Markdown and as JSON.

The JSON's keys: `format`, 1; `machine`: cpu, cpus, frazil, python, numpy, platform, and of a GPU's bench device;
`options`: what `frazil bench` was told; `missing`: the peers that did not run, and why; `tables`, each with

* `key`, `title`, `note`, and `unit`: what `work` counts, "rows" or "pairs"; "limits" for the table of limits alone
* `lines`, one for each set (or peer) and number of threads, and `probes`, the limits measured in the same turns. Both:
  `name`, `threads`; `seconds` of every repeat; `rows`, `work`, `bytes` and `products` of one run; `rate`: work, of
  probes bytes or products, a second; `spread`: (p90 - p10) / median; `limit`: the name of the probe that bounds it;
  `of_limit`: the speed as a part of it, of peers as a part of frazil's; `recall` at 10 against float32 (of searches)
  and `bytes_per_vector`, of peers.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from frazil import __version__, _native
from frazil.bench.options import Options
from frazil.bench.results import Line, Table

__all__ = ["FORMAT", "as_json", "header", "markdown", "millions", "table_rows", "write_json"]

FORMAT = 1


def header(options: Options, device: str = "") -> str:
    """Say what was measured where: on a GPU, `device`, or else on the CPU."""
    threads = " and ".join(map(str, options.threads))
    sets = ", ".join(options.sets)
    if device:
        return f"frazil {__version__} on {device}; {options.repeats} repeats"
    if options.peers:
        sets, threads = options.sets[0], "1"
    return f"frazil {__version__} on {_native.cpu_name()}; sets: {sets}; threads: {threads}; {options.repeats} repeats"


def markdown(table: Table) -> str:
    """Return a table as Markdown, with its title."""
    if table.unit == "limits":
        head, lines = ["limit", "threads", "speed", "spread"], [_limit(line) for line in table.probes]
    elif table.key.startswith("peers"):
        base = table.lines[0].name
        recall = ["recall@10"] if table.unit == "pairs" else []
        head = ["", f"M {table.unit}/s", "ms", f"of {base}", *recall, "bytes per vector", "spread"]
        lines = [_peer(line) for line in table.lines]
    else:
        head = ["set", "threads", f"M {table.unit}/s", "GB/s", "limit", "of limit", "spread"]
        probes = {(probe.name, probe.threads): probe for probe in table.probes}
        lines = [_run(line, probes) for line in table.lines]
    note = f"\n\n{table.note}" if table.note else ""
    return f"\n**{table.title}**\n\n{table_rows(head, lines)}{note}"


def millions(rate: float) -> str:
    """Show a rate in millions a second, small ones with more digits."""
    return f"{rate / 1e6:,.{1 if rate >= 10e6 else 2}f}"


def table_rows(head: list[str], lines: list[list[str]]) -> str:
    """Lay out Markdown; all columns but the first, and those of words, are flush right."""
    marks = ["---" if name in ("", "set", "limit", "operation") else "--:" for name in head]
    return "\n".join(
        [f"| {' | '.join(head)} |", f"|{'|'.join(marks)}|", *(f"| {' | '.join(cells)} |" for cells in lines)]
    )


def _limit(line: Line) -> list[str]:
    speed = f"{line.rate / 1e9:,.1f} " + ("G products/s" if line.products else "GB/s")
    return [line.name, str(line.threads), speed, f"{line.spread:.0%}"]


def _run(line: Line, probes: dict[tuple[str, int], Line]) -> list[str]:
    limit = probes[line.limit or "", line.threads]
    at_most = limit.rate * (line.work / line.products if limit.products else line.work / line.bytes)
    return [
        line.name,
        str(line.threads),
        millions(line.rate),
        f"{line.gb_per_s:,.1f}",
        f"{line.limit}: {millions(at_most)}",
        f"{line.of_limit:.0%}",
        f"{line.spread:.0%}",
    ]


def _peer(line: Line) -> list[str]:
    return [
        line.name,
        millions(line.rate),
        f"{1e3 * line.work / line.rate:,.2f}",
        f"{line.of_limit:.2f}",
        *([] if line.recall is None else [f"{line.recall:.3f}"]),
        f"{line.bytes_per_vector:,.0f}",
        f"{line.spread:.0%}",
    ]


def as_json(options: Options, tables: list[Table], missing: list[str], device: str = "") -> dict[str, Any]:
    """Return what `--json` writes."""
    machine = {
        **({"device": device} if device else {}),
        "cpu": _native.cpu_name(),
        "cpus": os.cpu_count(),
        "frazil": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
    told = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    return {
        "format": FORMAT,
        "machine": machine,
        "options": told,
        "missing": missing,
        "tables": [
            {
                "key": table.key,
                "title": table.title,
                "unit": table.unit,
                "note": table.note,
                "lines": [_figures(line) for line in table.lines],
                "probes": [_figures(line) for line in table.probes],
            }
            for table in tables
        ],
    }


def _figures(line: Line) -> dict[str, Any]:
    return {**asdict(line), "rate": line.rate, "spread": line.spread}


def write_json(path: Path, options: Options, tables: list[Table], missing: list[str], device: str = "") -> None:
    """Write all raw seconds, the machine and the summary."""
    path.write_text(json.dumps(as_json(options, tables, missing, device), indent=1) + "\n", encoding="utf-8")
