"""`Collection`: vectors kept in a folder, changed, filtered and searched."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from frazil._arrays import as_count
from frazil.codec import Codec
from frazil.collection import checks, exchange, writer
from frazil.collection.arguments import OWN_NOTES, as_ids, as_metadatas, as_notes, as_texts, shown
from frazil.collection.catalog import Properties, is_there
from frazil.collection.checks import Report
from frazil.collection.errors import CollectionError
from frazil.collection.reader import Reader
from frazil.collection.records import Records, to_records
from frazil.collection.searching import Hits, Request, search
from frazil.collection.vectors import Given, check_width, known_width, width_note
from frazil.collection.writer import Writer
from frazil.metric import Metric

__all__ = ["Collection"]


class Collection:
    """Vectors, packed, in a folder: durable, memory-mapped, searched by many processes while one of them writes.

    >>> collection = frazil.Collection.open("store/", codec=frazil.ARCTIC_INT4)   # made if it is not there
    >>> collection.add(["a", "b"], embeddings, documents=["…", "…"], metadatas=[{"year": 2020}, {"year": 2024}])
    >>> hits = collection.search(query, k=10, where={"year": {"$gte": 2021}})
    >>> hits.ids, hits.scores, hits.documents, hits.metadatas

    Each item has an id, a string or an integer of 64 bits, and a vector; and, if it is given any, a document (a text)
    and metadata (a dict of JSON's types). A call that writes has happened, whole and on the disk, when it returns; or
    it has not happened at all, whatever crashes when. The first such call makes this object the collection's one writer
    until it is closed or its process ends. Every search sees what was committed when it began. A folder that cannot be
    written to can be searched. Objects may be shared by threads, and with children that are forked while no search,
    write or iteration is under way. In other children every use of a collection is a `CollectionError`, since SQLite's
    locks do not hold there. docs/format.md §8 says which bytes lie where.

    Made by `open` and `create`, not by calling the class.

    Attributes:
        path: the folder.
        codec: how vectors are packed.
        rerank_codec: how they are packed a second time, for re-ranking; None: they are not.
        refine: whether, or by which `Metric`, the codes of the first codec are refined.
        model, revision: what made the embeddings, as said at the creation.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = Reader(path)
        properties = self._reader.properties
        self.codec, self.rerank_codec, self.refine = properties.codec, properties.rerank, properties.refine
        self.model, self.revision = properties.model, properties.revision
        self._writer: Writer | None = None
        self._is_closed, self._is_writing = False, False
        self._pid, self._lock = os.getpid(), threading.RLock()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        codec: Codec | None = None,
        *,
        rerank: Codec | None = None,
        refine: bool | Metric = False,
        model: str | None = None,
        revision: str | None = None,
    ) -> Collection:
        """Make a new collection.

        Args:
            path: the folder; made if it is not there, else it must be empty.
            codec: how vectors are packed; None: `ARCTIC_INT4`.
            rerank: a second, finer codec, for `search(rerank=…)`; None: no re-ranking.
            refine: how codes of the first codec are chosen, as in `Codec.pack`.
            model: what makes the embeddings; kept, not interpreted.
            revision: which of its revisions; likewise.

        Raises:
            CollectionError: there is something in the folder.
            OSError: it cannot be written to.
            TypeError: an argument is of a wrong type.
            ValueError: a metric of other dimensions than the codec's.
        """
        codec = Codec() if codec is None else codec
        for name, value in (("codec", codec), ("rerank", rerank)):
            if not isinstance(value, Codec) and (name == "codec" or value is not None):
                raise TypeError(f"{name}: expected a frazil.Codec, got {type(value).__name__}")
        if not isinstance(refine, bool | np.bool_ | Metric):
            raise TypeError(f"refine: expected a bool or a frazil.Metric, got {type(refine).__name__}")
        if isinstance(refine, Metric) and refine.dim != codec.dim:
            raise ValueError(f"refine: expected a metric of {codec.dim} dimensions, got {refine!r}")
        as_texts([model, revision], 2, "model, revision")
        folder = Path(path).absolute()  # wherever the process goes
        writer.create(folder, Properties(codec, rerank, refine, model, revision))
        return cls(folder)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        codec: Codec | None = None,
        *,
        rerank: Codec | None = None,
        refine: bool | Metric | None = None,
        model: str | None = None,
        revision: str | None = None,
    ) -> Collection:
        """Open a collection; given a codec, make it if it is not there.

        Args:
            path: the folder.
            codec: how vectors are packed; None: as the collection says, which must be there.
            rerank: as in `create`, as are all that follow; None: as the collection says.
            refine: likewise.
            model: likewise.
            revision: likewise.

        Raises:
            CollectionError: there is none (and no codec to make one with), it is damaged, or of a newer format.
            ValueError: it has another codec, refinement, model or revision.
            TypeError: an argument is of a wrong type.
        """
        folder = Path(path).absolute()
        if not is_there(folder):
            if codec is None:
                raise CollectionError(f"{folder}: holds no collection")
            return cls.create(
                folder, codec, rerank=rerank, refine=False if refine is None else refine, model=model, revision=revision
            )
        found = cls(folder)
        for name, wanted, has in (
            ("codec", codec, found.codec),
            ("rerank", rerank, found.rerank_codec),
            ("refine", refine, found.refine),
            ("model", model, found.model),
            ("revision", revision, found.revision),
        ):
            if wanted is not None and wanted != has:
                found.close()
                raise ValueError(f"{name}: expected {has!r}, which {folder} has, got {wanted!r}")
        return found

    # Writing.

    def add(
        self,
        ids: Any,
        embeddings: Any = None,
        documents: Any = None,
        metadatas: Any = None,
        *,
        codes: Any = None,
        rerank_codes: Any = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Add items: all of them or, after an error, none.

        They are packed, written and entered part by part, so that memory stays flat; a memory map will do.

        Args:
            ids: n strings or integers, none of them in the collection, no two alike. A collection may have both kinds,
                but then `export` cannot put them into one column.
            embeddings: floats (n, d), d >= codec.dim, of the types that `Codec.pack` takes; d must be what it was in
                the first call: the collection remembers it, since vectors of several models do not go together.
            documents: n strings or None; None: no item has one.
            metadatas: n dicts or None; None: no item has one. Keys are strings, values of JSON's types (NumPy's numbers
                become Python's), at most 100 deep, without NUL characters.
            codes: uint8 (n, row_bytes), instead of embeddings.
            rerank_codes: uint8 (n, rerank_codec.row_bytes), with `codes` where the collection re-ranks.
            notes: written with the items, to be found in `notes`, for example how far a file has been read; the
                collection's own begin with "frazil.".

        Raises:
            ValueError: an id is in the collection, or twice in `ids`; lengths or shapes differ; NaN or infinity is
                among the embeddings; or their width is not that of the first.
            TypeError: something is of a wrong type.
            CollectionError: another process writes, or the disk is full or broken; nothing of the call was kept.
        """
        self._add(ids, (embeddings, codes, rerank_codes), documents, metadatas, notes, replace=False)

    def upsert(
        self,
        ids: Any,
        embeddings: Any = None,
        documents: Any = None,
        metadatas: Any = None,
        *,
        codes: Any = None,
        rerank_codes: Any = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Add items as `add` does, replacing those that are there: their vector, document and metadata, all three."""
        self._add(ids, (embeddings, codes, rerank_codes), documents, metadatas, notes, replace=True)

    def _add(
        self,
        ids: Any,
        source: tuple[Any, Any, Any],
        documents: Any = None,
        metadatas: Any = None,
        notes: Mapping[str, str] | None = None,
        *,
        replace: bool,
        width: int | None = None,
    ) -> None:
        """Add or replace items; `width` is that of the embeddings that codes were made of, where it is known."""
        names = as_ids(ids)
        if len(set(names)) < len(names):
            seen: set[str | int] = set()
            twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
            raise ValueError(f"ids: {shown(twice)}: more than once in this call")
        given = Given(self._reader.properties, len(names), *source)
        width = given.width if width is None else width
        texts, metadata = as_texts(documents, len(names)), as_metadatas(metadatas, len(names))
        pairs = as_notes(notes)
        if names or pairs:
            with self._writing() as writing:
                if width is not None:
                    with self._reader.snapshot() as (catalog, _):  # nobody else writes meanwhile
                        check_width("embeddings", width, known_width(catalog))
                    pairs.append(width_note(width))
                writing.add(names, given.rows, texts, metadata, pairs, replace=replace)

    def delete(self, ids: Any) -> int:
        """Delete items; what they were is no longer found, and the space comes back with `compact`.

        Args:
            ids: n strings or integers; those that are not in the collection are passed over.

        Returns:
            How many were deleted.

        Raises:
            TypeError: something among `ids` is neither a string nor an integer.
            CollectionError: as for `add`.
        """
        names = as_ids(ids)
        if not names:
            return 0
        with self._writing() as writing:
            return writing.delete(names)

    def import_(self, path: str | os.PathLike[str], *, upsert: bool = False, model: str | None = None) -> int:
        """Add all items of a file, part by part, each part whole; return how many.

        Args:
            path: .parquet or .arrow with the columns of `export` (document and metadata may be missing), or .npy of
                codes or float embeddings with NAME.ids.npy beside it.
            upsert: replace items that are there already; else they are an error.
            model: what made the embeddings, if the file does not say. A .npy, which never does, is taken to be of the
                collection's model.

        Raises:
            ValueError: the file is of other codecs, of another model, of embeddings of another width, or of another
                form; or as for `add`.
            ImportError: pyarrow is missing.
            OSError: the file cannot be read.
            CollectionError: as for `add`.
        """
        self._check_open()
        as_texts([model], 1, "model")
        add = functools.partial(self._add, replace=upsert)
        return exchange.import_file(self, Path(path), add, model)

    def compact(self) -> int:
        """Write the living rows into new files and switch to them, in one step for readers; return the rows saved.

        Needs room for the new files beside the old ones, which are removed after. A sketch is not carried over.

        Raises:
            CollectionError: as for `add`, or a block is damaged.
        """
        with self._writing() as writing:
            return writing.compact()

    def build_sketch(self, threads: int | None = None) -> None:
        """Build the `Sketch` of all rows, that `search(failure=…)` uses; rows added later are scanned in full.

        Raises:
            CollectionError: as for `add`.
        """
        with self._writing() as writing:
            writing.build_sketch(threads)

    def create_index(self, field: str) -> None:
        """Make filters by one metadata field fast, however many items there are; others work, slower.

        Args:
            field: a key of the metadata, without quotes, backslashes and control characters.

        Raises:
            ValueError: it has some.
            CollectionError: as for `add`.
        """
        if not isinstance(field, str):
            raise TypeError(f"field: expected a string, got {type(field).__name__}")
        as_texts([field], 1, "field")
        with self._writing() as writing:
            writing.create_index(field)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Writer]:
        self._check_open()
        with self._lock:
            self._check_open()  # another thread may have closed it meanwhile
            if self._is_writing:  # the same thread, from a signal's handler or an array's own code
                raise CollectionError(f"{self.path}: a call that writes is under way in this thread already")
            self._is_writing = True
            try:
                self._reader.check_identity()
                if self._writer is None:
                    self._writer = Writer(self.path, self._reader.properties)
                yield self._writer
            finally:
                self._is_writing = False

    # Reading.

    def search(
        self,
        queries: Any,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        ids: Any = None,
        *,
        allow: Any = None,
        query_bits: int = 8,
        failure: float | None = None,
        rerank: int | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Find the k items of the highest score for each query; always k, where as many are allowed.

        Args:
            queries: floats (q, d) or (d,), d >= codec.dim, of the types that `Codec.pack` takes; as wide as the
                embeddings that the collection was given, if it was.
            k: how many items to find, at least 1.
            where: which items may be found, by their metadata: frazil.collection.filters says how. The rows that a
                filter allows are kept until the next commit, so that it is cheap to use again.
            ids: the ids of the items that may be found; those that are not there are passed over.
            allow: the rows that may be found, as `Codec.search` takes them: a bool mask
                (info()["rows"],) or row numbers.
            query_bits: as in `Codec.score`.
            failure: use the sketch, if there is one, as in `Codec.search`; None: an exact search.
            rerank: score this many of the best, at least k, again by `rerank_codec`, and answer the k best of these.
            threads: as in `Codec.pack`.

        Returns:
            Hits(scores, ids, documents, metadatas): scores float32 (q, m), the others a list of m for each query, where
            m is k, or the number of allowed items if that is less; for a single query (d,) all of one axis, (m,).
            By score, descending; equal ones by row, ascending.

        Raises:
            ValueError: wrong shape or value; an unknown operator in `where`.
            TypeError: wrong type.
            CollectionError: the collection is damaged.
        """
        self._check_open()
        names = None if ids is None else as_ids(ids)
        count = as_count(k, "k", 2**62)
        candidates = None if rerank is None else as_count(rerank, "rerank", 2**62)
        options = {"query_bits": query_bits, "threads": threads}
        return search(self._reader, queries, Request(count, where, names, allow, failure, candidates, options))

    def get(self, ids: Any) -> Records:
        """Return the items that have these ids, in the order of `ids`; those that are not there are left out.

        Args:
            ids: n strings or integers.

        Returns:
            Records(ids, codes, documents, metadatas, rerank_codes).
        """
        self._check_open()
        names = as_ids(ids)
        with self._reader.snapshot() as (catalog, view):
            found = {item[1]: item for item in catalog.items_of_ids(list(dict.fromkeys(names)))}
            return to_records(catalog, view, [found[name] for name in names if name in found])

    def batches(self, size: int = 10_000) -> Iterator[Records]:
        """Yield all items by row, at most `size` at a time, as they were when the first was asked for."""
        size = as_count(size, "size", 1 << 20)
        self._check_open()
        catalog = self._reader.connect()  # the snapshot stays while others come and go
        try:
            with self._reader.snapshot(catalog) as (_, view):
                for items in catalog.items(size):
                    yield to_records(catalog, view, items)
        finally:
            catalog.close()

    def export(self, path: str | os.PathLike[str]) -> int:
        """Write all items to a file; return how many.

        Args:
            path: .parquet or .arrow (the columns id, codes, rerank, document, metadata; codes as fixed_size_binary,
                their codec as JSON in the field's metadata; metadata as JSON; the model and the embeddings' width in
                the schema's metadata), or .npy (the codes, and NAME.ids.npy).

        Raises:
            ValueError: another kind of file, or ids of both kinds.
            ImportError: pyarrow is missing.
            OSError: the file cannot be written.
        """
        self._check_open()
        return exchange.export(self, Path(path))

    def __iter__(self) -> Iterator[str | int]:
        """Yield all ids by row."""
        self._check_open()
        catalog = self._reader.connect()
        try:
            with self._reader.snapshot(catalog):
                for items in catalog.items(10_000):
                    yield from (item[1] for item in items)
        finally:
            catalog.close()

    def __len__(self) -> int:
        self._check_open()
        with self._reader.snapshot() as (_, view):
            return view.state.rows - view.state.dead

    def __contains__(self, name: object) -> bool:
        self._check_open()
        try:
            names = as_ids([name])
        except (TypeError, ValueError):  # no item has such an id
            return False
        with self._reader.snapshot() as (catalog, _):
            return bool(catalog.rows_of_ids(names))

    @property
    def notes(self) -> dict[str, str]:
        """The notes that `add` and `upsert` were given, the last of each key."""
        self._check_open()
        with self._reader.snapshot() as (catalog, _):
            return {key: text for key, text in catalog.notes().items() if not key.startswith(OWN_NOTES)}

    def refresh(self) -> int:
        """Take notice of what was committed, which every search does by itself; return the number of commits so far."""
        self._check_open()
        with self._reader.snapshot() as (_, view):
            return view.state.version

    def info(self) -> dict[str, Any]:
        """Return path, codecs, refinement, model, embeddings' width (None: none were given), counts, fields, bytes."""
        self._check_open()
        with self._reader.snapshot() as (catalog, view):
            state = view.state
            sizes = {}
            for path in sorted(self.path.iterdir()):
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile by a writer
                    sizes[path.name] = path.lstat().st_size
            return {
                "path": str(self.path),
                "codec": self.codec,
                "rerank_codec": self.rerank_codec,
                "refine": self.refine,
                "model": self.model,
                "revision": self.revision,
                "embedding_dim": known_width(catalog),
                "items": state.rows - state.dead,
                "rows": state.rows,
                "generation": state.generation,
                "commits": state.version,
                "sketch_rows": state.sketch_rows,
                "indexed_fields": sorted(view.fields),
                "bytes": sizes,
            }

    def verify(self) -> Report:
        """Read every byte and compare it with its checksum, and every count with the others.

        Returns:
            Report(rows, items, blocks, damaged, damaged_ids, problems); `report.ok`, and its truth, say that nothing is
            wrong.

        Raises:
            CollectionError: the catalog is too damaged to be read.
        """
        self._check_open()
        catalog = self._reader.connect()
        try:
            return checks.verify(self.path, self._reader.properties, catalog)
        finally:
            catalog.close()

    # The object itself.

    def close(self) -> None:
        """Let another process write; this object is no longer of use."""
        with self._lock if self._pid == os.getpid() else contextlib.nullcontext():
            if self._writer is not None and self._pid == os.getpid():
                self._writer.close()
            self._writer = None
            self._reader.close()
            self._is_closed = True

    def _check_open(self) -> None:
        if self._pid != os.getpid():  # forked: the writer's lock and connection are the parent's
            self._writer, self._lock, self._pid = None, threading.RLock(), os.getpid()
        if self._is_closed:
            raise CollectionError(f"{self.path}: this Collection was closed")

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._is_closed:
            return f"<Collection {str(self.path)!r}, closed>"
        return f"<Collection {str(self.path)!r}: {len(self):,} items, {self.codec!r}>"
