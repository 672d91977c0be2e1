"""One writer: a lock that the operating system lets go when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import weakref
from pathlib import Path

from frazil.collection import files
from frazil.collection.errors import CollectionError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

__all__ = ["WriterLock"]

_TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}  # the last two are Windows'
_LOCKED_BYTE = 1 << 30  # Windows: locked bytes cannot be read by others, so that the one locked is far behind the text


class WriterLock:
    """Held from when it is made until `release`, or the end of the process; a forked child does not inherit it.

    Args:
        path: the lock's file; its text says who holds it.

    Raises:
        CollectionError: somebody holds it, the message says who; or it cannot be opened or locked, and why.
    """

    def __init__(self, path: Path) -> None:
        try:
            file = files.open_to_write(path)
        except OSError as error:
            raise CollectionError(f"{path.parent}: cannot be written to: {path.name}: {error.strerror}") from error
        try:
            _lock(file)
        except OSError as error:
            who = os.read(file, 200).decode(errors="replace").strip() or "another process"
            os.close(file)
            if error.errno not in _TAKEN:
                raise CollectionError(f"{path}: cannot be locked, as one who writes must: {error.strerror}") from error
            raise CollectionError(f"{path.parent}: {who} is writing to this collection; one at a time can") from None
        self._file: int | None = file
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the text
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {platform.node() or 'this machine'}".encode())
        _held.add(self)

    def release(self) -> None:
        """Let go of the lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        if hasattr(self, "_file"):  # else it was never held
            self.release()


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _lock(file: int) -> None:
    if os.name == "nt":
        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        os.lseek(file, 0, os.SEEK_SET)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _forget_in_child() -> None:
    """Close the child's copies of descriptors: with them the lock would outlive the process that took it."""
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
