"""`frazil eval`: NDCG@10 and recall@100 of a BEIR collection, in floats and by codes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frazil._files import load_array, new_array, whole_file
from frazil._model_files import files_state
from frazil._progress import counted
from frazil.codec import Codec
from frazil.metric import Metric
from frazil.projection import Projection
from frazil.quality.beir import Beir
from frazil.quality.nearest import nearest
from frazil.quality.report import Sample, report

if TYPE_CHECKING:
    from frazil.encoder import Encoder

__all__ = ["Case", "Result", "cases", "embeddings", "evaluate", "limit_warnings", "measures"]

_MEASURES = ("ndcg_cut.10", "recall.100")
_K = 100
_SAMPLED = 10_000  # documents
_AT_ONCE = 1024  # texts encoded between two writes


class Case(NamedTuple):
    """One way to search."""

    name: str
    dim: int
    codec: Codec | None
    """None: float32"""
    query_bits: int
    """of codes' queries"""
    refine: bool | Metric = False

    @property
    def row_bytes(self) -> int:
        """Bytes per vector."""
        return 4 * self.dim if self.codec is None else self.codec.row_bytes


@dataclass(frozen=True)
class Result:
    """What a case gave."""

    case: Case
    ndcg: NDArray[np.float64]
    """NDCG@10 of each query"""
    recall: NDArray[np.float64]
    """recall@100 of each query: of its documents with a grade above 0, the part among the first 100"""

    def loss(self, base: Result) -> str:
        """Return how far NDCG@10 is from another case's: the mean over queries, and 95% of what chance can do.

        A single query tells nothing of chance.
        """
        differences = self.ndcg - base.ndcg
        mean = f"{differences.mean():+.4f}"
        if len(differences) == 1:
            return mean
        return f"{mean} ±{1.96 * differences.std(ddof=1) / np.sqrt(len(differences)):.4f}"


def cases(documents: NDArray[Any], kept: int) -> list[Case]:
    """Return what is compared for embeddings (n, d), of whose dimensions codes keep `kept`."""
    dim = documents.shape[1]
    floats = [Case(f"float32, {d}d", d, None, 8) for d in dict.fromkeys((dim, kept))]
    eight, four = Codec(kept, 8), Codec(kept, 4)
    found = [
        *floats,
        Case(f"int8, {kept}d", kept, eight, 8),
        Case(f"int4, {kept}d", kept, four, 8),
        Case(f"int4, {kept}d, queries of 4 bits", kept, four, 4),
        Case(f"int4, {kept}d, refined", kept, four, 8, True),
        Case(
            f"int4, {kept}d, refined by a metric", kept, four, 8, Metric.fit(documents[_sampled(len(documents))], kept)
        ),
    ]
    if kept < dim:
        projected = Codec(kept, 4, projection=Projection.fit(documents[_sampled(len(documents))], kept))
        found.append(Case(f"int4, {dim}d projected to {kept}d, refined", kept, projected, 8, True))
    return found


def _sampled(count: int) -> NDArray[np.int64]:
    """Return the rows that limits are judged by, and metrics and projections learned from."""
    return np.sort(np.random.default_rng(0).choice(count, min(_SAMPLED, count), replace=False))


def embeddings(encoder: Encoder, texts: Sequence[str], kind: str, folder: Path) -> NDArray[np.float32]:
    """Encode texts, or find their embeddings in a folder of such, float32 (n, d), a memory map.

    What has been encoded when the process ends, however it ends, is not encoded again. Files that are damaged, or those
    of a model whose files have changed since, are as good as none.

    Args:
        encoder: the model.
        texts: what to encode, at least one.
        kind: "query" or "document".
        folder: where embeddings are kept, under a name made of the model's settings and all texts.
    """
    model = str(encoder.folder), files_state(encoder.folder), str(encoder.dtype)
    settings = [*model, encoder.prompts, encoder.pooling, encoder.max_tokens, kind]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for text in texts:
        digest.update(f"{len(text)} {text}".encode("utf-8", "surrogatepass"))
    path = folder / f"{digest.hexdigest()[:32]}.npy"
    shape = len(texts), encoder.dimensions
    if (kept := _kept(path, shape)) is not None:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    encode = encoder.encode_query if kind == "query" else encoder.encode_document
    parts = []
    with (
        counted(f"encoding, {kind}", 0, len(texts)) as advance,
        whole_file(path) as partial,
        new_array(partial, np.dtype(np.float32), shape) as append,
    ):
        for start in range(0, len(texts), _AT_ONCE):
            some = texts[start : start + _AT_ONCE]
            parts.append(path.with_name(f"{path.stem}-{start}-{len(some)}.npy"))
            append(_made(parts[-1], encode, some, encoder.dimensions))
            advance(len(some))
    for part in parts:
        part.unlink(missing_ok=True)
    return load_array(path)


def _kept(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Map the embeddings in a file; None if it is not there, or damaged."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        kept = load_array(path)
        if kept.shape == shape and kept.dtype == np.float32:
            return kept
    return None


def _made(
    path: Path, encode: Callable[..., NDArray[np.float32]], texts: Sequence[str], dimensions: int
) -> NDArray[np.float32]:
    """Return the embeddings in a file, or encode texts and keep them there: whole, so that two processes may do so."""
    if (kept := _kept(path, (len(texts), dimensions))) is not None:
        return kept
    made = encode(texts, show_progress_bar=False)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.save(file, made)
    return made


def evaluate(data: Beir, documents: NDArray[Any], queries: NDArray[Any], case: Case) -> Result:
    """Search for all queries, and measure the answers.

    Args:
        data: the judgements.
        documents: floats (n, d), the embeddings of `data.documents`.
        queries: floats (q, d), those of `data.queries`.
        case: how to search.

    Raises:
        ImportError: pytrec_eval is not installed.
    """
    k = min(_K + 1, len(documents))
    if case.codec is None:
        scores, rows = nearest(queries, documents, case.dim, k)
    else:
        codes = case.codec.pack(documents, refine=case.refine)
        scores, rows = case.codec.search(queries, codes, k, query_bits=case.query_bits)
    return Result(case, *measures(data, scores, rows))


def measures(
    data: Beir, scores: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return NDCG@10 and recall@100 of each query's answers, (q, k) of `data.documents`, by trec_eval's own code.

    A document with the id of its query is no answer, as in BEIR and MTEB.

    Raises:
        ImportError: pytrec_eval is not installed.
    """
    try:
        import pytrec_eval
    except ImportError as error:
        raise ImportError(f"metrics need pytrec-eval-terrier: pip install 'frazil[eval]' ({error})") from error
    run = {}
    for query, its_scores, its_rows in zip(data.query_ids, scores.tolist(), rows.tolist(), strict=True):
        answers = zip(its_scores, its_rows, strict=True)
        named = {data.document_ids[row]: score for score, row in answers if data.document_ids[row] != query}
        run[query] = dict(list(named.items())[:_K])
    found = pytrec_eval.RelevanceEvaluator(data.judgements, set(_MEASURES)).evaluate(run)
    ndcg, recall = (
        np.array([found[query][name.replace(".", "_")] for query in data.query_ids if query in found])
        for name in _MEASURES
    )
    return ndcg, recall


def limit_warnings(documents: NDArray[Any], all_cases: Sequence[Case]) -> list[str]:
    """Return what does not fit about the limits of the codecs that are compared."""
    rows = _sampled(len(documents))
    sample = Sample(documents[rows], documents[rows[:1]])
    codecs = dict.fromkeys(case.codec for case in all_cases if case.codec is not None)
    return [f"{codec!r}: {text}" for codec in codecs for text in report(codec, sample, ks=(1,)).warnings]
