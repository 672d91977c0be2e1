"""The demo from question to answers: corpus, embeddings, codes, search, and a table of what it cost."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from frazil import Codec, active_kernels
from frazil._files import cache_folder
from frazil._presets import ARCTIC
from frazil.demo.corpus import Entry, cached_stdlib_docs
from frazil.demo.measure import agreement, throughput
from frazil.demo.models import DemoModel, Embeddings, choose_model, encode_within, load_embeddings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QUESTIONS", "SECONDS", "run"]

QUESTIONS = (
    "how do I parse a date from a string",
    "run another program and capture its output",
    "make a temporary file that deletes itself",
    "undo percent signs in a URL",
    "how many days are in a month",
)
SECONDS = 45.0  # for encoding; loading the model comes on top, and all of it should stay within a minute
_SAMPLES = 500
_BATCH = 256


def run(
    questions: Sequence[str] = (),
    *,
    model: str | None = None,
    k: int = 5,
    limit: int | None = None,
    seconds: float = SECONDS,
) -> None:
    """Run the demo: answer the questions, or a few of its own, print the table, and on a terminal ask for more.

    Args:
        questions: what to ask; none: the demo's own.
        model: hub id or folder; None: arctic where it can be had, else the packaged MiniLM.
        k: answers to a question.
        limit: use at most this many documents; None: all.
        seconds: spend no more on encoding; fewer documents, if that is not enough.

    Raises:
        OSError: the model cannot be found, or the cache folder not be written to.
        ValueError: the model is of a kind that `Encoder` does not do.
    """
    console = Console(highlight=False)
    with console.status("reading the docstrings"):
        entries = cached_stdlib_docs(cache_folder("demo"))[:limit]
    with console.status("looking for the model"):
        chosen = choose_model(model)
    console.print(f"[bold]{len(entries):,}[/] docstrings of Python {platform.python_version()}'s standard library")
    console.print(f"model: [bold]{escape(chosen.name)}[/]")

    start = time.perf_counter()
    texts = [entry.text for entry in entries]
    embeddings = load_embeddings(
        chosen,
        texts,
        QUESTIONS,
        seconds=seconds,
        folder=cache_folder("demo"),
        encode=lambda: _encode(chosen, texts, seconds, console),
    )
    session = _Session(console, chosen, entries, embeddings)
    if chosen.stands_in is not None:
        session.print_stand_in(chosen.stands_in)
    if session.n < len(entries):
        console.print(
            f"[yellow]{session.n:,} of {len(entries):,} documents[/], the most asked-about modules first: as far as "
            f"{seconds:g} seconds of encoding went here. --seconds gives it more."
        )
    spent = time.perf_counter() - start
    console.print(
        f"encoded (or read from the cache) and packed, {session.codec.row_bytes} bytes each, in {spent:.1f} s\n"
    )

    for question in questions or QUESTIONS:
        session.answer(question, k)
    session.print_table()
    if not questions and sys.stdin.isatty() and sys.stdout.isatty():
        console.print("\nAsk about Python's standard library; an empty line ends.")
        while question := _read_line(console):
            session.answer(question, k)


def _encode(model: DemoModel, texts: Sequence[str], seconds: float, console: Console) -> Embeddings:
    """Encode the demo's questions and, within the time budget, the documents."""
    with console.status("loading the model"):
        questions = model.encoder.encode_query(list(QUESTIONS), show_progress_bar=False)
    columns = TextColumn("encoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("encoding", total=len(texts))
        documents = encode_within(
            lambda some: model.encoder.encode_document(some, show_progress_bar=False),
            texts,
            seconds,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    return Embeddings(documents, questions)


class _Session:
    """Packed documents, and what it takes to answer questions about them."""

    def __init__(self, console: Console, model: DemoModel, entries: Sequence[Entry], embeddings: Embeddings) -> None:
        self.console, self.model, self.entries, self.embeddings = console, model, entries, embeddings
        self.n, self.d = embeddings.documents.shape
        self.codec = Codec(min(256, self.d))
        self.codes = self.codec.pack(embeddings.documents)

    def answer(self, question: str, k: int) -> None:
        """Search for one question and print the best matches."""
        hits = self.codec.search(self._embed(question), self.codes, k=k)
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(style="cyan")
        table.add_column(style="bold")
        table.add_column(no_wrap=True, ratio=1)
        for score, row in zip(hits.scores, hits.rows, strict=True):
            name, doc = self.entries[row]
            table.add_row(f"  {score:.3f}", escape(name), escape(doc))
        self.console.print(f"[bold green]{escape(question)}[/]")
        self.console.print(table)
        self.console.print()

    def _embed(self, question: str) -> NDArray[np.float32]:
        """Return a question's embedding, float32 (d,): the cached one if it is the demo's own."""
        if question in QUESTIONS:
            embedding: NDArray[np.float32] = self.embeddings.questions[QUESTIONS.index(question)]
            return embedding
        with self.console.status("encoding the question"):
            return self.model.encoder.encode_query(question, show_progress_bar=False)

    def print_stand_in(self, reason: str) -> None:
        """Say that the packaged model stands in for arctic, why, and what differs."""
        self.console.print(
            f"[yellow]This is a stand-in[/] for {ARCTIC}, which could not be had ({escape(reason)}).\n"
            f"What differs: {self.d} dimensions, not 768; mean pooling, not CLS; no prompt before queries; not trained "
            f"to be truncated, so that keeping {self.codec.dim} dimensions costs it more than it would arctic."
        )

    def print_table(self) -> None:
        """Print sizes, agreement and throughput."""
        documents, questions = self.embeddings
        samples = np.unique(np.linspace(0, self.n - 1, min(self.n, _SAMPLES)).astype(np.int64))
        table = Table(
            title=f"{self.n:,} documents, {self.codec.dim} of {self.d} dimensions, {self.codec.bits} bits each",
            caption=(
                "Agreement: how many of the 10 best of float32 search are among packed search's 10, on average over "
                f"{len(questions)} questions and {len(samples)} documents as queries (none counts as its own answer)."
            ),
            show_header=False,
        )
        less = 4 * self.d / self.codec.row_bytes
        table.add_row("bytes per vector", f"float32 {4 * self.d:,}, packed {self.codec.row_bytes} ({less:.3g}x less)")
        table.add_row("bytes in all", f"float32 {documents.nbytes:,}, packed {self.codes.nbytes:,}")
        for dim in sorted({self.d, self.codec.dim}, reverse=True):
            share = agreement(self.codec, self.codes, documents, questions, samples=samples, dim=dim)
            table.add_row(f"top-10 agreement with {dim}d float32", f"{share:.1%}")
        times = throughput(self.codec, documents, self.codes, _BATCH)
        table.add_row("pack", f"{self.n / times.pack / 1e6:.3g} million vectors/s")
        for queries, seconds in ((1, times.search_one), (_BATCH, times.search_batch)):
            rate = self.n * queries / seconds / 1e6
            at_once = "one query" if queries == 1 else f"{queries} queries at once"
            table.add_row(f"search, {at_once}", f"{seconds / queries * 1e6:.3g} µs each, {rate:,.0f} million vectors/s")
        table.add_row("kernels", active_kernels())
        self.console.print(table)


def _read_line(console: Console) -> str:
    try:
        return console.input("[bold green]> [/]").strip()
    except EOFError:
        return ""
