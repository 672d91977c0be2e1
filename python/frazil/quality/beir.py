"""BEIR's folder layout: corpus.jsonl, queries.jsonl, qrels/<split>.tsv."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Beir"]


@dataclass(frozen=True)
class Beir:
    """A retrieval collection with judgements. All queries that have one are kept.

    Attributes:
        document_ids, documents: of corpus.jsonl, `_id` and `title` + " " + `text`, in its order.
        query_ids, queries: of queries.jsonl, `_id` and `text`.
        query_rows: the line of each of these queries, from 0: the row of its embedding.
        judgements: grades by query id and document id.
    """

    document_ids: list[str]
    documents: list[str]
    query_ids: list[str]
    queries: list[str]
    query_rows: list[int]
    judgements: dict[str, dict[str, int]]

    @classmethod
    def read(cls, folder: Path, split: str = "test") -> Beir:
        """Read a folder.

        Args:
            folder: holds corpus.jsonl, queries.jsonl and qrels/<split>.tsv, or qrels.tsv.
            split: which judgements.

        Raises:
            OSError: a file is missing.
            ValueError: a file holds something else.
        """
        judgements = _judgements(folder, split)
        documents = list(_lines(folder / "corpus.jsonl"))
        queries = [
            (row, line) for row, line in enumerate(_lines(folder / "queries.jsonl")) if line["_id"] in judgements
        ]
        if not documents or not queries:
            missing = "documents" if not documents else "queries with judgements"
            raise ValueError(f"{folder}: holds no {missing}")
        return cls(
            [line["_id"] for line in documents],
            [f"{line.get('title') or ''} {line['text']}".strip() for line in documents],
            [line["_id"] for _, line in queries],
            [line["text"] for _, line in queries],
            [row for row, _ in queries],
            judgements,
        )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    seen = set()
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: is not JSON: {error}") from None
            if not isinstance(line, dict) or not all(isinstance(line.get(key), str) for key in ("_id", "text")):
                raise ValueError(f"{path}, line {number}: expected an object with the strings _id and text")
            if line["_id"] in seen:
                raise ValueError(f"{path}, line {number}: _id {line['_id']!r} was there before")
            seen.add(line["_id"])
            yield line


def _judgements(folder: Path, split: str) -> dict[str, dict[str, int]]:
    path = folder / "qrels" / f"{split}.tsv"
    if not path.exists() and (folder / "qrels.tsv").exists():
        path = folder / "qrels.tsv"
    found: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            try:
                query, document, grade = line
                if number > 1 or grade.lstrip("-").isdigit():  # the first line is a header
                    found.setdefault(query, {})[document] = int(grade)
            except ValueError:
                raise ValueError(f"{path}, line {number}: expected query-id, corpus-id and a whole score") from None
    return found
