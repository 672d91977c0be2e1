"""The one writer of a collection: rows first, onto the disk, then one transaction of the catalog."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil.codec import Codec
from frazil.collection import codefiles, files
from frazil.collection.arguments import shown
from frazil.collection.catalog import NAME, Catalog, Properties, State, create_schema, is_there
from frazil.collection.codefiles import BLOCK_ROWS, SKETCH_BLOCK, Appender, codes_path, sketch_path
from frazil.collection.database import BESIDE, refuse_copies, sql_errors
from frazil.collection.errors import CollectionError
from frazil.collection.filters import field_path
from frazil.collection.lock import WriterLock
from frazil.sketch import Sketch

__all__ = ["Writer", "create", "remove_unused"]

_AT_ONCE = 4 * BLOCK_ROWS  # rows packed, written and entered at a time: memory stays flat whatever a call is given

_FIRST_FILES = (NAME, *(NAME + end for end in BESIDE), "codes-1.bin", "rerank-1.bin", "writer.lock")
"""what a new collection has"""


def create(folder: Path, properties: Properties) -> None:
    """Make a new collection in a folder that is not there, or empty but for what a crash while it was made left.

    Raises:
        CollectionError: there is something in it; or another process makes it now.
    """
    refuse_copies(folder)
    _refuse_another(folder)
    if folder.exists() and not folder.is_dir():
        raise CollectionError(f"{folder}: expected a folder, got a file")
    folder.mkdir(parents=True, exist_ok=True)
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in _FIRST_FILES)
    if foreign:
        raise CollectionError(f"{folder}: is no collection, and not empty: it holds {shown(foreign)}")
    lock = WriterLock(folder / "writer.lock")
    try:
        _refuse_another(folder)  # that was made meanwhile
        catalog = Catalog(folder / NAME, create=True)
        try:
            for kind, _ in kinds(properties):
                path = codes_path(folder, kind, 1)
                if path.exists() and path.stat().st_size:
                    raise CollectionError(f"{path}: holds codes, but there is no catalog of them")
                file = files.open_to_write(path)
                files.sync(file)
                files.close(file)
            files.sync_folder(folder)
            files.sync_folder(folder.absolute().parent)
            with sql_errors(catalog.path):
                create_schema(catalog, properties)
        finally:
            catalog.close()
    finally:
        lock.release()


def _refuse_another(folder: Path) -> None:
    if is_there(folder):
        raise CollectionError(f"{folder}: there is a collection already; open it")


def remove_unused(folder: Path) -> None:
    """Remove a collection's files if nothing has been committed since it was made, and nobody writes to it."""
    with contextlib.suppress(CollectionError, OSError):
        lock = WriterLock(folder / "writer.lock")
        try:
            catalog = Catalog(folder / NAME)
            try:
                catalog.begin()
                is_used = catalog.state().version > 0
            finally:
                catalog.close()
            if not is_used:
                for name in _FIRST_FILES:  # the catalog first: without one the others are what a crash may leave
                    files.remove(folder / name)
        finally:
            lock.release()
        if os.name == "nt" and not is_used:  # where the lock could not be removed while it was held
            files.remove(folder / "writer.lock")


def kinds(properties: Properties) -> list[tuple[str, Codec]]:
    """Return the kinds of code files and their codecs."""
    both = [("codes", properties.codec), ("rerank", properties.rerank)]
    return [(kind, codec) for kind, codec in both if codec is not None]


class Writer:
    """Holds the writer's lock and its connection. Not for several threads at once.

    Raises:
        CollectionError: another writer has the collection.
    """

    def __init__(self, folder: Path, properties: Properties) -> None:
        self._folder = folder
        self._kinds = kinds(properties)
        self._codec = properties.codec
        self._lock = WriterLock(folder / "writer.lock")
        try:
            self._catalog = Catalog(folder / NAME)
            with self._transaction() as state, contextlib.ExitStack() as stack:
                for kind, codec in self._kinds:
                    self._appender(kind, codec, state, stack).cut()
            self._tidy(state)
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Let others write."""
        self._catalog.close()
        self._lock.release()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[State]:
        """Run the block in a writing transaction, which is undone unless the block commits it."""
        try:
            with sql_errors(self._catalog.path):
                self._catalog.begin(write=True)
                yield self._catalog.state()
        except OSError as error:
            raise CollectionError(f"{self._folder}: {error}; nothing of this call was kept") from error
        finally:
            with contextlib.suppress(sqlite3.Error):  # after a failure SQLite may have ended it itself
                self._catalog.end()

    def _commit(self, state: State) -> None:
        self._catalog.set_state(state._replace(version=state.version + 1))
        self._catalog.commit()

    def _appender(self, kind: str, codec: Codec, state: State, stack: contextlib.ExitStack) -> Appender:
        """Open a file of the generation behind its last row; the stack closes it."""
        last = self._catalog.last_block(kind, state.rows)
        path = codes_path(self._folder, kind, state.generation)
        appender = Appender(path, codec.row_bytes, state.rows, last)
        stack.callback(appender.close)
        return appender

    def add(
        self,
        ids: Sequence[Any],
        rows: Any,
        documents: Sequence[Any] | None,
        metadatas: Sequence[Any] | None,
        notes: Sequence[tuple[str, str]],
        *,
        replace: bool,
    ) -> None:
        """Add items, all or none.

        Args:
            ids: checked, no two alike.
            rows: called with (kind, codec, first, stop) for a part's codes, uint8 (stop - first, row_bytes).
            documents: as the catalog holds them; None: nulls.
            metadatas: likewise.
            notes: to be written with them.
            replace: items that are there already are replaced; else they are an error.

        Raises:
            ValueError: an id is there already.
            CollectionError: it could not be written.
        """
        with self._transaction() as state, contextlib.ExitStack() as stack:
            appenders = {kind: self._appender(kind, codec, state, stack) for kind, codec in self._kinds}
            dead = state.dead
            for first in range(0, len(ids), _AT_ONCE):
                part = slice(first, min(len(ids), first + _AT_ONCE))
                for kind, codec in self._kinds:
                    codes = rows(kind, codec, part.start, part.stop)
                    if codes.shape != (part.stop - part.start, codec.row_bytes):
                        raise ValueError(f"{kind}: expected {part.stop - part.start:,} rows, got shape {codes.shape}")
                    appenders[kind].append(codes)
                if replace:
                    old = [row for row, _ in self._catalog.rows_of_ids(ids[part])]
                    self._catalog.delete_rows(old, dead)
                    dead += len(old)
                try:
                    columns = {"document": documents, "metadata": metadatas}
                    values = {name: some if some is None else some[part] for name, some in columns.items()}
                    self._catalog.insert(state.rows + first, ids[part], **values)
                except sqlite3.IntegrityError:
                    self._catalog.end()
                    self._catalog.begin()
                    present = {name for _, name in self._catalog.rows_of_ids(ids)}
                    known = [name for name in ids if name in present]
                    raise ValueError(f"ids: {shown(known)}: in the collection already; upsert replaces") from None
                self._catalog.enter_rows(state.rows + part.start, state.rows + part.stop)
            if ids:
                for kind, appender in appenders.items():
                    self._catalog.set_blocks(kind, appender.sync())
            self._catalog.set_notes(notes)
            self._commit(state._replace(rows=state.rows + len(ids), dead=dead))

    def delete(self, ids: Sequence[Any]) -> int:
        """Delete items; return how many were there."""
        with self._transaction() as state:
            rows = [row for row, _ in self._catalog.rows_of_ids(ids)]
            if rows:
                self._catalog.delete_rows(sorted(rows), state.dead)
                self._commit(state._replace(dead=state.dead + len(rows)))
        return len(rows)

    def compact(self) -> int:
        """Copy the living rows into files of a new generation, switch to them, remove the old; return the rows saved.

        Raises:
            CollectionError: a block is damaged, and would be given a new checksum.
        """
        with self._transaction() as state, contextlib.ExitStack() as stack:
            if state.dead == 0:
                return 0
            dead = self._catalog.dead_rows(0, state)
            alive = np.ones(state.rows, np.bool_)
            alive[dead] = False
            new = state._replace(generation=state.generation + 1, rows=state.rows - state.dead, dead=0, sketch_rows=0)
            for kind, codec in self._kinds:
                appender = self._appender(kind, codec, new._replace(rows=0), stack)
                self._copy(kind, codec, state, alive, appender)
                appender.cut()  # debris of a compaction that crashed
                blocks = appender.sync()
                self._catalog.forget_blocks(kind)
                self._catalog.set_blocks(kind, blocks)
            files.sync_folder(self._folder)
            self._catalog.forget_blocks("sketch")
            self._catalog.renumber(int(dead[0]), new.rows)
            self._commit(new)
        self._tidy(new)
        return state.dead

    def _copy(self, kind: str, codec: Codec, state: State, alive: NDArray[np.bool_], appender: Appender) -> None:
        path = codes_path(self._folder, kind, state.generation)
        blocks = self._catalog.blocks(kind)
        if sum(block.size for block in blocks) != state.rows * codec.row_bytes:
            raise CollectionError(f"{path}: the checksums in the catalog are not those of {state.rows:,} rows")
        for block, data, is_whole in codefiles.read_blocks(path, blocks, BLOCK_ROWS * codec.row_bytes):
            if not is_whole:
                raise CollectionError(f"{path}: block {block.number} is damaged, see verify; nothing was changed")
            rows = np.frombuffer(data, np.uint8).reshape(-1, codec.row_bytes)
            first = block.number * BLOCK_ROWS
            appender.append(rows[alive[first : first + len(rows)]])

    def build_sketch(self, threads: int | None) -> None:
        """Build the sketch of all rows."""
        with self._transaction() as state:
            path = sketch_path(self._folder, state.generation, state.rows)
            if state.sketch_rows == state.rows and self._is_sound(path):
                return
            files.remove(path)  # a damaged one, which readers may have mapped
            rows_path = codes_path(self._folder, "codes", state.generation)
            codes = codefiles.map_rows(rows_path, state.rows, self._codec.row_bytes)
            size = Sketch.size(self._codec, state.rows)
            file = files.open_to_write(path)
            try:
                zeros = np.zeros(SKETCH_BLOCK, np.uint8)
                for start in range(0, size, SKETCH_BLOCK):  # or a full disk would end the process, not the call
                    files.write_at(file, zeros[: size - start], start)
                files.truncate(file, size)
                data = np.memmap(path, np.uint8, "r+", shape=(size,))
                Sketch.build(self._codec, codes, out=data, threads=threads)
                data.flush()
                blocks = codefiles.block_checksums(data, SKETCH_BLOCK)
                del data
                files.sync(file)
            finally:
                files.close(file)
            files.sync_folder(self._folder)
            self._catalog.forget_blocks("sketch")
            self._catalog.set_blocks("sketch", blocks)
            new = state._replace(sketch_rows=state.rows)
            self._commit(new)
        self._tidy(new)

    def _is_sound(self, path: Path) -> bool:
        """Tell whether the sketch's file is there and as its checksums say."""
        try:
            blocks = codefiles.read_blocks(path, self._catalog.blocks("sketch"), SKETCH_BLOCK)
            return all(is_whole for _, _, is_whole in blocks)
        except FileNotFoundError:
            return False

    def create_index(self, field: str) -> None:
        """Make filters by a field fast."""
        path = field_path(field)
        if path is None:
            raise ValueError(f"field: expected no quotes, backslashes or control characters, got {field!r}")
        with self._transaction() as state:
            if field not in self._catalog.fields():
                self._catalog.add_index(field, path, state.rows)
                self._commit(state)

    def _tidy(self, state: State) -> None:
        """Remove files that no commit speaks of; nobody else writes any."""
        keep = {codes_path(self._folder, kind, state.generation).name for kind, _ in self._kinds}
        if state.sketch_rows:
            keep.add(sketch_path(self._folder, state.generation, state.sketch_rows).name)
        codefiles.tidy(self._folder, keep)
