"""Readers: a snapshot of the catalog, and the files that belong to it, mapped."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil.collection import codefiles, rowsets
from frazil.collection.catalog import NAME, Catalog, Properties, State
from frazil.collection.codefiles import codes_path, sketch_path
from frazil.collection.database import refuse_copies, sql_errors
from frazil.collection.errors import CollectionError
from frazil.collection.filters import compile_filter
from frazil.collection.rowsets import Rows
from frazil.collection.selecting import Selector
from frazil.sketch import Sketch

__all__ = ["Reader", "View"]

_FILTERS_KEPT = 16


@dataclass(frozen=True)
class View:
    """What a commit left, ready to be searched; it never changes, so that threads may share it."""

    state: State
    codes: NDArray[np.uint8]
    """uint8 (rows, row_bytes), mapped"""
    rerank: NDArray[np.uint8] | None
    alive: NDArray[np.bool_] | None
    """bool (rows,); None: all are"""
    sketch: Sketch | None
    fields: dict[str, int]


class Reader:
    """Gives each thread a connection, and each transaction the view that belongs to it.

    Args:
        folder: the collection's.

    Raises:
        CollectionError: it is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._identity = self._catalog_file()
        self._reset()
        with self._connected() as catalog:
            self.properties: Properties = catalog.properties()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._view: View | None = None
        self._filters: OrderedDict[str, tuple[State, Rows]] = OrderedDict()

    def _catalog(self) -> Catalog:
        """Return a connection of this thread that is not in use: a signal's handler may interrupt one that is."""
        if self._pid != os.getpid():  # forked
            self._reset()
        catalog: Catalog | None = getattr(self._local, "catalog", None)
        if catalog is None or catalog.is_busy:
            catalog = self.connect()
            self._local.catalog = catalog
        return catalog

    def _catalog_file(self) -> tuple[int, int]:
        """Return what tells the catalog's file from any other."""
        try:
            found = (self._folder / NAME).stat()
        except OSError as error:
            raise CollectionError(f"{self._folder}: holds no collection: {error}") from None
        return found.st_dev, found.st_ino

    def check_identity(self) -> None:
        """Raise CollectionError if another collection has taken the folder's place, or in a child forked beside it."""
        refuse_copies(self._folder / NAME)
        if self._catalog_file() != self._identity:
            raise CollectionError(f"{self._folder}: another collection has taken its place since it was opened")

    def connect(self) -> Catalog:
        """Return a connection of its own, for who keeps a snapshot for long."""
        self.check_identity()
        catalog = Catalog(self._folder / NAME)
        if catalog.is_new:
            catalog.close()
            raise CollectionError(f"{self._folder}: holds no collection: its catalog is empty")
        return catalog

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Catalog]:
        catalog = self._catalog()
        with sql_errors(catalog.path):
            catalog.begin()
            try:
                yield catalog
            finally:
                catalog.end()

    def close(self) -> None:
        """Close this thread's connection; others close theirs as they end."""
        catalog = getattr(self._local, "catalog", None)
        if catalog is not None:
            catalog.close()
        self._local = threading.local()
        self._view = None
        self._filters.clear()

    @contextlib.contextmanager
    def snapshot(self, catalog: Catalog | None = None) -> Iterator[tuple[Catalog, View]]:
        """Run the block in one reading transaction, with the view that belongs to it.

        Args:
            catalog: a connection of the caller's own; None: this thread's.
        """
        catalog = catalog or self._catalog()
        with sql_errors(catalog.path):
            try:
                view = self._begin(catalog)
                yield catalog, view
            finally:
                catalog.end()

    def _begin(self, catalog: Catalog) -> View:
        gone = -1
        while True:
            catalog.begin()
            state = catalog.state()
            try:
                return self._view_of(catalog, state)
            except FileNotFoundError as error:
                # Compacted since the snapshot was taken: the next one knows the new files.
                if state.generation <= gone:
                    raise CollectionError(f"{error.filename}: is missing") from None
                gone = state.generation
                catalog.end()

    def _view_of(self, catalog: Catalog, state: State) -> View:
        old = self._view
        if old is not None and old.state == state:
            self._check_files(old)
            return old
        if old is not None and old.state.generation == state.generation and old.state.version <= state.version:
            view = self._make_view(catalog, state, old)
        else:
            view = self._make_view(catalog, state, None)
        with self._lock:
            if self._view is None or self._view.state.version <= state.version:
                self._view = view
        return view

    def _make_view(self, catalog: Catalog, state: State, old: View | None) -> View:
        codec, rerank = self.properties.codec, self.properties.rerank
        same_rows = old is not None and old.state.rows == state.rows
        if old is not None and same_rows:
            codes, reranked = old.codes, old.rerank
            self._check_files(old)
        else:
            path = codes_path(self._folder, "codes", state.generation)
            codes = codefiles.map_rows(path, state.rows, codec.row_bytes)
            reranked = None
            if rerank is not None:
                path = codes_path(self._folder, "rerank", state.generation)
                reranked = codefiles.map_rows(path, state.rows, rerank.row_bytes)
        if old is not None and old.state.sketch_rows == state.sketch_rows:
            sketch = old.sketch
        else:
            sketch = self._map_sketch(state)
        return View(state, codes, reranked, _alive(catalog, state, old), sketch, catalog.fields())

    def _check_files(self, view: View) -> None:
        """See that the mapped files have not been cut: reading behind their end would end the process."""
        codec, rerank, state = self.properties.codec, self.properties.rerank, view.state
        with contextlib.suppress(FileNotFoundError):  # compacted: what is mapped is still there
            codefiles.check_size(codes_path(self._folder, "codes", state.generation), state.rows * codec.row_bytes)
            if rerank is not None:
                path = codes_path(self._folder, "rerank", state.generation)
                codefiles.check_size(path, state.rows * rerank.row_bytes)
            if state.sketch_rows:
                path = sketch_path(self._folder, state.generation, state.sketch_rows)
                codefiles.check_size(path, Sketch.size(codec, state.sketch_rows))

    def _map_sketch(self, state: State) -> Sketch | None:
        if not state.sketch_rows:
            return None
        codec = self.properties.codec
        path = sketch_path(self._folder, state.generation, state.sketch_rows)
        try:
            data = codefiles.map_rows(path, 1, Sketch.size(codec, state.sketch_rows))[0]
        except FileNotFoundError:  # it is derived: without it rows are scanned in full
            return None
        try:
            sketch = Sketch(data)
        except ValueError as error:
            raise CollectionError(f"{path}: {error}") from None
        if (sketch.rows, sketch.dim, sketch.bits) != (state.sketch_rows, codec.dim, codec.bits):
            raise CollectionError(f"{path}: is the sketch of other codes: {sketch!r}")
        return sketch

    def allowed_where(self, catalog: Catalog, view: View, where: Any) -> Rows:
        """Return the set of the living rows that a filter lets through.

        It is kept: rows do not change, so that after a commit only new ones are asked for, and dead ones dropped.
        """
        key, now = repr(compile_filter(where, view.fields)), view.state
        with self._lock:
            state, allowed = self._filters.get(key, (now, None))
        if allowed is not None and state == now:
            return allowed
        if allowed is None or state.generation != now.generation or state.version > now.version:
            allowed = Selector(catalog, view.fields, 0, now.rows).select(where)
        elif state.rows < now.rows:
            new = Selector(catalog, view.fields, state.rows, now.rows).select(where)
            allowed = rowsets.join(allowed, state.rows, new, now.rows - state.rows)
        if view.alive is not None:
            allowed = rowsets.both(allowed, view.alive)
        allowed = rowsets.smallest(allowed, now.rows)
        allowed.setflags(write=False)
        with self._lock:
            self._filters[key] = now, allowed
            self._filters.move_to_end(key)
            while len(self._filters) > _FILTERS_KEPT:
                self._filters.popitem(last=False)
        return allowed


def _alive(catalog: Catalog, state: State, old: View | None) -> NDArray[np.bool_] | None:
    """Return which rows live; what an older view of the generation knows is not asked again."""
    if not state.dead:
        return None
    alive = np.ones(state.rows, np.bool_)
    known = 0
    if old is not None and old.alive is not None:
        alive[: old.state.rows] = old.alive
        known = old.state.dead
    if known < state.dead:
        alive[catalog.dead_rows(known, state)] = False
    return alive
