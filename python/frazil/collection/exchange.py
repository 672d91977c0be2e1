"""Collections out of and into files of others: Parquet, Arrow, NumPy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frazil._files import whole_file
from frazil.codec import Codec
from frazil.collection.errors import CollectionError

if TYPE_CHECKING:
    from frazil.collection.collection import Collection

__all__ = ["export", "import_file", "need_arrow"]

_AT_ONCE = 10_000
_CODEC = b"frazil.codec"  # the key of a field's metadata: {"dim": 256, "bits": 4, "limit": 0.18}


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
    formats: dict[str, Callable[[Collection, Path], int]] = {
        ".parquet": _export_table,
        ".arrow": _export_table,
        ".npy": _export_npy,
    }
    if path.suffix not in formats:
        raise ValueError(f"path: expected a file name that ends in {', '.join(formats)}, got {path.name!r}")
    return formats[path.suffix](collection, path)


def _codec_text(codec: Codec) -> str:
    return json.dumps(asdict(codec))


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
        told = {_CODEC: _codec_text(codec)}
        fields.append(pa.field(name, pa.binary(codec.row_bytes), nullable=False, metadata=told))
    fields += [pa.field("document", pa.string()), pa.field("metadata", pa.string())]
    schema = pa.schema(
        fields, metadata={"frazil.model": collection.model or "", "frazil.revision": collection.revision or ""}
    )
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
    with whole_file(path) as partial, whole_file(path.with_suffix(".ids.npy")) as partial_ids:
        dtype = np.dtype(np.int64) if kind is int else np.dtype(("U", width))
        codes = np.lib.format.open_memmap(partial, "w+", np.dtype(np.uint8), shape)
        ids = np.lib.format.open_memmap(partial_ids, "w+", dtype, (count,))
        done = 0
        for records in collection.batches(_AT_ONCE):
            if done + len(records.ids) > count:
                raise CollectionError(f"{collection.path}: was changed while it was exported; try again")
            codes[done : done + len(records.ids)] = records.codes
            ids[done : done + len(records.ids)] = records.ids
            done += len(records.ids)
        if done < count:
            raise CollectionError(f"{collection.path}: was changed while it was exported; try again")
        del codes, ids
    return count


def import_file(collection: Collection, path: Path, *, upsert: bool) -> int:
    """Add all items of a file that `export` wrote, or of its form; return how many."""
    if path.suffix == ".npy":
        batches = _read_npy(collection, path)
    elif path.suffix in (".parquet", ".arrow"):
        batches = _read_table(collection, path)
    else:
        raise ValueError(f"path: expected a file name that ends in .parquet, .arrow or .npy, got {path.name!r}")
    count = 0
    for ids, arguments in batches:
        (collection.upsert if upsert else collection.add)(ids, **arguments)
        count += len(ids)
    return count


def _read_npy(collection: Collection, path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    ids = np.load(path.with_suffix(".ids.npy"), mmap_mode="r", allow_pickle=False)
    if rows.ndim != 2 or ids.shape != rows.shape[:1]:
        raise ValueError(f"{path}: expected (n, …) and as many ids, got shapes {rows.shape} and {ids.shape}")
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield ids[part], {"codes" if rows.dtype == np.uint8 else "embeddings": rows[part]}


def _read_table(collection: Collection, path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    pa = need_arrow()
    try:
        if path.suffix == ".parquet":
            source = pa.parquet.ParquetFile(path)
            schema, batches = source.schema_arrow, source.iter_batches(_AT_ONCE)
        else:
            source = pa.ipc.open_file(pa.memory_map(str(path)))
            schema, batches = source.schema, map(source.get_batch, range(source.num_record_batches))
        _check_schema(pa, collection, path, schema)
        for batch in batches:
            yield _arguments(pa, collection, path, batch)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: {error}") from None


def _check_schema(pa: Any, collection: Collection, path: Path, schema: Any) -> None:
    """See that the columns are those of an export, and of the collection's codecs."""
    missing = {"id", "codes"} - set(schema.names)
    if missing:
        raise ValueError(f"{path}: expected the columns id and codes, got {', '.join(schema.names)}")
    for name, codec in (("codes", collection.codec), ("rerank", collection.rerank_codec)):
        if codec is None or (name == "rerank" and name not in schema.names):
            continue
        field = schema.field(name)
        told = (field.metadata or {}).get(_CODEC)
        if field.type != pa.binary(codec.row_bytes):
            raise ValueError(f"{path}: {name}: expected fixed_size_binary({codec.row_bytes}), got {field.type}")
        if told is None or json.loads(told) != json.loads(_codec_text(codec)):
            given = "says no codec" if told is None else f"is of the codec {told.decode(errors='replace')}"
            raise ValueError(f"{path}: {name}: {given}, the collection of {_codec_text(codec)}")


def _arguments(pa: Any, collection: Collection, path: Path, batch: Any) -> tuple[Any, dict[str, Any]]:
    names = batch.schema.names
    arguments: dict[str, Any] = {"codes": _rows(pa, path, batch.column("codes"))}
    if collection.rerank_codec is not None and "rerank" in names:
        arguments["rerank_codes"] = _rows(pa, path, batch.column("rerank"))
    if "document" in names:
        arguments["documents"] = batch.column("document").to_pylist()
    if "metadata" in names:
        texts = batch.column("metadata").to_pylist()
        arguments["metadatas"] = [None if text is None else json.loads(text) for text in texts]
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
