"""Files written all or nothing, arrays mapped; where files are kept that can be made again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cache_folder", "load_array", "whole_file"]


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


def load_array(path: Path) -> NDArray[Any]:
    """Map a .npy file.

    Raises:
        ValueError: it is none, cut short, or holds objects.
        OSError: it cannot be read.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:  # SyntaxError: of NumPy before 1.24, a header that is none
        raise ValueError(f"{path}: no .npy file, or cut short: {error}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: expected one array, got an archive of some")
    return array
