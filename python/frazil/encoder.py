"""`Encoder`: texts into float embeddings, thin over transformers; the same vectors as sentence-transformers gives."""

from __future__ import annotations

import importlib.util
import math
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from frazil._arrays import as_count
from frazil._batches import Batch, Cost, ahead, as_texts, batches, windows
from frazil._model_files import find_model, loading, read_configs
from frazil._presets import ARCTIC

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from frazil.codec import Codec
    from frazil.metric import Metric

__all__ = ["Encoder"]

_MAX_TOKENS = 512  # arctic's
_WINDOW = 4096  # texts that are sorted by length: more save 1% of padding at most
# On CPUs batches of 512 to 2,048 tokens are fastest: the layers' states stay in the caches; on one core of Zen 3 a pass
# of MiniLM costs what 30 tokens do. Other devices: as many tokens as sentence-transformers' 32 texts of 512.
_CPU, _DEVICE = Cost(1024, 32), Cost(16_384, 1024)
_WRAPPED_BATCH = 32  # texts; the default of SentenceTransformer.encode


class Encoder:
    """A BERT-like text encoder: tokens, transformer, CLS or mean pooling, L2 normalization.

    Pooling, prompts, maximum length and lower-casing are read from the model's sentence-transformers configs. A model
    without them gets those of a well-known model, if its name is one's (docs/encoding.md has a table), else what
    sentence-transformers does: mean pooling, no prompts; with a warning, unless `pooling` is given.

    Args:
        model: Hugging Face hub id, or local folder. One in the hub's cache is used as it is; the hub is not asked. Or a
            `SentenceTransformer`, which then does the encoding itself, whatever its modules: only `prompts` may be
            given with it, and its embeddings are normalized. Models with a route for each kind of text take theirs.
        device: "cpu", "cuda", "cuda:1", "mps" …; None: a GPU if torch has one, else the CPU.
        dtype: type that the model computes in, torch's or its name: a floating-point one of 16 bits or more, e.g.
            "bfloat16"; or, on a CPU, "int8": linear layers' weights and inputs are rounded to 8 bits, which is faster
            and less exact (docs/encoding.md has both). None: float32.
        revision: branch, tag or commit on the hub; None: the main branch.
        max_tokens: longer texts are truncated to this many tokens, or to the model's own limit if that is lower.
        pooling: "cls" or "mean"; None: as the model's configs say.
        prompts: the texts put before a "query" and a "document"; None: as the model's configs say.

    Attributes:
        name: the model as given.
        folder: where its files lie.
        dimensions: length of an embedding.
        max_tokens, pooling, prompts, device, dtype: what is used, the model's configs read; max_tokens is None for a
            wrapped model that takes texts of any length.

    Raises:
        ImportError: torch or transformers is not installed.
        TypeError: the model is none of these, `max_tokens` is not an integer, or `prompts` not texts by their names.
        OSError: the model is no local folder, not in the hub's cache, and the hub does not give it, or does not answer
            within 5 seconds.
        ValueError: the model is of a kind that is not done here (other pooling, other modules, not an encoder), lacks
            weights, or its files are damaged; or `device`, `dtype`, `max_tokens` or `pooling` is not a possible one.
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
        self.device = _as_device(device)
        self.dtype = _as_dtype(dtype, self.device)
        if pooling not in ("cls", "mean", None):
            raise ValueError(f"pooling: expected 'cls' or 'mean', got {pooling!r}")
        max_tokens = as_count(max_tokens, "max_tokens", 2**31)

        self.name = str(model)
        self.folder = find_model(model, revision)
        configs = read_configs(self.folder, self.name)
        if not (pooling or configs.pooling):
            warnings.warn(f"{self.name} does not say how it pools; mean is assumed, unless pooling= says", stacklevel=2)
        self.pooling = pooling or configs.pooling or "mean"
        self.prompts = _as_prompts(configs.prompts if prompts is None else prompts)

        self._model = _load(configs.transformer, self.device, self.dtype)
        with loading(configs.transformer):
            self._tokenizer = AutoTokenizer.from_pretrained(configs.transformer)
        self._lower_case = configs.lower_case
        self.dimensions: int = self._model.config.hidden_size
        # RoBERTa's kin count positions from one past the padding's
        first = getattr(getattr(self._model, "embeddings", None), "padding_idx", -1) + 1
        positions = getattr(self._model.config, "max_position_embeddings", max_tokens) - first
        limits = (max_tokens, configs.max_tokens or max_tokens, int(self._tokenizer.model_max_length), positions)
        self.max_tokens: int | None = min(limits)
        self._tokenize([""])  # sets its truncation, which several threads cannot do at once

    def _describe(self, model: Any, prompts: Mapping[str, str] | None) -> None:
        """Take the attributes from a SentenceTransformer."""
        import torch

        name = getattr(model.model_card_data, "base_model", None) or type(model).__name__
        self.name, self.folder = str(name), Path(str(name))
        self.device = model.device
        self.dtype = next((weights.dtype for weights in model.parameters()), torch.float32)  # some have no weights
        self.prompts = _as_prompts(model.prompts if prompts is None else prompts)
        self.pooling = "its own"
        limit = model.max_seq_length
        self.max_tokens = None if limit is None or math.isinf(limit) else int(limit)
        renamed = getattr(model, "get_embedding_dimension", None)  # what newer versions call it
        told = (renamed or model.get_sentence_embedding_dimension)()
        self.dimensions = len(model.encode("", show_progress_bar=False)) if told is None else int(told)

    def encode_query(
        self, texts: str | Sequence[str], batch_size: int | None = None, show_progress_bar: bool | None = None
    ) -> NDArray[np.float32]:
        """Encode texts that ask: the model's prompt "query", if it has one, goes before each.

        Args:
            texts: one text, or many.
            batch_size: texts in one pass through the model, which are those of nearly one length; None: as many as are
                fastest, by the number of their tokens.
            show_progress_bar: None: only when the work is long and stderr is a terminal.

        Returns:
            float32 (n, dimensions), each row of unit norm; (dimensions,) for a single text. What a text is encoded with
            changes its embedding by float32's rounding alone, some 1e-7 a value; with dtype "int8" by more.

        Raises:
            TypeError: something among `texts` is not a string, or `texts` is a table, a dict or a set, not a sequence;
                or `batch_size` is not an integer.
            ValueError: something among `texts` is not Unicode (a lone surrogate), or `batch_size` is less than 1.
        """
        return self._encode(texts, "query", batch_size, show_progress_bar, self._packer(None))

    @overload
    def encode_document(
        self,
        texts: str | Sequence[str],
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        codec: None = None,
        refine: bool | Metric = False,
    ) -> NDArray[np.float32]: ...

    @overload
    def encode_document(
        self,
        texts: str | Sequence[str],
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        codec: Codec,
        refine: bool | Metric = False,
    ) -> NDArray[np.uint8]: ...

    def encode_document(
        self,
        texts: str | Sequence[str],
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        codec: Codec | None = None,
        refine: bool | Metric = False,
    ) -> NDArray[Any]:
        """Encode texts that answer, as `encode_query` does those that ask.

        The prompt before each is the first that the model has of "document", "passage" and "corpus".

        Args:
            texts: one text, or many.
            batch_size: as for `encode_query`.
            show_progress_bar: as for `encode_query`.
            codec: pack the embeddings as they come, so that no more than 4,096 are ever held as floats.
            refine: as for `Codec.pack`.

        Returns:
            As `encode_query`; with a codec uint8 (n, row_bytes), what `codec.pack` makes of the embeddings, or
            (row_bytes,) for a single text.

        Raises:
            TypeError: something among `texts` is not a string, or `texts` is a table, a dict or a set, not a sequence;
                `batch_size` is not an integer, or `codec` not a `Codec`.
            ValueError: something among `texts` is not Unicode (a lone surrogate), `batch_size` is less than 1, the
                codec takes more dimensions than the model has, or `refine` is given without a codec.
        """
        return self._encode(texts, "document", batch_size, show_progress_bar, self._packer(codec, refine))

    @overload
    def stream_document(
        self,
        texts: Iterable[str],
        batch_size: int | None = None,
        *,
        window: int = _WINDOW,
        progress: Callable[[int], object] | None = None,
        codec: None = None,
        refine: bool | Metric = False,
    ) -> Generator[NDArray[np.float32], None, None]: ...

    @overload
    def stream_document(
        self,
        texts: Iterable[str],
        batch_size: int | None = None,
        *,
        window: int = _WINDOW,
        progress: Callable[[int], object] | None = None,
        codec: Codec,
        refine: bool | Metric = False,
    ) -> Generator[NDArray[np.uint8], None, None]: ...

    def stream_document(
        self,
        texts: Iterable[str],
        batch_size: int | None = None,
        *,
        window: int = _WINDOW,
        progress: Callable[[int], object] | None = None,
        codec: Codec | None = None,
        refine: bool | Metric = False,
    ) -> Generator[NDArray[Any], None, None]:
        """Encode however many texts that answer, a window at a time, in memory that does not grow with their number.

        While the model works on a window, a thread tokenizes the next one, and cuts it into batches of nearly one
        length. Texts are taken in the caller's thread, at most one window before they are encoded. The thread ends
        with the iterator: when all is done, an error was raised, or `close()` was called.

        Args:
            texts: any iterable of texts, a generator for example.
            batch_size: as for `encode_query`.
            window: texts that are sorted by length, and yielded, together: more need less padding.
            progress: called, after each pass through the model, with the number of texts in it.
            codec: pack the embeddings, as for `encode_document`.
            refine: as for `Codec.pack`.

        Yields:
            In the order of the texts, for each window float32 (m, dimensions) or, with a codec, uint8 (m, row_bytes); m
            is `window`, but for the last.

        Raises:
            TypeError: `texts` is one text, a table, a dict or a set; `batch_size` or `window` is not an integer, or
                `codec` not a `Codec`.
            ValueError: `batch_size` or `window` is less than 1, the codec takes more dimensions than the model has, or
                `refine` is given without a codec.
            Exception: whatever taking a text raises; TypeError or ValueError if one is not a string or not Unicode (a
                lone surrogate). The windows before have come.
        """
        if isinstance(texts, str):
            raise TypeError("texts: expected an iterable of texts, got one text; encode_document takes it")
        size = as_count(window, "window", sys.maxsize)
        finish = self._packer(codec, refine)
        embedded = self._embedded(as_texts(texts), "document", _as_batch_size(batch_size), size, progress)

        def stream() -> Generator[NDArray[Any], None, None]:
            with closing(embedded):
                for embeddings in embedded:
                    yield finish(embeddings)

        return stream()

    def _prompt(self, kind: str) -> str:
        names = ("query",) if kind == "query" else ("document", "passage", "corpus")
        return next((self.prompts[name] for name in names if name in self.prompts), "")

    def _packer(self, codec: Codec | None, refine: bool | Metric = False) -> Callable[[torch.Tensor], NDArray[Any]]:
        """Return what makes the answer of a window's embeddings."""
        from frazil.codec import Codec

        if codec is None:
            if refine:
                raise ValueError(
                    f"refine: it is codes that are refined: expected a codec, too, or False; got {refine!r}"
                )
            return lambda embeddings: embeddings.cpu().numpy()
        if not isinstance(codec, Codec):
            raise TypeError(f"codec: expected a frazil.Codec, got {type(codec).__name__}")
        if codec.input_dim > self.dimensions:
            raise ValueError(
                f"codec: {codec!r} takes {codec.input_dim:,} dimensions, {self.name} has {self.dimensions:,}"
            )
        can_pack_there = refine is False and importlib.util.find_spec("triton") is not None

        def pack(embeddings: torch.Tensor) -> NDArray[Any]:
            if can_pack_there and embeddings.is_cuda:  # so that codes alone leave the GPU
                codes: Any = codec.pack(embeddings)
                return codes.cpu().numpy()  # type: ignore[no-any-return]
            return codec.pack(embeddings.cpu(), refine=refine)

        return pack

    def _encode(
        self,
        texts: str | Sequence[str],
        kind: str,
        batch_size: int | None,
        show_progress_bar: bool | None,
        finish: Callable[[torch.Tensor], NDArray[Any]],
    ) -> NDArray[Any]:
        import torch
        from tqdm.auto import tqdm

        inputs = [texts] if isinstance(texts, str) else list(as_texts(texts))
        for _ in windows(inputs, _WINDOW):
            pass  # before anything is encoded: all of them must be texts
        size = _as_batch_size(batch_size)
        none = finish(torch.empty((0, self.dimensions)))
        found = np.empty((len(inputs), none.shape[1]), none.dtype)
        hide = None if show_progress_bar is None else not show_progress_bar  # None: unless stderr is a terminal
        with tqdm(total=len(inputs), unit="text", disable=hide, delay=2 if hide is None else 0) as bar:
            done = 0
            with closing(self._embedded(inputs, kind, size, _WINDOW, bar.update)) as embedded:
                for embeddings in embedded:
                    found[done : done + len(embeddings)] = finish(embeddings)
                    done += len(embeddings)
        return found[0] if isinstance(texts, str) else found

    def _embedded(
        self,
        texts: Iterable[str],
        kind: str,
        batch_size: int | None,
        window: int,
        progress: Callable[[int], object] | None,
    ) -> Generator[torch.Tensor, None, None]:
        """Yield each window's embeddings, float32 (m, dimensions) on the device."""
        import torch

        progress, prompt = progress or (lambda _: None), self._prompt(kind)
        if self._wrapped is not None:  # it tokenizes for itself
            # What newer versions have, which tells the model what kind of text it is
            encode = getattr(self._wrapped, f"encode_{kind}", self._wrapped.encode)
            for some in windows(texts, window):
                found = encode(
                    some,
                    prompt=prompt,
                    batch_size=batch_size or _WRAPPED_BATCH,
                    show_progress_bar=False,
                    convert_to_tensor=True,
                    normalize_embeddings=True,
                )
                progress(len(some))
                yield found.float()
            return
        cost = _CPU if self.device.type == "cpu" else _DEVICE
        pad = self._tokenizer.pad_token_id or 0

        def prepare(some: list[str]) -> list[Batch]:
            return batches(self._tokenize([prompt + text for text in some]), cost, batch_size, pad)

        with closing(ahead(windows(texts, window), prepare)) as prepared:
            for parts in prepared:
                embeddings = torch.empty((sum(len(part.rows) for part in parts), self.dimensions), device=self.device)
                for part in parts:
                    embeddings[part.rows] = self._forward(part)
                    progress(len(part.rows))
                yield embeddings

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if self._lower_case:
            texts = [text.lower() for text in texts]
        wanted = {"return_attention_mask": False, "return_token_type_ids": False}
        found: list[list[int]] = self._tokenizer(texts, truncation=True, max_length=self.max_tokens, **wanted)[
            "input_ids"
        ]
        return found

    def _forward(self, batch: Batch) -> torch.Tensor:
        """Return one batch's embeddings, float32 (n, dimensions)."""
        import torch

        ids = torch.from_numpy(batch.ids).to(self.device)
        lengths = torch.from_numpy(batch.lengths).to(self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        with torch.inference_mode():
            states = self._model(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
            if self.pooling == "cls":
                pooled = states[:, 0]
            else:
                pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
            return torch.nn.functional.normalize(pooled, dim=1)


def _as_batch_size(batch_size: int | None) -> int | None:
    return None if batch_size is None else as_count(batch_size, "batch_size", 2**31)


def _as_prompts(prompts: Any) -> dict[str, str]:
    """Return prompts by their names; configs may say null for none."""
    if not isinstance(prompts, Mapping) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise TypeError(f'prompts: expected texts by their names, such as {{"query": "…"}}, got {prompts!r}')
    return {name: text or "" for name, text in prompts.items()}


def _is_sentence_transformer(model: Any) -> bool:
    """Tell whether a model is one, without importing sentence_transformers: if nobody has, it is none."""
    kind = getattr(sys.modules.get("sentence_transformers"), "SentenceTransformer", None)
    return kind is not None and isinstance(model, kind)


def _load(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """Return transformers' model without the pooling head, which nothing here reads; all else must be there."""
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    with loading(folder):
        config = AutoConfig.from_pretrained(folder)
    if config.is_encoder_decoder:
        raise ValueError(f"{folder}: encoder-decoder models are not supported")
    verbosity = logging.get_verbosity()
    logging.set_verbosity(40)  # errors only: a pooling head among the weights would be reported as unexpected
    try:
        with loading(folder):
            try:
                model, info = AutoModel.from_pretrained(folder, output_loading_info=True, add_pooling_layer=False)
            except TypeError:  # an architecture without that head
                model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    finally:
        logging.set_verbosity(verbosity)
    if info["missing_keys"]:
        raise ValueError(f"{folder}: weights are missing, {min(info['missing_keys'])!r} among them")
    model = model.to(device=device, dtype=torch.float32 if dtype == torch.int8 else dtype).eval()
    if dtype == torch.int8:
        from frazil._int8 import quantize_linears

        quantize_linears(model)
    return model


def _as_device(device: str | torch.device | None) -> torch.device:
    import torch

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        probe = torch.zeros(1, device=device)
        probe.item()  # "meta" has tensors, but no values
        return probe.device
    except (RuntimeError, AssertionError, TypeError) as error:  # AssertionError: torch was built without CUDA
        raise ValueError(f"device: {device!r} cannot be used: {str(error).partition(chr(10))[0]}") from None


def _as_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    import torch

    found = torch.float32 if dtype is None else getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not (
        (found.is_floating_point and found.itemsize > 1) or found == torch.int8  # floats of 8 bits are for storage
    ):
        wanted = "a floating-point type of 16 bits or more such as 'float32' or 'bfloat16', or 'int8'"
        raise ValueError(f"dtype: expected {wanted}, got {dtype!r}")
    if found == torch.int8 and device.type != "cpu":
        raise ValueError(f"dtype: int8 is for CPUs, the device is {device}; a 16-bit type is fast there")
    return found
