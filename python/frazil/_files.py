"""Files written all or nothing, arrays mapped; where files are kept that can be made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cache_folder", "check_place", "load_array", "new_array", "whole_file"]


def check_place(path: Path, *endings: str) -> None:
    """See, before the work of minutes, that what comes of it can be written to a file of this name.

    Raises:
        ValueError: its folder is not there, or the name ends in none of `endings`, if any are given.
    """
    if not path.absolute().parent.is_dir():
        raise ValueError(f"there is no folder {str(path.absolute().parent)!r} to write {path.name} into")
    if endings and path.suffix not in endings:
        raise ValueError(f"expected a file name that ends in {' or '.join(endings)}, got {path.name!r}")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name beside a file's to write to; it takes the file's place when the block has ended well.

    So neither an error nor a killed process leaves half a file under that name. A link stays one: what it
    leads to is replaced.

    Raises:
        OSError: the folder is not there, or cannot be written to; or what is there is no file, but a folder or a
            device.
    """
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {str(place.parent)!r}")
    if place.exists() and not place.is_file():
        raise OSError(f"{path}: expected the name of a file, got that of a folder or a device")
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # else a machine that loses power may keep the name, and not what is in it
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Write a .npy file of a known shape; give what appends rows to it.

    Unlike a memory map, whose pages are written when the process has no way to be told of it but a fatal signal, this
    raises where a disk is full.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("wb") as file:
        descr = np.lib.format.dtype_to_descr(dtype)
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})

        def append(rows: NDArray[Any]) -> None:
            file.write(np.ascontiguousarray(rows, dtype).tobytes())

        yield append


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
        with path.open("rb") as file:
            is_npy = file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX
        # Of anything else NumPy says how to run it as a pickle
        wrong = f"holds objects, is damaged or cut short: {error}" if is_npy else "is no .npy file"
        raise ValueError(f"{path}: {wrong}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: expected one array, got an archive of some")
    return array
