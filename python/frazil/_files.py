"""Files written all or nothing; where files are kept that can be made again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cache_folder", "whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name beside a file's to write to; it takes the file's place when the block has ended well.

    So neither an error nor a killed process leaves half a file under that name.

    Raises:
        OSError: the folder is not there, or cannot be written to.
    """
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {str(path.absolute().parent)!r}")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def cache_folder(name: str) -> Path:
    """Return a folder of frazil's in the user's cache; nothing is made.

    Raises:
        ImportError: platformdirs is not installed.
    """
    import platformdirs

    return platformdirs.user_cache_path("frazil", appauthor=False) / name
