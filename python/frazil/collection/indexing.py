"""`frazil index`: files into a collection, so that it can be stopped at any time and goes on where it was."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil.codec import Codec
from frazil.collection.catalog import NAME
from frazil.collection.collection import Collection
from frazil.collection.errors import CollectionError
from frazil.collection.sources import Part, Source, absolute, open_source

if TYPE_CHECKING:
    from frazil.encoder import Encoder

__all__ = ["Indexing", "index", "load_encoder"]

_TEXTS, _EMBEDDINGS = 512, 50_000  # items of a commit


@dataclass(frozen=True)
class Indexing:
    """What `frazil index` is told."""

    folder: Path
    dim: int | None = None
    bits: int = 4
    limit: float | None = None
    rerank: bool = False
    model: str | None = None
    text_fields: Sequence[str] = ()
    id_field: str | None = None


def index(paths: Sequence[Path], options: Indexing) -> tuple[int, int]:
    """Add the items of files to a collection, made if it is not there.

    How far each file has been read is committed with its items, as the note "source:PATH".

    Returns:
        How many items were added now, and how many are in the collection.

    Raises:
        ValueError: a file is damaged, of no known kind, or has changed since it was begun; or it does not fit.
        ImportError: an extra is missing.
        OSError: a file, or the model, cannot be read.
        CollectionError: as for `Collection.add`.
    """
    sources = [open_source(path, options.text_fields, options.id_field) for path in paths]
    encoder = _Lazy(options)
    with _open(sources, options, encoder) as collection:
        added = sum(_index(collection, source, encoder) for source in sources)
        return added, len(collection)


def load_encoder(model: str | None, revision: str | None) -> Encoder:
    """Return the encoder of a model, None being arctic, without the bars that transformers shows."""
    with contextlib.suppress(ImportError):  # Encoder says what is missing
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
    from frazil.encoder import Encoder

    return Encoder(revision=revision) if model is None else Encoder(model, revision=revision)


class _Lazy:
    """The encoder, loaded (seconds) when there is something to encode."""

    def __init__(self, options: Indexing) -> None:
        self._options = options
        self._encoder: Encoder | None = None
        self.name = options.model

    def get(self) -> Encoder:
        if self._encoder is None:
            self._encoder = load_encoder(self.name, None)
            self.name = self._encoder.name
        return self._encoder


def _open(sources: Sequence[Source], options: Indexing, encoder: _Lazy) -> Collection:
    has_text = any(source.is_text for source in sources)
    if (options.folder / NAME).exists():
        found = Collection.open(options.folder)
        if encoder.name is None:
            encoder.name = found.model
        if has_text and (found.model is None or found.model != encoder.name):
            raise ValueError(f"model: {options.folder} is of {found.model or 'no model'}, not of {encoder.name}")
        return found
    widths = {source.dim for source in sources if not source.is_text}
    if has_text:
        widths.add(encoder.get().dimensions)
    dim = min([256, *widths]) if options.dim is None else options.dim
    codec = Codec(dim, options.bits) if options.limit is None else Codec(dim, options.bits, options.limit)
    rerank = Codec(dim, 8) if options.rerank else None
    return Collection.create(options.folder, codec, rerank=rerank, model=encoder.name)


def _index(collection: Collection, source: Source, encoder: _Lazy) -> int:
    key = f"source:{absolute(source.path)}"
    notes = {name: _as_note(collection, text) for name, text in collection.notes.items() if name.startswith("source:")}
    first = max((note["first"] + note["done"] for note in notes.values()), default=0)
    note = notes.get(key, {"first": first, "done": 0, "fingerprint": source.fingerprint})
    if note["fingerprint"] != source.fingerprint:
        raise ValueError(f"{source.path}: has changed since it was indexed, or begun to be; index it into a new folder")
    begun = note["done"]
    count = source.count
    if begun == count and key in notes:
        return 0
    with _progress(source.path.name, begun, count) as advance:
        for part in source.parts(begun, _TEXTS if source.is_text else _EMBEDDINGS):
            size = len(part.texts if part.texts is not None else part.embeddings)
            ids = part.ids or range(note["first"] + note["done"], note["first"] + note["done"] + size)
            note["done"] += size
            embeddings = _embeddings(part, encoder)
            try:
                collection.add(ids, embeddings, part.texts, part.metadatas, notes={key: json.dumps(note)})
            except TypeError as error:  # of what is in the file
                raise ValueError(f"{source.path}: {error}") from None
            advance(size)
    return int(note["done"] - begun)


def _as_note(collection: Collection, text: str) -> dict[str, Any]:
    """Return how far a file has been read, as `_index` noted it."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        note: dict[str, Any] = json.loads(text)
        if isinstance(note["fingerprint"], str) and min(note["first"], note["done"]) >= 0:
            return {"first": int(note["first"]), "done": int(note["done"]), "fingerprint": note["fingerprint"]}
    raise CollectionError(f"{collection.path}: is damaged: a source's note is {text[:100]!r}")


def _embeddings(part: Part, encoder: _Lazy) -> Any:
    if part.texts is None:
        return part.embeddings
    return encoder.get().encode_document(part.texts, show_progress_bar=False)


@contextlib.contextmanager
def _progress(title: str, begun: int, count: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with rate and time left on stderr, where that is a terminal and rich is there."""
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        yield lambda _: None
        return

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> str:
            return f"{task.speed:,.0f}/s" if task.speed else ""

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=count, completed=begun)
        yield lambda size: bar.update(task, advance=size)
