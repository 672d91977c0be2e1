"""`frazil index`: files into a collection, so that it can be stopped at any time and goes on where it was."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil._model_files import known_dimensions
from frazil._presets import find_preset
from frazil._progress import counted
from frazil.codec import Codec
from frazil.collection.arguments import as_ids
from frazil.collection.catalog import Properties, is_there
from frazil.collection.collection import Collection
from frazil.collection.errors import CollectionError
from frazil.collection.sources import Part, Source, absolute, open_source
from frazil.collection.vectors import BadRow
from frazil.collection.writer import remove_unused

if TYPE_CHECKING:
    from frazil.encoder import Encoder

__all__ = ["Indexing", "as_codec", "as_model", "check_options", "index", "load_encoder", "new_collection"]

# Items of a commit; of 512 texts 2.6% would be padding, not 1.5%.
_TEXTS, _EMBEDDINGS = 1024, 50_000


@dataclass(frozen=True)
class Indexing:
    """What `frazil index` is told."""

    folder: Path
    dim: int | None = None
    bits: int | None = None
    limit: float | None = None
    codec: Path | None = None
    refine: bool = False
    rerank: bool = False
    model: str | None = None
    dtype: str | None = None
    upsert: bool = False
    text_fields: Sequence[str] = ()
    id_field: str | None = None


def index(paths: Sequence[Path], options: Indexing) -> tuple[int, int]:
    """Add the items of files to a collection, made if it is not there.

    How far each file has been read is committed with its items, as the note "source:PATH".

    Returns:
        How many items were added or replaced now, and how many are in the collection.

    Raises:
        ValueError: a file is damaged, of no known kind, or has changed since it was begun; or it does not fit; or the
            collection is there and not as `options` say.
        ImportError: an extra is missing.
        OSError: a file, or the model, cannot be read.
        CollectionError: as for `Collection.add`.
    """
    sources = [open_source(path, options.text_fields, options.id_field) for path in paths]
    if options.upsert:
        for source in sources:
            if not source.is_text:
                raise ValueError(f"{source.path}: has no ids, by which --upsert could tell what to replace")
    encoder = _Lazy(options.model, options.dtype)
    width = None if encoder.name is None else known_dimensions(encoder.name)
    for source in sources:
        if width is not None and source.dim not in (0, width):
            raise ValueError(
                f"--model: {encoder.name} makes embeddings of {width:,} columns, {source.path} has {source.dim:,}"
            )
    with _open(sources, options, encoder) as collection:
        added = sum(_index(collection, source, encoder, options) for source in sources)
        return added, len(collection)


def check_options(found: Collection, **wanted: Any) -> None:
    """Raise ValueError if a collection is not as its creation's options, those that are given, say.

    Args:
        found: the collection.
        wanted: dim, bits, limit, codec and model; None, for each: not given. refine, rerank: True, or not given.
    """
    codec = found.codec
    has: dict[str, Any] = {"dim": codec.dim, "bits": codec.bits, "limit": codec.limit, "codec": codec}
    has |= {"model": found.model, "refine": found.refine is not False, "rerank": found.rerank_codec is not None}
    for name, value in wanted.items():
        if value not in (None, False) and value != has[name]:
            if value is True:
                raise ValueError(f"--{name}: {found.path} was made without it, and cannot be given it any more")
            raise ValueError(
                f"--{name}: {found.path} has {'none' if has[name] is None else has[name]}, got {value}; it was fixed "
                f"when the collection was made: leave --{name} out, or choose another folder"
            )


def as_model(model: str | None) -> str | None:
    """Return a model's name as a collection keeps it: a local folder's wherever the process will be."""
    if model is not None and Path(model).expanduser().is_dir():
        return absolute(Path(model).expanduser())
    return model


def load_encoder(model: str | None, revision: str | None, dtype: str | None = None) -> Encoder:
    """Return the encoder of a model, None being arctic, without the bars that transformers shows."""
    with contextlib.suppress(ImportError):  # Encoder says what is missing
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
    if not sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined, unused-ignore]

            disable_progress_bars()
    from frazil.encoder import Encoder

    try:
        options: Any = {"dtype": dtype, "revision": revision}
        return Encoder(**options) if model is None else Encoder(model, **options)
    except OSError as error:
        raise OSError(f"{error}; --model takes another hub id, or the folder of a model on this machine") from error


class _Lazy:
    """The encoder, loaded (seconds) when there is something to encode."""

    def __init__(self, model: str | None, dtype: str | None) -> None:
        self._encoder: Encoder | None = None
        self._dtype = dtype
        self.name = as_model(model)
        self.revision: str | None = None

    def get(self) -> Encoder:
        if self._encoder is None:
            self._encoder = load_encoder(self.name, self.revision, self._dtype)
            self.name = self._encoder.name
        return self._encoder


@contextlib.contextmanager
def new_collection(folder: Path, told: Properties) -> Iterator[Collection]:
    """Make a collection that the block fills.

    If the block fails before anything is committed, nothing is left: else the settings of a command that did nothing
    would bind the next one.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    found = Collection.create(
        folder, told.codec, rerank=told.rerank, refine=told.refine, model=told.model, revision=told.revision
    )
    try:
        with found:
            yield found
    except BaseException:
        remove_unused(folder)
        with contextlib.suppress(OSError):  # something is in one of them
            for path in made:
                path.rmdir()
        raise


@contextlib.contextmanager
def _open(sources: Sequence[Source], options: Indexing, encoder: _Lazy) -> Iterator[Collection]:
    """Open the collection, made if it is not there, that files are indexed into."""
    if not is_there(options.folder):
        with new_collection(options.folder, _properties(sources, options, encoder)) as made:
            yield made
        return
    with Collection.open(options.folder) as found:
        check_options(
            found,
            dim=options.dim,
            bits=options.bits,
            limit=options.limit,
            codec=None if options.codec is None else Codec.load(options.codec),
            refine=options.refine,
            rerank=options.rerank,
            model=encoder.name,
        )
        if found.model is None and any(source.is_text for source in sources):
            raise ValueError(f"{options.folder}: does not say which model its embeddings are of, so it takes no texts")
        encoder.name, encoder.revision = found.model, found.revision
        yield found


def _properties(sources: Sequence[Source], options: Indexing, encoder: _Lazy) -> Properties:
    """Return what the collection shall be that is made for files."""
    widths = {source.dim: source.path for source in sources if not source.is_text}
    if any(source.is_text for source in sources):
        model = encoder.get()
        widths[model.dimensions] = Path(model.name)
    if len(widths) > 1:
        told = ", ".join(f"{path} {width:,}" for width, path in widths.items())
        raise ValueError(f"a collection holds embeddings of one model, of one width; these are {told}")
    width = next(iter(widths), 0)
    if options.dim is not None and options.dim > width:
        raise ValueError(f"--dim: expected at most {width:,}, the width of the embeddings, got {options.dim:,}")
    if options.codec is None:
        codec = as_codec(options.dim, options.bits, options.limit, width, encoder.name)
    elif (options.dim, options.bits, options.limit) != (None, None, None):
        raise ValueError("--codec: a codec has its own --dim, --bits and --limit; expected it or them")
    else:
        codec = Codec.load(options.codec)
        if codec.input_dim > width:
            raise ValueError(f"--codec: {codec!r} takes {codec.input_dim:,} dimensions, the embeddings have {width:,}")
    rerank = None
    if options.rerank and codec.projection is None:
        rerank = as_codec(codec.dim, 8, None, width, encoder.name)
    elif options.rerank:
        rerank = Codec(codec.dim, 8, projection=codec.projection)
    return Properties(codec, rerank, options.refine, encoder.name)


def as_codec(dim: int | None, bits: int | None, limit: float | None, width: int, model: str | None = None) -> Codec:
    """Return the codec of options, None where one is not given, for embeddings of some width, of some model."""
    kept, bits = min(256, width) if dim is None else dim, 4 if bits is None else bits
    preset = None if model is None else find_preset(model)
    if limit is None and preset is not None and (preset.dimensions, preset.dim) == (width, kept):
        limit = preset.limits.get(bits)
    return Codec(kept, bits, limit)  # type: ignore[arg-type]


def _index(collection: Collection, source: Source, encoder: _Lazy, options: Indexing) -> int:
    key = f"source:{absolute(source.path)}"
    known = {name: _as_note(collection, text) for name, text in collection.notes.items() if name.startswith("source:")}
    first = max((note["first"] + note["done"] for note in known.values()), default=0)
    note = known.get(key, {"first": first, "done": 0, "fingerprint": source.fingerprint})
    if note["fingerprint"] != source.fingerprint:
        if not options.upsert:
            raise ValueError(
                f"{source.path}: has changed since it was indexed, or begun to be, or is to be read by other fields; "
                "--upsert indexes all of it again, replacing items of the same ids; or choose another folder"
            )
        note |= {"done": 0, "fingerprint": source.fingerprint}
    begun = note["done"]
    count = source.count
    if begun == count and key in known:
        return 0
    parts = source.parts(begun, _TEXTS if source.is_text else _EMBEDDINGS)
    with counted(source.path.name, begun, count) as advance, _one_behind() as commit:
        for part, embeddings in _embedded(parts, encoder, advance) if source.is_text else _ready(parts, advance):
            numbers = range(note["first"] + note["done"], note["first"] + note["done"] + len(embeddings))
            note["done"] += len(embeddings)
            notes = {key: json.dumps(note)}
            commit(_write, collection, source, part, embeddings, numbers=numbers, notes=notes, upsert=options.upsert)
    return int(note["done"] - begun)


def _embedded(parts: Iterable[Part], encoder: _Lazy, advance: Callable[[int], None]) -> Iterator[tuple[Part, Any]]:
    """Yield parts of texts with their embeddings, as they are encoded."""
    waiting: deque[Part] = deque()

    def texts() -> Iterator[str]:
        for part in parts:
            waiting.append(part)
            yield from part.texts or ()

    with contextlib.closing(encoder.get().stream_document(texts(), window=_TEXTS, progress=advance)) as stream:
        for embeddings in stream:
            yield waiting.popleft(), embeddings


def _ready(parts: Iterable[Part], advance: Callable[[int], None]) -> Iterator[tuple[Part, Any]]:
    """Yield parts of embeddings with them."""
    for part in parts:
        yield part, part.embeddings
        advance(len(part.embeddings))


@contextlib.contextmanager
def _one_behind() -> Iterator[Callable[..., None]]:
    """Give what makes calls in a thread, one after another, the next one waiting for the last and raising its error.

    The block ends when the last has.
    """
    last: Future[None] | None = None

    def call(function: Callable[..., None], *arguments: Any, **options: Any) -> None:
        nonlocal last
        if last is not None:
            last.result()
        last = pool.submit(function, *arguments, **options)

    with ThreadPoolExecutor(1, "frazil-commit") as pool:
        yield call
        if last is not None:
            last.result()


def _write(
    collection: Collection,
    source: Source,
    part: Part,
    embeddings: Any,
    *,
    numbers: Sequence[int],
    notes: dict[str, str],
    upsert: bool,
) -> None:
    """Pack, and add or replace, the items of a part; what is wrong with them is said of the file."""
    try:
        if upsert and part.ids is None:
            raise ValueError("no ids, by which --upsert could tell what to replace")
        ids = as_ids(numbers if part.ids is None else part.ids)
        texts, metadatas = part.texts, part.metadatas
        if upsert and texts is not None and metadatas is not None:
            last = sorted({name: place for place, name in enumerate(ids)}.values())  # of equal ids the last counts
            ids, texts = [ids[place] for place in last], [texts[place] for place in last]
            metadatas, embeddings = [metadatas[place] for place in last], embeddings[last]
        (collection.upsert if upsert else collection.add)(ids, embeddings, texts, metadatas, notes=notes)
    except BadRow as error:
        raise ValueError(f"{source.path}: row {part.first + error.row:,} {error.what}") from None
    except (TypeError, ValueError) as error:
        message = str(error).replace("; upsert replaces", "; --upsert replaces them")
        raise ValueError(f"{source.path}: {source.unit}s {part.first:,} to {part.last:,}: {message}") from None


def _as_note(collection: Collection, text: str) -> dict[str, Any]:
    """Return how far a file has been read, as `_index` noted it."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        note: dict[str, Any] = json.loads(text)
        if isinstance(note["fingerprint"], str) and min(note["first"], note["done"]) >= 0:
            return {"first": int(note["first"]), "done": int(note["done"]), "fingerprint": note["fingerprint"]}
    raise CollectionError(f"{collection.path}: is damaged: a source's note is {text[:100]!r}")
