"""Collections out of and into files of others: Parquet, Arrow, NumPy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frazil._files import load_array, new_array, whole_file
from frazil.codec import Codec
from frazil.collection.catalog import Properties
from frazil.collection.codec_rows import codec_of_text, text_of_codec
from frazil.collection.errors import CollectionError
from frazil.collection.vectors import BadRow, as_width
from frazil.metric import Metric

if TYPE_CHECKING:
    from frazil.collection.collection import Collection

__all__ = ["count_rows", "export", "import_file", "is_export", "need_arrow", "told_properties"]

_AT_ONCE = 10_000
_SUFFIXES = ".parquet", ".arrow", ".npy"
_CODEC = b"frazil.codec"  # the key of a field's metadata: JSON, {"dim": 256, "bits": 4, "limit": 0.18} and more
# Keys of the schema's metadata; the values of what is not known are empty.
_MODEL, _REVISION, _WIDTH = b"frazil.model", b"frazil.revision", b"frazil.embedding_dim"


def need_arrow() -> Any:
    """Return pyarrow, or raise ImportError that names the extra."""
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"Parquet and Arrow files need pyarrow: pip install 'frazil[arrow]' ({error})") from error
    return pyarrow


def export(collection: Collection, path: Path) -> int:
    """Write all items to a file, which is there whole or not at all; return how many."""
    _check_name(path)
    return _export_npy(collection, path) if path.suffix == ".npy" else _export_table(collection, path)


def _check_name(path: Path) -> None:
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"path: expected a file name that ends in {', '.join(_SUFFIXES)}, got {path.name!r}")


def _id_kind(collection: Collection) -> type:
    """Return the one type of all ids."""
    kinds = {type(name) for name in collection}
    if len(kinds) > 1:
        raise ValueError("export: expected ids of one kind, got strings and integers; a column holds one kind")
    return kinds.pop() if kinds else str


def _export_table(collection: Collection, path: Path) -> int:
    pa = need_arrow()
    codecs = {"codes": collection.codec} | ({"rerank": collection.rerank_codec} if collection.rerank_codec else {})
    fields = [pa.field("id", pa.int64() if _id_kind(collection) is int else pa.string(), nullable=False)]
    for name, codec in codecs.items():
        told = {_CODEC: text_of_codec(codec, collection.refine if name == "codes" else False)}
        fields.append(pa.field(name, pa.binary(codec.row_bytes), nullable=False, metadata=told))
    fields += [pa.field("document", pa.string()), pa.field("metadata", pa.string())]
    known: dict[bytes, Any] = {
        _MODEL: collection.model,
        _REVISION: collection.revision,
        _WIDTH: collection.info()["embedding_dim"],
    }
    schema = pa.schema(fields, metadata={key: str(value or "") for key, value in known.items()})
    count = 0
    with whole_file(path) as partial:
        if path.suffix == ".parquet":
            writing = pa.parquet.ParquetWriter(partial, schema)
        else:
            writing = pa.ipc.new_file(str(partial), schema)
        with writing as writer:
            for records in collection.batches(_AT_ONCE):
                texts = [None if one is None else json.dumps(one, ensure_ascii=False) for one in records.metadatas]
                columns = [pa.array(records.ids, fields[0].type), _binary(pa, records.codes)]
                if records.rerank_codes is not None:
                    columns.append(_binary(pa, records.rerank_codes))
                columns += [pa.array(records.documents, pa.string()), pa.array(texts, pa.string())]
                writer.write_batch(pa.record_batch(columns, schema=schema))
                count += len(records.ids)
    return count


def _binary(pa: Any, codes: NDArray[np.uint8]) -> Any:
    """Return rows of codes as Arrow's fixed-size binaries, without going through Python's bytes."""
    buffer = pa.py_buffer(np.ascontiguousarray(codes))
    return pa.Array.from_buffers(pa.binary(codes.shape[1]), len(codes), [None, buffer])


def _export_npy(collection: Collection, path: Path) -> int:
    """Write the codes, uint8 (n, row_bytes), and beside them, as NAME.ids.npy, the ids."""
    kind = _id_kind(collection)
    count, width = 0, 1
    for name in collection:
        count, width = count + 1, max(width, len(str(name)))
        if str(name).endswith("\0"):
            raise ValueError(f"export: NumPy drops zeros at the end of strings, such as {name!r}; Parquet does not")
    shape = count, collection.codec.row_bytes
    dtype = np.dtype(np.int64) if kind is int else np.dtype(("U", width))
    with (
        whole_file(path) as partial,
        whole_file(path.with_suffix(".ids.npy")) as partial_ids,
        new_array(partial, np.dtype(np.uint8), shape) as add_codes,
        new_array(partial_ids, dtype, (count,)) as add_ids,
    ):
        done = 0
        for records in collection.batches(_AT_ONCE):
            if done + len(records.ids) > count:
                raise CollectionError(f"{collection.path}: was changed while it was exported; try again")
            add_codes(records.codes)
            add_ids(np.array(records.ids, dtype))
            done += len(records.ids)
        if done < count:
            raise CollectionError(f"{collection.path}: was changed while it was exported; try again")
    return count


def import_file(collection: Collection, path: Path, add: Callable[..., None], model: str | None) -> int:
    """Add all items of a file that `export` wrote, or of its form; return how many.

    Args:
        collection: what it must fit.
        path: the file.
        add: what the items of each part are given to, as to `Collection._add`.
        model: what made the embeddings, if the file does not say.
    """
    _check_name(path)
    read = _read_npy if path.suffix == ".npy" else _read_table
    count = 0
    for ids, arguments in read(collection, path, model):
        try:
            add(ids, **arguments)
        except BadRow as error:
            raise ValueError(f"{path}: row {count + error.row:,} {error.what}") from None
        except (ValueError, TypeError) as error:  # of what is in the file
            raise ValueError(f"{path}: rows {count:,} to {count + len(ids) - 1:,}: {error}") from None
        count += len(ids)
    return count


def _read_npy(collection: Collection, path: Path, model: str | None) -> Iterator[tuple[Any, dict[str, Any]]]:
    _check_model(collection, path, model or collection.model)  # which it cannot say itself
    rows, ids_path = load_array(path), path.with_suffix(".ids.npy")
    if not ids_path.is_file():
        raise FileNotFoundError(f"{path}: its ids, an array of as many integers or strings, must be in {ids_path.name}")
    ids = load_array(ids_path)
    if rows.ndim != 2 or ids.shape != rows.shape[:1]:
        raise ValueError(f"{path}: expected (n, …) and as many ids, got shapes {rows.shape} and {ids.shape}")
    if rows.dtype == np.uint8 and collection.rerank_codec is not None:
        raise ValueError(f"{path}: {_without_rerank(collection)}")
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield ids[part], {"source": (None, rows[part], None) if rows.dtype == np.uint8 else (rows[part], None, None)}


def _without_rerank(collection: Collection) -> str:
    return (
        f"holds codes, but not the second ones, of {collection.rerank_codec}, that {collection.path} keeps to re-rank "
        "with; a .parquet or .arrow export of such a collection holds both"
    )


@contextmanager
def _opened_table(path: Path) -> Iterator[tuple[Any, Any, Iterator[Any]]]:
    """Open a file of Parquet or Arrow; yield pyarrow, the schema and the batches."""
    pa = need_arrow()
    try:
        if path.suffix == ".parquet":
            with pa.parquet.ParquetFile(path) as source:
                yield pa, source.schema_arrow, source.iter_batches(_AT_ONCE)
        else:
            with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as source:
                yield pa, source.schema, map(source.get_batch, range(source.num_record_batches))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: {error}") from None


def count_rows(path: Path) -> int:
    """Return how many rows a file of Parquet has."""
    with _opened_table(path) as (pa, _, _):
        return int(pa.parquet.read_metadata(path).num_rows)


def is_export(path: Path) -> bool:
    """Tell whether a file of Parquet holds a collection's codes."""
    with _opened_table(path) as (_, schema, _):
        return "codes" in schema.names and _CODEC in (schema.field("codes").metadata or {})


def told_properties(path: Path) -> Properties:
    """Return what a file of Parquet or Arrow says that its collection was.

    Raises:
        ValueError: it does not say.
    """
    _check_name(path)
    with _opened_table(path) as (_, schema, _):
        codec, refine = _told_codec(path, schema, "codes")
        rerank = _told_codec(path, schema, "rerank")[0] if "rerank" in schema.names else None
        texts = ((schema.metadata or {}).get(key, b"").decode(errors="replace") for key in (_MODEL, _REVISION))
        model, revision = (text or None for text in texts)
        return Properties(codec, rerank, refine, model, revision)


def _told_codec(path: Path, schema: Any, name: str) -> tuple[Codec, bool | Metric]:
    """Return the codec that a column's metadata tells, and how its codes were chosen."""
    missing = {"id", "codes"} - set(schema.names)
    if missing:
        raise ValueError(f"{path}: expected the columns id and codes, got {', '.join(schema.names)}")
    told = (schema.field(name).metadata or {}).get(_CODEC)
    if told is None:
        raise ValueError(f"{path}: {name}: says no codec: the field's metadata has no {_CODEC.decode()}")
    try:
        return codec_of_text(told)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {name}: says a codec that is none: {told[:100]!r}: {error}") from None


def _read_table(collection: Collection, path: Path, model: str | None) -> Iterator[tuple[Any, dict[str, Any]]]:
    with _opened_table(path) as (pa, schema, batches):
        _check_schema(pa, collection, path, schema)
        told = told_properties(path)
        if model is not None and told.model not in (None, model):
            raise ValueError(f"{path}: is of the model {told.model}, not of {model}")
        _check_model(collection, path, told.model or model)
        if None not in (told.revision, collection.revision) and told.revision != collection.revision:
            raise ValueError(
                f"{path}: is of the model's revision {told.revision}, {collection.path} of {collection.revision}"
            )
        width = _told_width(path, schema, collection.codec)
        for batch in batches:
            ids, arguments = _arguments(pa, collection, path, batch)
            yield ids, {**arguments, "width": width}


def _check_model(collection: Collection, path: Path, model: str | None) -> None:
    """See that a file's vectors are of the collection's model: those of several do not go together."""
    if model != collection.model:
        of = [
            f"is of the model {one}" if one else "does not say of which model it is"
            for one in (model, collection.model)
        ]
        hint = "; if it is of the same, say so (model, --model)" if model is None else ""
        raise ValueError(f"{path}: {of[0]}, {collection.path} {of[1]}{hint}")


def _told_width(path: Path, schema: Any, codec: Codec) -> int | None:
    """Return how wide the embeddings were that codes were made of; None: the file does not say."""
    text = (schema.metadata or {}).get(_WIDTH, b"").decode(errors="replace")
    width = as_width(text)
    if text and (width is None or width < codec.input_dim):
        raise ValueError(f"{path}: says a width of embeddings that is none of {codec!r}'s: {text[:100]!r}")
    return width


def _check_schema(pa: Any, collection: Collection, path: Path, schema: Any) -> None:
    """See that the columns are those of an export, and of the collection's codecs."""
    for name, codec in (("codes", collection.codec), ("rerank", collection.rerank_codec)):
        if codec is None:
            if name in schema.names:
                second = f"holds second codes, of {_told_codec(path, schema, name)[0]!r}, to re-rank with"
                raise ValueError(f"{path}: {second}; {collection.path} was made without (rerank)")
            continue
        if name == "rerank" and name not in schema.names:
            raise ValueError(f"{path}: {_without_rerank(collection)}")
        told, _ = _told_codec(path, schema, name)
        if told != codec:
            raise ValueError(f"{path}: {name}: is of the codec {told!r}, {collection.path} of {codec!r}")
        if schema.field(name).type != pa.binary(codec.row_bytes):
            wanted = f"fixed_size_binary({codec.row_bytes})"
            raise ValueError(f"{path}: {name}: expected {wanted}, got {schema.field(name).type}")


def _arguments(pa: Any, collection: Collection, path: Path, batch: Any) -> tuple[Any, dict[str, Any]]:
    names = batch.schema.names
    rerank = None if collection.rerank_codec is None else _rows(pa, path, batch.column("rerank"))
    arguments: dict[str, Any] = {"source": (None, _rows(pa, path, batch.column("codes")), rerank)}
    if "document" in names:
        arguments["documents"] = batch.column("document").to_pylist()
    if "metadata" in names:
        texts = batch.column("metadata").to_pylist()
        try:
            arguments["metadatas"] = [None if text is None else json.loads(text) for text in texts]
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: metadata: {error}") from None
    return batch.column("id").to_pylist(), arguments


def _rows(pa: Any, path: Path, column: Any) -> NDArray[np.uint8]:
    """Return fixed-size binaries as uint8 (n, width), in place."""
    if column.null_count:
        raise ValueError(f"{path}: codes are missing in {column.null_count:,} rows")
    width = column.type.byte_width
    if not len(column):
        return np.empty((0, width), np.uint8)
    data = np.frombuffer(column.buffers()[1], np.uint8)
    return data[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)
