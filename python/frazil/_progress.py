"""A bar for long work that is counted in items, with rate and time left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

__all__ = ["counted"]


@contextlib.contextmanager
def counted(title: str, begun: int, count: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with rate and time left on stderr, where that is a terminal and rich is there.

    Args:
        title: what is being worked on.
        begun: how many items were done before.
        count: how many there are.

    Yields:
        What to call with the number of items done since the last call.
    """
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        yield lambda _: None
        return

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> str:
            return f"{task.speed:,.0f}/s" if task.speed else ""

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=count, completed=begun)
        yield lambda size: bar.update(task, advance=size)
