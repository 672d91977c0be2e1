"""BEIR's folder layout: corpus.jsonl, queries.jsonl, qrels/<split>.tsv."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frazil._batches import lone_surrogate

__all__ = ["Beir"]

_LAYOUT = "BEIR's layout, with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, or qrels.tsv"

_MOST = 1_000_000  # of grades: trec_eval's code counts by them, in an array


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

    @property
    def warnings(self) -> list[str]:
        """What does not fit together: judgements of queries, or of documents, that are not there."""
        found, queries, documents = [], set(self.query_ids), set(self.document_ids)
        missing = [query for query in self.judgements if query not in queries]
        if missing:
            found.append(
                f"{len(missing):,} of {len(self.judgements):,} judged queries are not in queries.jsonl, "
                f"{missing[0]!r} among them; they are left out"
            )
        pairs = [(query, document) for query in self.query_ids for document in self.judgements[query]]
        unknown = [document for _, document in pairs if document not in documents]
        if unknown:
            found.append(
                f"{len(unknown):,} of {len(pairs):,} judgements are of documents that are not in corpus.jsonl, "
                f"{unknown[0]!r} among them; they count as not found"
            )
        return found

    @classmethod
    def read(cls, folder: Path, split: str = "test") -> Beir:
        """Read a folder.

        Args:
            folder: holds corpus.jsonl, queries.jsonl and qrels/<split>.tsv, or qrels.tsv.
            split: which judgements.

        Raises:
            OSError: the folder, or a file in it, is missing.
            ValueError: a file holds something else.
        """
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {str(folder)!r}; expected one in {_LAYOUT}")
        qrels = folder / "qrels" / f"{split}.tsv"
        if not qrels.exists() and (folder / "qrels.tsv").exists():
            qrels = folder / "qrels.tsv"
        for path in (folder / "corpus.jsonl", folder / "queries.jsonl", qrels):
            if not path.is_file():
                missing = path.relative_to(folder).as_posix()
                raise FileNotFoundError(f"{folder}: holds no {missing}; expected {_LAYOUT}")
        judgements = _judgements(qrels)
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


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that are not empty, and their numbers, from 1."""
    number = 0
    with path.open(encoding="utf-8-sig") as file:
        try:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield number, text
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}, line {number + 1} or a later one: is not UTF-8: {error.reason}") from None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    seen = set()
    for number, text in _text_lines(path):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: is not JSON: {error}") from None
        if not isinstance(line, dict) or not all(isinstance(line.get(key), str) for key in ("_id", "text")):
            raise ValueError(f"{path}, line {number}: expected an object with the strings _id and text")
        for value in (line["_id"], line["text"], str(line.get("title") or "")):
            if fault := lone_surrogate(value):
                raise ValueError(f"{path}, line {number}: expected Unicode, got {fault} of {value[:40]!r}")
        if "\0" in line["_id"]:  # at which trec_eval's code cuts ids off
            raise ValueError(f"{path}, line {number}: expected an _id without NUL characters, got {line['_id']!r}")
        if line["_id"] in seen:
            raise ValueError(f"{path}, line {number}: _id {line['_id']!r} was there before")
        seen.add(line["_id"])
        yield line


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for number, line in _text_lines(path):
        fields = line.rstrip("\n").split("\t")
        is_header = number == 1 and len(fields) == 3 and not fields[2].lstrip("-").isdigit()
        if is_header:
            continue
        try:
            query, document, grade = fields
            if abs(int(grade)) > _MOST:
                raise ValueError(grade)
        except ValueError:
            wanted = f"query-id, corpus-id and a whole score up to {_MOST:,}, with tabs between"
            raise ValueError(f"{path}, line {number}: expected {wanted}, got {line[:80]!r}") from None
        found.setdefault(query, {})[document] = int(grade)
    return found
