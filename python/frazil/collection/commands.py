"""What `frazil index`, `search`, `info FOLDER`, `verify` and `export` print."""

from __future__ import annotations

import argparse
import json
from typing import Any

from frazil.collection.collection import Collection
from frazil.collection.errors import CollectionError
from frazil.collection.indexing import Indexing, index, load_encoder

__all__ = ["run_export", "run_index", "run_info", "run_search", "run_verify"]


def run_index(arguments: argparse.Namespace) -> None:
    """Index files."""
    given = {name: value for name, value in vars(arguments).items() if name in Indexing.__dataclass_fields__}
    added, count = index(arguments.files, Indexing(**given))
    print(f"{added:,} items added, {count:,} in {arguments.folder}")


def run_search(arguments: argparse.Namespace) -> None:
    """Search for a text."""
    with Collection.open(arguments.folder) as collection:
        model = arguments.model or collection.model
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
        print(
            json.dumps([dict(zip(names, hit, strict=True)) for hit in zip(*columns, strict=True)], ensure_ascii=False)
        )
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
        shown = ", ".join(value) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else value
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
        raise CollectionError(f"{arguments.folder}: is damaged, {len(report.problems):,} findings")
    print(f"{report.items:,} items, {report.rows:,} rows, {report.blocks:,} blocks: all as they were written")


def run_export(arguments: argparse.Namespace) -> None:
    """Export a collection."""
    with Collection.open(arguments.folder) as collection:
        count = collection.export(arguments.file)
    print(f"{count:,} items written to {arguments.file}")
