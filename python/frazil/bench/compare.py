"""Two JSON files of the bench beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from frazil.bench.report import FORMAT, millions, table_rows

__all__ = ["compare"]

Key = tuple[str, str, int]


def compare(first: Path, second: Path) -> str:
    """Return a Markdown table of how fast `second` is beside `first`.

    Raises:
        ValueError: a file is none of the bench's, or of another format.
    """
    a, b = _read(first), _read(second)
    lines = []
    differ = []
    for key in a:
        if key not in b:
            continue
        operation, name, threads = key
        one, other = a[key], b[key]
        if one["rows"] != other["rows"]:
            differ.append(f"{_named(key)}: {one['rows']:,} and {other['rows']:,}")
        cells = [millions(one["rate"]), millions(other["rate"]), f"{other['rate'] / one['rate']:.3f}"]
        lines.append([operation, name, str(threads), *cells, f"{one['spread']:.0%}", f"{other['spread']:.0%}"])
    text = [table_rows(["operation", "set", "threads", "A, M/s", "B, M/s", "B/A", "spread A", "spread B"], lines)]
    for name, these, those in (("A", a, b), ("B", b, a)):
        shared = {key[0] for key in those}
        alone = [_named(key) if key[0] in shared else f"all of {key[0]}" for key in these if key not in those]
        if alone:
            text.append(f"Only in {name}: {'; '.join(dict.fromkeys(alone))}")
    if differ:
        text.append(f"Numbers of rows differ: {'; '.join(differ)}")
    return "\n\n".join(text)


def _named(key: Key) -> str:
    return f"{key[0]}, {key[1]}, {key[2]} thread{'s' if key[2] > 1 else ''}"


def _read(path: Path) -> dict[Key, dict[str, Any]]:
    """Return the lines of all tables, and the probes of the table of limits."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a JSON file of `frazil bench` ({type(error).__name__}: {error})") from error
    if found != FORMAT:
        raise ValueError(f"{path}: format {found!r}; this version of frazil reads format {FORMAT}")
    lines = {}
    try:
        for table in content["tables"]:
            for line in table["lines"] or table["probes"]:
                if not (line["rate"] > 0 and line["spread"] >= 0 and line["rows"] >= 0):
                    raise ValueError("a rate, a spread or a number of rows is below 0")
                lines[table["key"], line["name"], line["threads"]] = line
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a whole file of `frazil bench` ({type(error).__name__}: {error})") from error
    return lines
