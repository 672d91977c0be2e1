"""Files under the user's cache folder, written all or nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import platformdirs

__all__ = ["cache_folder", "write_whole"]


def cache_folder() -> Path:
    """Return the demo's folder in the user's cache."""
    return platformdirs.user_cache_path("frazil", appauthor=False) / "demo"


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file through another that takes its name at the end, so that a killed run leaves no half of it.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            write(file.file)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise
