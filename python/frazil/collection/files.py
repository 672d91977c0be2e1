"""The file operations that a collection's durability rests on, each in one place (so that tests can make any fail)."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frazil.collection.errors import CollectionError

__all__ = [
    "close",
    "open_to_read",
    "open_to_write",
    "read_at",
    "remove",
    "size_of",
    "status",
    "sync",
    "sync_folder",
    "truncate",
    "write_at",
]

# A folder may be a stranger's: its files are not to lead elsewhere, nor to make who opens them wait, as pipes do.
_FLAGS = sum({getattr(os, name, 0) for name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK")})
_KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def status(path: Path) -> os.stat_result:
    """Return what the system knows of a file.

    Raises:
        FileNotFoundError: there is none.
        CollectionError: it is a link, a folder, a pipe or a device.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a device")
        raise CollectionError(f"{path}: expected a regular file, got {kind}")
    return found


def open_to_read(path: Path) -> int:
    """Open a regular file for reading; return its descriptor. Raises as `status` does, or OSError."""
    status(path)
    return os.open(path, os.O_RDONLY | _FLAGS)


def open_to_write(path: Path) -> int:
    """Open a regular file for reading and writing, made if there is none; return its descriptor.

    Raises:
        CollectionError: what is there is no regular file.
        OSError: it cannot be opened.
    """
    with contextlib.suppress(FileNotFoundError):
        status(path)
    return os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)


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
    """Remove a file; on Windows one that is mapped stays, until the next attempt; so does a folder of its name."""
    with contextlib.suppress(FileNotFoundError, PermissionError, IsADirectoryError):
        path.unlink()
