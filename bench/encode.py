"""Encoding beside sentence-transformers: the same model, texts and threads.

    python bench/encode.py --model FOLDER --texts ../shared/data --documents 5000

Texts are drawn at random and cut into chunks; each chunk is encoded by all encoders, one after another, in an order
that turns with the chunks, so that what else the machine does meets all of them. Ratios are medians over chunks, of
each chunk's own; cosines are to sentence-transformers' float32 embeddings of the same texts. CPU seconds count all
threads: where the machine is busy they say more than the clock.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from frazil import Encoder
from frazil.bench.report import table_rows
from frazil.quality.beir import Beir


class Run(NamedTuple):
    """One chunk, by one encoder."""

    seconds: float
    cpu_seconds: float
    cosines: Any


def read_texts(folder: Path, count: int, seed: int) -> list[str]:
    """Return texts at random: of the collections in a folder (BEIR's layout), and of the demo's corpus."""
    texts = []
    for path in sorted(folder.glob("**/corpus.jsonl")):
        texts += Beir.read(path.parent).documents
    try:
        from frazil.demo.corpus import stdlib_docs

        texts += [entry.text for entry in stdlib_docs()]
    except ImportError as error:
        print(f"without the demo's corpus: {error}")
    random.Random(seed).shuffle(texts)
    return texts[:count]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder, or a hub id")
    parser.add_argument("--texts", type=Path, required=True, help="a folder of collections: */corpus.jsonl")
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--chunks", type=int, default=5)
    parser.add_argument("--dtypes", default="float32", help="of frazil's encoders, for example float32,int8,bfloat16")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    texts = read_texts(arguments.texts, arguments.documents, arguments.seed)
    size = -(-len(texts) // arguments.chunks)
    theirs = SentenceTransformer(arguments.model, device="cpu")
    encoders: dict[str, Callable[[list[str]], Any]] = {
        "sentence-transformers float32": lambda some: theirs.encode(some, normalize_embeddings=True)
    }
    for dtype in arguments.dtypes.split(","):
        ours = Encoder(arguments.model, "cpu", dtype)
        encoders[f"frazil {dtype}"] = lambda some, ours=ours: ours.encode_document(some, show_progress_bar=False)
    if theirs.prompts.get("document"):
        raise SystemExit("the model has a prompt for documents, which sentence-transformers' encode leaves out")

    runs: dict[str, list[Run]] = {name: [] for name in encoders}
    names = list(encoders)
    for encode in encoders.values():
        encode(texts[:64])
    for number, start in enumerate(range(0, len(texts), size)):
        some, found = texts[start : start + size], {}
        for name in names[number % len(names) :] + names[: number % len(names)]:
            clock, cpu = time.perf_counter(), time.process_time()
            embeddings = encoders[name](some)
            found[name] = (time.perf_counter() - clock, time.process_time() - cpu, embeddings)
        shown = ", ".join(f"{name} {seconds:.1f} s (CPU {cpu:.1f})" for name, (seconds, cpu, _) in found.items())
        print(f"chunk {number}: {shown}", file=sys.stderr, flush=True)
        base = found[names[0]][2].astype(np.float64)
        for name, (seconds, cpu_seconds, embeddings) in found.items():
            runs[name].append(Run(seconds, cpu_seconds, (embeddings * base).sum(1)))

    rows = []
    for name, of in runs.items():
        clocks = [base.seconds / run.seconds for run, base in zip(of, runs[names[0]], strict=True)]
        cpus = [base.cpu_seconds / run.cpu_seconds for run, base in zip(of, runs[names[0]], strict=True)]
        cosines = np.concatenate([run.cosines for run in of])
        cells = [f"{len(texts) / sum(run.seconds for run in of):,.1f}"]
        cells += [f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" for ratios in (clocks, cpus)]
        rows.append([name, *cells, f"{cosines.mean():.5f}", f"{cosines.min():.5f}"])
    print(f"{len(texts):,} documents in {len(runs[names[0]])} chunks, {arguments.threads} torch threads\n")
    head = ["", "documents/s", "times as fast", "by CPU seconds", "mean cosine", "least"]
    print(table_rows(head, rows))


if __name__ == "__main__":
    main()
