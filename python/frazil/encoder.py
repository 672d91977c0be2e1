"""`Encoder`: texts into float embeddings, thin over transformers; the same vectors as sentence-transformers gives."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil._model_files import find_model, read_configs
from frazil._presets import ARCTIC

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

__all__ = ["Encoder"]

_MAX_TOKENS = 512  # arctic's
_BLOCK = 16_384  # texts tokenized and sorted at a time: a million texts' tokens, as Python integers, would fill memory


class Encoder:
    """A BERT-like text encoder: tokens, transformer, CLS or mean pooling, L2 normalization.

    Pooling, prompts, maximum length and lower-casing are read from the model's sentence-transformers configs. A model
    without them gets those of a well-known model, if its name is one's, else what
    sentence-transformers does: mean pooling, no prompts; with a warning, unless `pooling` is given.

    Args:
        model: Hugging Face hub id, or local folder. One in the hub's cache is used as it is; the hub is not asked. Or a
            `SentenceTransformer`, which then does the encoding itself, whatever its modules: only `prompts` may be
            given with it, and its embeddings are normalized.
        device: "cpu", "cuda", "cuda:1", "mps" …; None: a GPU if torch has one, else the CPU.
        dtype: floating-point type that the model computes in, torch's or its name, e.g. "bfloat16"; None: float32.
        revision: branch, tag or commit on the hub; None: the main branch.
        max_tokens: longer texts are truncated to this many tokens, or to the model's own limit if that is lower.
        pooling: "cls" or "mean"; None: as the model's configs say.
        prompts: the texts put before a "query" and a "document"; None: as the model's configs say.

    Attributes:
        name: the model as given.
        folder: where its files lie.
        dimensions: length of an embedding.
        max_tokens, pooling, prompts, device, dtype: what is used, the model's configs read.

    Raises:
        ImportError: torch or transformers is not installed.
        TypeError: the model is none of these.
        OSError: the model is no local folder, not in the hub's cache, and the hub does not give it, or does not answer
            within 5 seconds.
        ValueError: the model is of a kind that is not done here (other pooling, other modules, not an encoder), lacks
            weights, or `device`, `dtype`, `max_tokens` or `pooling` is not a possible one.
    """

    def __init__(
        self,
        model: str | Path | SentenceTransformer = ARCTIC,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        *,
        revision: str | None = None,
        max_tokens: int = _MAX_TOKENS,
        pooling: str | None = None,
        prompts: Mapping[str, str] | None = None,
    ) -> None:
        try:
            import torch  # noqa: F401  only here, so that importing this module stays cheap
            from transformers import AutoTokenizer
        except ImportError as error:
            raise ImportError(f"Encoder needs torch, transformers: pip install 'frazil[encoder]' ({error})") from error
        self._wrapped: Any = model if _is_sentence_transformer(model) else None
        if self._wrapped is not None:
            if (device, dtype, revision, pooling, max_tokens) != (None, None, None, None, _MAX_TOKENS):
                raise ValueError("a SentenceTransformer has its own device, dtype, revision, max_tokens and pooling")
            self._describe(self._wrapped, prompts)
            return
        if not isinstance(model, str | Path):
            wanted = "a hub id, a folder or a SentenceTransformer"
            raise TypeError(f"model: expected {wanted}, got {type(model).__name__}")
        self.device, self.dtype = _as_device(device), _as_dtype(dtype)
        if pooling not in ("cls", "mean", None):
            raise ValueError(f"pooling: expected 'cls' or 'mean', got {pooling!r}")
        if max_tokens < 1:
            raise ValueError(f"max_tokens: expected 1 or more, got {max_tokens}")

        self.name = str(model)
        self.folder = find_model(model, revision)
        configs = read_configs(self.folder, self.name)
        if not (pooling or configs.pooling):
            warnings.warn(f"{self.name} does not say how it pools; mean is assumed, unless pooling= says", stacklevel=2)
        self.pooling = pooling or configs.pooling or "mean"
        self.prompts = dict(configs.prompts if prompts is None else prompts)

        self._model = _load(configs.transformer).to(device=self.device, dtype=self.dtype).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(configs.transformer)
        self._lower_case = configs.lower_case
        self.dimensions: int = self._model.config.hidden_size
        # RoBERTa's kin count positions from one past the padding's
        first = getattr(getattr(self._model, "embeddings", None), "padding_idx", -1) + 1
        positions = getattr(self._model.config, "max_position_embeddings", max_tokens) - first
        limits = (max_tokens, configs.max_tokens or max_tokens, int(self._tokenizer.model_max_length), positions)
        self.max_tokens = min(limits)

    def _describe(self, model: Any, prompts: Mapping[str, str] | None) -> None:
        """Take the attributes from a SentenceTransformer."""
        name = getattr(model.model_card_data, "base_model", None) or type(model).__name__
        self.name, self.folder = str(name), Path(str(name))
        self.device, self.dtype = model.device, next(model.parameters()).dtype
        self.prompts = dict(model.prompts if prompts is None else prompts)
        self.pooling = "its own"
        self.max_tokens = int(model.max_seq_length or _MAX_TOKENS)
        renamed = getattr(model, "get_embedding_dimension", None)  # what newer versions call it
        self.dimensions = int((renamed or model.get_sentence_embedding_dimension)())

    def encode_query(
        self, texts: str | Sequence[str], batch_size: int = 32, show_progress_bar: bool | None = None
    ) -> NDArray[np.float32]:
        """Encode texts that ask: the model's prompt "query", if it has one, goes before each.

        Args:
            texts: one text, or many.
            batch_size: texts in one pass through the model; they are batched by length.
            show_progress_bar: None: only when the work is long and stderr is a terminal.

        Returns:
            float32 (n, dimensions), each row of unit norm; (dimensions,) for a single text.

        Raises:
            TypeError: something among `texts` is not a string.
            ValueError: `batch_size` is less than 1.
        """
        return self._encode(texts, self.prompts.get("query", ""), batch_size, show_progress_bar)

    def encode_document(
        self, texts: str | Sequence[str], batch_size: int = 32, show_progress_bar: bool | None = None
    ) -> NDArray[np.float32]:
        """Encode texts that answer, as `encode_query` does those that ask.

        The prompt before each is the first that the model has of "document", "passage" and "corpus".
        """
        prompts = (self.prompts[name] for name in ("document", "passage", "corpus") if name in self.prompts)
        return self._encode(texts, next(prompts, ""), batch_size, show_progress_bar)

    def _encode(
        self, texts: str | Sequence[str], prompt: str, batch_size: int, show_progress_bar: bool | None
    ) -> NDArray[np.float32]:
        from tqdm.auto import tqdm

        inputs = [texts] if isinstance(texts, str) else list(texts)
        for index, text in enumerate(inputs):
            if not isinstance(text, str):
                raise TypeError(f"texts: expected strings, got {type(text).__name__} at index {index}")
        if batch_size < 1:
            raise ValueError(f"batch_size: expected 1 or more, got {batch_size}")
        if self._wrapped is not None:
            found = self._wrapped.encode(
                inputs,
                prompt=prompt,
                batch_size=batch_size,
                show_progress_bar=bool(show_progress_bar),
                convert_to_numpy=True,
                normalize_embeddings=True,
            )
            embeddings = np.asarray(found, np.float32).reshape(len(inputs), self.dimensions)
            return embeddings[0] if isinstance(texts, str) else embeddings
        embeddings = np.empty((len(inputs), self.dimensions), np.float32)
        hide = None if show_progress_bar is None else not show_progress_bar  # None: unless stderr is a terminal
        with tqdm(total=len(inputs), unit="text", disable=hide, delay=2 if hide is None else 0) as progress:
            for rows, tokens in self._batches([prompt + text for text in inputs], batch_size):
                embeddings[rows] = self._forward(tokens)
                progress.update(len(rows))
        return embeddings[0] if isinstance(texts, str) else embeddings

    def _batches(self, texts: list[str], batch_size: int) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Yield each batch's row numbers and token ids; long texts first, with their like, so that padding is short."""
        for start in range(0, len(texts), _BLOCK):
            block = texts[start : start + _BLOCK]
            if self._lower_case:
                block = [text.lower() for text in block]
            tokens: list[list[int]] = self._tokenizer(block, truncation=True, max_length=self.max_tokens)["input_ids"]
            order = sorted(range(len(block)), key=lambda row: -len(tokens[row]))
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                yield [start + row for row in rows], [tokens[row] for row in rows]

    def _forward(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Return one batch's embeddings, float32 (n, dimensions)."""
        import torch

        lengths = torch.tensor([len(row) for row in tokens])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        ids = torch.full(mask.shape, self._tokenizer.pad_token_id or 0)
        ids[mask] = torch.tensor([token for row in tokens for token in row])
        ids, mask = ids.to(self.device), mask.to(self.device)
        with torch.inference_mode():
            states = self._model(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
            if self.pooling == "cls":
                pooled = states[:, 0]
            else:
                pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            embeddings: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return embeddings


def _is_sentence_transformer(model: Any) -> bool:
    """Tell whether a model is one, without importing sentence_transformers: if nobody has, it is none."""
    kind = getattr(sys.modules.get("sentence_transformers"), "SentenceTransformer", None)
    return kind is not None and isinstance(model, kind)


def _load(folder: Path) -> Any:
    """Return transformers' model without the pooling head, which nothing here reads; all else must be there."""
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    if AutoConfig.from_pretrained(folder).is_encoder_decoder:
        raise ValueError(f"{folder}: encoder-decoder models are not supported")
    verbosity = logging.get_verbosity()
    logging.set_verbosity(40)  # errors only: a pooling head among the weights would be reported as unexpected
    try:
        try:
            model, info = AutoModel.from_pretrained(folder, output_loading_info=True, add_pooling_layer=False)
        except TypeError:  # an architecture without that head
            model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    finally:
        logging.set_verbosity(verbosity)
    if info["missing_keys"]:
        raise ValueError(f"{folder}: weights are missing, {min(info['missing_keys'])!r} among them")
    return model


def _as_device(device: str | torch.device | None) -> torch.device:
    import torch

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:  # AssertionError: torch was built without CUDA
        raise ValueError(f"device: {device!r} cannot be used: {str(error).partition(chr(10))[0]}") from None


def _as_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    import torch

    found = torch.float32 if dtype is None else getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype: expected a floating-point type such as 'float32' or 'bfloat16', got {dtype!r}")
    return found
