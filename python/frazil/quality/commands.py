"""What `frazil quality` and `frazil eval` print."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from frazil._files import cache_folder, check_place
from frazil.bench.progress import progress
from frazil.bench.report import table_rows
from frazil.quality import grid
from frazil.quality.beir import Beir
from frazil.quality.evaluate import cases, embeddings, evaluate, limit_warnings
from frazil.quality.report import Estimate, Sample

__all__ = ["run_eval", "run_quality"]


def run_quality(arguments: argparse.Namespace) -> None:
    """Measure codecs by a file of embeddings."""
    if arguments.plot is not None:
        check_place(arguments.plot, ".png", ".svg")
        try:
            from frazil.quality.plot import plot
        except ImportError as error:
            raise ImportError(f"--plot needs matplotlib: pip install 'frazil[bench]' ({error})") from error
    documents = grid.load(arguments.file, arguments.rows, arguments.seed)
    queries = None if arguments.queries is None else grid.load(arguments.queries, arguments.rows, arguments.seed)
    try:
        sample = Sample(documents, queries, arguments.seed)
    except ValueError as error:
        raise ValueError(f"{arguments.file}: {error}") from None
    given = {name: getattr(arguments, name) for name in ("dims", "bits", "query_bits", "refine")}
    chosen = grid.Grid(limit=arguments.limit, **{name: value for name, value in given.items() if value})
    wrong = [name for name in chosen.refine if name not in grid.REFINEMENTS]
    if wrong:
        raise ValueError(f"--refine: expected some of {', '.join(grid.REFINEMENTS)}, got {wrong[0]!r}")
    with progress("measuring", len(chosen.combinations(sample.dim))) as step:
        found = grid.reports(sample, chosen, step)
    if arguments.json:
        print(grid.as_json(found))
    else:
        print(f"{arguments.file}: {len(sample.documents):,} documents, {len(sample.queries):,} queries\n")
        print(grid.markdown(found))
    for text in dict.fromkeys(f"{one.codec!r}: {text}" for one in found for text in one.warnings):
        print(f"warning: {text}", file=sys.stderr)
    if arguments.plot is not None:
        plot(found, arguments.plot)


def run_eval(arguments: argparse.Namespace) -> None:
    """Measure NDCG@10 and recall@100 of a BEIR collection."""
    data = Beir.read(arguments.folder, arguments.split)
    if (arguments.documents is None) != (arguments.queries is None):
        raise ValueError("--documents and --queries: expected both, or none")
    if arguments.documents is not None:
        documents = grid.load(arguments.documents, None, 0)
        queries = grid.load(arguments.queries, None, 0)
        if len(documents) != len(data.documents) or len(queries) <= max(data.query_rows):
            raise ValueError(
                f"{arguments.documents}, {arguments.queries}: expected a row for each line of corpus.jsonl and "
                f"queries.jsonl, got {len(documents):,} and {len(queries):,}"
            )
        if documents.shape[1] != queries.shape[1]:
            raise ValueError(
                f"{arguments.documents}, {arguments.queries}: expected vectors of one model, got "
                f"{documents.shape[1]:,} and {queries.shape[1]:,} dimensions"
            )
        queries = queries[np.array(data.query_rows)]
        kept = _kept(arguments.dim, documents.shape[1])
    else:
        from frazil.collection.indexing import load_encoder

        encoder = load_encoder(arguments.model, None, arguments.dtype)
        kept = _kept(arguments.dim, encoder.dimensions)
        folder = (arguments.cache or cache_folder("eval")) / Path(encoder.name).name
        documents = embeddings(encoder, data.documents, "document", folder)
        queries = embeddings(encoder, data.queries, "query", folder)
    all_cases = cases(documents, kept)
    print(f"{arguments.folder}: {len(documents):,} documents, {len(queries):,} judged queries\n")
    with progress("searching", len(all_cases)) as step:
        results = []
        for case in all_cases:
            results.append(evaluate(data, documents, queries, case))
            step()
    lines = []
    for result in results:
        values = [Estimate.of(value) for value in (result.ndcg, result.recall)]
        cells = [f"{one.mean:.4f} [{one.low:.4f}, {one.high:.4f}]" for one in values]
        loss = "" if result is results[0] else result.loss(results[0])
        lines.append([result.case.name, f"{result.case.row_bytes:,}", cells[0], loss, cells[1]])
    print(table_rows(["", "bytes", "NDCG@10", "beside uncut float32", "recall@100"], lines))
    for text in [*data.warnings, *limit_warnings(documents, all_cases)]:
        print(f"warning: {text}", file=sys.stderr)


def _kept(dim: int | None, width: int) -> int:
    """Return how many dimensions of embeddings codes keep; None: 256, or all if there are fewer."""
    if dim is not None and dim > width:
        raise ValueError(f"--dim: expected at most {width:,}, the width of the embeddings, got {dim:,}")
    return min(256, width) if dim is None else dim
