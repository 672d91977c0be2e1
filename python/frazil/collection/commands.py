"""What `frazil index`, `search`, `info FOLDER`, `verify`, `export` and `import` do and print."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np

from frazil._files import load_array
from frazil.collection.catalog import Properties, is_there
from frazil.collection.collection import Collection
from frazil.collection.errors import CollectionError
from frazil.collection.exchange import told_properties
from frazil.collection.indexing import Indexing, as_codec, as_model, check_options, index, load_encoder, new_collection

__all__ = ["run_export", "run_import", "run_index", "run_info", "run_search", "run_verify"]


def run_index(arguments: argparse.Namespace) -> None:
    """Index files."""
    given = {name: value for name, value in vars(arguments).items() if name in Indexing.__dataclass_fields__}
    added, count = index(arguments.files, Indexing(**given))
    done = "added or replaced" if arguments.upsert else "added"
    print(f"{_counted(added, 'item')} {done}, {count:,} in {arguments.folder}")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def run_search(arguments: argparse.Namespace) -> None:
    """Search for a text."""
    with Collection.open(arguments.folder) as collection:
        model = as_model(arguments.model) or collection.model
        if model is None:
            raise ValueError(f"{arguments.folder} does not say which model its embeddings are of; --model does")
        where = _as_filter(arguments.where)
        query = load_encoder(model, collection.revision).encode_query(arguments.text, show_progress_bar=False)
        try:
            hits = collection.search(query, k=arguments.k, where=where, rerank=arguments.rerank)
        except TypeError as error:  # what JSON can say wrongly in a filter
            raise ValueError(str(error)) from None
    if arguments.json:
        names = "score", "id", "document", "metadata"
        columns = hits.scores.tolist(), hits.ids, hits.documents, hits.metadatas
        answers = [dict(zip(names, hit, strict=True)) for hit in zip(*columns, strict=True)]
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        print(json.dumps(answers, ensure_ascii=codecs.lookup(encoding).name != "utf-8"))
        return
    width = max((len(str(name)) for name in hits.ids), default=0)
    for score, name, document in zip(hits.scores, hits.ids, hits.documents, strict=True):
        print(f"{score:.4f}  {name!s:{width}}  {' '.join((document or '').split())[:100]}".rstrip())


def _as_filter(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'where: expected JSON, such as \'{{"year": {{"$gte": 2020}}}}\': {error}') from None


def run_info(arguments: argparse.Namespace) -> None:
    """Show what a collection is."""
    with Collection.open(arguments.folder) as collection:
        info = collection.info()
    sizes = info.pop("bytes")
    for name, value in info.items():
        shown = ", ".join(value) if isinstance(value, list) else f"{value:,}" if type(value) is int else value
        print(f"{name.replace('_', ' '):22}{'none' if shown in (None, '') else shown}")
    for name, size in sizes.items():
        print(f"{name:22}{size:,} bytes")


def run_verify(arguments: argparse.Namespace) -> None:
    """Check a collection; raises CollectionError if anything is wrong."""
    with Collection.open(arguments.folder) as collection:
        report = collection.verify()
    if not report.ok:
        for problem in report.problems:
            print(problem)
        raise CollectionError(f"{arguments.folder}: is damaged, {_counted(len(report.problems), 'finding')}")
    counts = _counted(report.items, "item"), _counted(report.rows, "row"), _counted(report.blocks, "block")
    print(f"{', '.join(counts)}: all as they were written")


def run_export(arguments: argparse.Namespace) -> None:
    """Export a collection."""
    with Collection.open(arguments.folder) as collection:
        count = collection.export(arguments.file)
    print(f"{_counted(count, 'item')} written to {arguments.file}")


def run_import(arguments: argparse.Namespace) -> None:
    """Import a file, into a collection like that which it was exported from if there is none."""
    path, folder, model = arguments.file, arguments.folder, as_model(arguments.model)
    if path.suffix != ".npy" and (arguments.bits is not None or arguments.limit is not None):
        raise ValueError(f"--bits, --limit: are for .npy files; {path.name} says itself what its codes are")
    with contextlib.ExitStack() as stack:
        if is_there(folder):
            collection = stack.enter_context(Collection.open(folder))
            check_options(collection, bits=arguments.bits, limit=arguments.limit, model=model)
        else:
            told = _npy_properties(arguments) if path.suffix == ".npy" else told_properties(path)
            like = replace(told, model=told.model or model)
            collection = stack.enter_context(new_collection(folder, like))
        count = collection.import_(path, upsert=arguments.upsert, model=model)
        print(f"{_counted(count, 'item')} imported, {len(collection):,} in {folder}")


def _npy_properties(arguments: argparse.Namespace) -> Properties:
    """Return what to make of a .npy, which does not say what its codes are."""
    array = load_array(arguments.file)
    width = array.shape[-1] if array.ndim else 0
    if array.dtype != np.uint8:
        return Properties(as_codec(None, arguments.bits, arguments.limit, width))
    if arguments.bits is None:
        raise ValueError(f"{arguments.file}: a .npy does not say what its codes are: --bits 4 or --bits 8 does")
    dim = width * 8 // arguments.bits
    return Properties(as_codec(dim, arguments.bits, arguments.limit, dim))
