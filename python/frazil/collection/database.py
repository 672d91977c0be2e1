"""A connection to a SQLite database: closed over a fork, opened again; read without locks where all is read-only."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from frazil.collection import files
from frazil.collection.errors import CollectionError

__all__ = ["BESIDE", "Database", "refuse_copies", "sql_errors", "uri_of"]

BESIDE = ("-wal", "-shm", "-journal")
"""how the names of the files end that SQLite keeps beside its own"""
_LONG_PATH = 480  # SQLite takes 512 bytes, with what it appends

# SQLite's table of the locks that its process holds is copied by a fork, and wrong in the child: with connections open
# the child would rely on locks that are its parent's, and another process' checkpoint would lose what it commits. So
# all connections are closed before a fork, and opened again when they are next used, in the parent as in the child.
# One in whose transaction a thread is cannot be: the child then keeps its copy, unused and unclosed, and is refused.
_gate = threading.RLock()  # held during a fork: no connection comes into use, or is closed, meanwhile
_all: weakref.WeakSet[Database] = weakref.WeakSet()
_copied: list[Database] = []


def _before_fork() -> None:
    _gate.acquire()
    for database in list(_all):
        if database.is_busy:
            _copied.append(database)
        else:
            database._leave()


def _after_in_parent() -> None:
    _copied[:] = [one for one in _copied if one._pid != os.getpid()]  # its own are no copies; its parent's remain so
    _gate.release()


def _after_in_child() -> None:
    global _gate  # noqa: PLW0603
    _gate = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def refuse_copies(path: Path) -> None:
    """Raise CollectionError in a child that was forked while a connection was in use."""
    if any(one._pid != os.getpid() for one in _copied):
        raise CollectionError(
            f"{path}: this process was forked while a collection was in use, so that SQLite's locks do not hold in it; "
            "fork between searches, writes and iterations, or start processes by spawn or forkserver"
        )


@contextlib.contextmanager
def sql_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors within the block into `CollectionError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise CollectionError(f"{path}: {error}") from error
    except (OverflowError, UnicodeError) as error:  # what SQLite cannot hold
        raise ValueError(f"{path}: {error}") from error


def uri_of(path: PurePath, options: str) -> str:
    """Return the URI by which SQLite opens an absolute path; `PurePath.as_uri` makes a host of a Windows share."""
    text = path.as_posix()
    return f"file://{'' if text.startswith('/') else '/'}{quote(os.fsencode(text), safe='/:')}?{options}"


class Database:
    """One connection. What is done with it is done between `begin` and `end`.

    Where neither the database nor its folder can be written to, SQLite cannot make the file that its locks are in, and
    opens the database only if told that it is immutable. That is sound only while nobody else writes: what is read then
    counts if, from before the opening until `end`, there was no write-ahead log, which any writer makes first and
    removes last, and the file's size and times stayed the same. Where they changed, `end` raises CollectionError, and
    the next `begin` opens the database anew.

    Args:
        path: the database.
        create: make it if there is none.

    Attributes:
        path: the database.
        is_busy: whether it is being opened, or between `begin` and `end`.

    Raises:
        CollectionError: it cannot be opened, or is not a regular file.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self._create = create
        self._pid = os.getpid()
        self._sql: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._frozen: tuple[int, ...] | None = None
        with _gate:
            self.is_busy = True
            _all.add(self)
        try:
            self._open()
        finally:
            self.is_busy = False

    def _prepare(self) -> None:
        """Do what is to be done after each opening."""

    def _open(self) -> None:
        refuse_copies(self.path)
        self._pid = os.getpid()
        for end in ("", *BESIDE):
            with contextlib.suppress(FileNotFoundError):
                found = files.status(self.path.with_name(self.path.name + end))
                if not end and (found.st_dev, found.st_ino) != (self._identity or (found.st_dev, found.st_ino)):
                    raise CollectionError(f"{self.path}: another collection has taken its place since it was opened")
        try:
            with sql_errors(self.path):
                try:
                    self._connect("mode=rwc" if self._create else "mode=rw")
                except sqlite3.OperationalError as error:
                    length = len(os.fsencode(self.path))
                    if length > _LONG_PATH:
                        raise CollectionError(f"{self.path}: {error}: {length} bytes are too long a path") from error
                    if self._create or os.access(self.path.parent, os.W_OK) or not self.path.exists():
                        raise
                    self._connect_frozen()
                self._prepare()
            found = files.status(self.path)
            self._identity = found.st_dev, found.st_ino
        except BaseException:
            self._leave()
            raise

    def _connect(self, options: str) -> None:
        self._leave()
        self._sql = sqlite3.connect(
            uri_of(self.path.absolute(), options), uri=True, timeout=30, isolation_level=None, check_same_thread=False
        )
        self._run("PRAGMA synchronous = FULL")
        self._run("PRAGMA fullfsync = ON")
        self._run("SELECT 1 FROM sqlite_master LIMIT 1")  # the file is opened by the first look into it

    def _connect_frozen(self) -> None:
        frozen = self._fingerprint()
        if frozen[-1]:
            raise CollectionError(
                f"{self.path}-wal: holds commits that cannot be read without writing to the folder; open the "
                "collection once where it can be written to, and close it"
            )
        self._connect("mode=ro&immutable=1")
        self._frozen = frozen

    def _fingerprint(self) -> tuple[int, ...]:
        """Return what changes when the database is written to; last, the bytes of the write-ahead log."""
        found, log = files.status(self.path), 0
        with contextlib.suppress(FileNotFoundError):
            log = files.status(self.path.with_name(f"{self.path.name}-wal")).st_size
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, log

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._sql is None:
            raise CollectionError(f"{self.path}: was closed")
        return self._sql

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    def _broken(self, what: str) -> CollectionError:
        return CollectionError(f"{self.path}: is damaged: {what}")

    def begin(self, *, write: bool = False) -> None:
        """Begin a transaction; a reading one sees the same snapshot until `end`."""
        with _gate:
            self.is_busy = True
        try:
            if self._sql is None or (self._frozen is not None and self._fingerprint() != self._frozen):
                self._open()
            self._connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        except BaseException:
            self.is_busy = False
            raise

    def commit(self) -> None:
        """Make the transaction's changes last: this is the moment at which a write has happened."""
        self._connection.execute("COMMIT")

    def end(self) -> None:
        """End the transaction; what is not committed is undone."""
        try:
            if self._sql is not None and self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
                if self._frozen is not None and self._fingerprint() != self._frozen:
                    raise CollectionError(
                        f"{self.path}: was changed while it was read, in a folder that cannot be written to, where "
                        "SQLite has no locks; try again"
                    )
        finally:
            self.is_busy = False

    def close(self) -> None:
        """Close the connection; what is not committed is undone. In a forked child do nothing with its copy."""
        with _gate:
            if self._pid == os.getpid():
                self._leave()
            self.is_busy = False

    def _leave(self) -> None:
        """Close the connection, until it is opened again."""
        if self._sql is not None:
            with contextlib.suppress(sqlite3.Error):
                self._sql.close()
        self._sql = self._frozen = None

    def __del__(self) -> None:
        if hasattr(self, "is_busy"):
            self.close()
