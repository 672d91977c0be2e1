"""A progress bar on stderr, where that is a terminal and rich is there; else nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress"]


@contextmanager
def progress(title: str, total: int = 0) -> Iterator[Callable[[], None]]:
    """Show a bar that goes when the block ends, so that stdout's tables stay whole.

    Args:
        title: what is being done.
        total: how many steps there are; 0: not known.

    Yields:
        What to call after each step.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield lambda: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # Redrawn by the steps alone: a thread that draws would take time from what is measured.
    bar = Progress(
        *columns, console=Console(stderr=True), transient=True, auto_refresh=False, disable=not sys.stderr.isatty()
    )
    with bar:
        task = bar.add_task(title, total=total or None)
        bar.refresh()

        def step() -> None:
            bar.update(task, advance=1, refresh=True)

        yield step
