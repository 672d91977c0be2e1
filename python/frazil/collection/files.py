"""The file operations that a collection's durability rests on, each in one place (so that tests can make any fail)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["close", "open_to_write", "read_at", "remove", "size_of", "sync", "sync_folder", "truncate", "write_at"]

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def open_to_write(path: Path) -> int:
    """Open a file for reading and writing, made if there is none; return its descriptor."""
    return os.open(path, _FLAGS, 0o666)


def write_at(file: int, data: NDArray[np.uint8], offset: int) -> None:
    """Write all bytes of a C-contiguous array, at `offset`.

    Raises:
        OSError: not all could be written, for example as the disk is full.
    """
    view = data.reshape(-1).data
    os.lseek(file, offset, os.SEEK_SET)
    while view:
        view = view[os.write(file, view) :]


def read_at(file: int, size: int, offset: int) -> bytes:
    """Read `size` bytes at `offset`; fewer, where the file ends."""
    os.lseek(file, offset, os.SEEK_SET)
    parts = []
    while size > 0 and (part := os.read(file, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def sync(file: int) -> None:
    """Return when what was written is on the disk."""
    try:
        import fcntl

        fcntl.fcntl(file, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined,unused-ignore]  # macOS: fsync is not enough
    except (ImportError, AttributeError, OSError):  # OSError: a file system that does not know it
        os.fsync(file)


def sync_folder(folder: Path) -> None:
    """Return when the names of the files in a folder are on the disk."""
    if os.name == "nt":  # where folders cannot be opened, and need not be
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def truncate(file: int, size: int) -> None:
    """Cut a file; on Windows one that is mapped stays as it is."""
    try:
        os.ftruncate(file, size)
    except OSError:
        if os.name != "nt":
            raise


def size_of(file: int) -> int:
    """Return the bytes of a file."""
    return os.fstat(file).st_size


def close(file: int) -> None:
    """Close a descriptor."""
    os.close(file)


def remove(path: Path) -> None:
    """Remove a file; on Windows one that is mapped stays, until the next attempt."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        path.unlink()
