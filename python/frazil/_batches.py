"""Texts in windows, prepared a window ahead in a thread, and cut into batches of texts of nearly one length."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "Cost", "ahead", "as_texts", "batches", "lone_surrogate", "windows"]

T = TypeVar("T")
R = TypeVar("R")


class Cost(NamedTuple):
    """What passes through a model cost on a kind of device."""

    most_tokens: int
    """of a batch, padding too: more are no faster"""
    of_a_pass: int
    """tokens that take as long as a pass costs besides them"""


class Batch(NamedTuple):
    """Texts that go through the model together."""

    rows: list[int]
    """which of the window"""
    ids: NDArray[np.int64]
    """(n, longest), zeros behind a text's end"""
    lengths: NDArray[np.int64]
    """(n,), tokens of each"""


def as_texts(texts: Any) -> Iterable[str]:
    """Return what can be iterated over; of what it yields `windows` takes care.

    Raises:
        TypeError: nothing can, or what comes are names (of columns, or keys), or texts in no order of the caller's.
    """
    kind = type(texts).__name__
    if isinstance(texts, Mapping):
        raise TypeError(f"texts: expected strings, got a {kind}, which yields its keys; its .values() may be meant")
    if hasattr(texts, "columns"):
        raise TypeError(f"texts: expected strings, got a {kind}, which is a table; one of its columns may be meant")
    if isinstance(texts, set | frozenset):
        raise TypeError(f"texts: expected strings in an order, by which their embeddings are known, got a {kind}")
    if isinstance(texts, bytes | bytearray) or not hasattr(type(texts), "__iter__") or getattr(texts, "shape", 1) == ():
        raise TypeError(f"texts: expected strings, got {kind}")
    return texts  # type: ignore[no-any-return]


def windows(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield texts `size` at a time.

    Raises:
        TypeError: one is not a string; the windows before its own have been yielded.
        ValueError: likewise, one is not Unicode: it cannot be tokenized.
    """
    source = iter(texts)
    first = 0
    while window := list(islice(source, size)):
        for index, text in enumerate(window, first):
            if not isinstance(text, str):
                raise TypeError(f"texts: expected strings, got {type(text).__name__} at index {index}")
            if fault := lone_surrogate(text):
                raise ValueError(f"texts: expected Unicode, got {fault} of the text at index {index}")
        yield window
        first += len(window)


def lone_surrogate(text: str) -> str | None:
    """Return which one makes a string no Unicode text, so that tokenizers and files do not take it, and where it is."""
    if text.isascii():  # which costs nothing to know
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"a lone surrogate, {text[error.start]!r}, as character {error.start:,}"
    return None


def ahead(items: Iterable[T], work: Callable[[T], R]) -> Generator[R, None, None]:
    """Yield `work` of each item, that of the next one being done in a thread meanwhile.

    Items are taken in the caller's thread. What taking one, or its work, raises is raised when its turn has come. The
    thread has ended when the iterator has, or was closed.

    Raises:
        RuntimeError: asked to go on in a forked child, which has not the thread that it would wait for.
    """
    source, process = iter(items), os.getpid()
    with ThreadPoolExecutor(1, "frazil-ahead") as pool:

        def begin() -> Future[R] | None:
            try:
                item = next(source)
            except StopIteration:
                return None
            except Exception as error:
                failed: Future[R] = Future()
                failed.set_exception(error)
                return failed
            return pool.submit(work, item)

        current = begin()
        while current is not None:
            if os.getpid() != process:
                raise RuntimeError("a stream goes on in the process that began it, not in a forked child")
            result = current.result()
            current = begin()
            yield result


def batches(tokens: Sequence[Sequence[int]], cost: Cost, most_texts: int | None, pad: int) -> list[Batch]:
    """Cut texts into batches, those of many tokens first, so that memory does not grow later.

    Args:
        tokens: of each text, at least one.
        cost: no batch has more tokens than it says, unless it is one text alone.
        most_texts: so many are a batch, whatever they cost; None: as many as cost least.
        pad: the token behind a text's end.
    """
    lengths = [len(row) for row in tokens]
    order = sorted(range(len(tokens)), key=lambda row: -lengths[row])
    if most_texts is None:
        cuts = _cuts([lengths[row] for row in order], cost)
    else:
        cuts = [(first, min(first + most_texts, len(order))) for first in range(0, len(order), most_texts)]
    return [_batch(tokens, order[first:stop], pad) for first, stop in cuts]


def _cuts(lengths: Sequence[int], cost: Cost) -> list[tuple[int, int]]:
    """Cut descending lengths where the sum of padded tokens and passes is least; shortest paths over the places."""
    count = len(lengths)
    least: list[float] = [0.0] + [float("inf")] * count
    before = [0] * (count + 1)
    for first, length in enumerate(lengths):
        base = least[first] + cost.of_a_pass
        most = cost.most_tokens // length if length else count
        for stop in range(first + 1, min(count, first + max(1, most)) + 1):
            total = base + length * (stop - first)
            if total < least[stop]:
                least[stop], before[stop] = total, first
    cuts = []
    stop = count
    while stop:
        cuts.append((before[stop], stop))
        stop = before[stop]
    return cuts[::-1]


def _batch(tokens: Sequence[Sequence[int]], rows: list[int], pad: int) -> Batch:
    lengths = np.array([len(tokens[row]) for row in rows])
    ids = np.full((len(rows), lengths.max()), pad, np.int64)
    flat: list[Any] = [token for row in rows for token in tokens[row]]
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = flat
    return Batch(rows, ids, lengths)
