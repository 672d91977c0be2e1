"""A model's files: where they lie, and what their sentence-transformers configs say. Does not need torch."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frazil._presets import find_preset

__all__ = ["HUB_SECONDS", "ModelConfigs", "files_state", "find_model", "known_dimensions", "loading", "read_configs"]

HUB_SECONDS = 5.0


@dataclass(frozen=True)
class ModelConfigs:
    """What matters here of a model's sentence-transformers configs; None where they do not say."""

    transformer: Path
    """the folder of the transformer and its tokenizer"""
    pooling: str | None = None
    prompts: dict[str, str] = field(default_factory=dict)
    max_tokens: int | None = None
    lower_case: bool = False


def find_model(model: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a model's files: a local one, else the hub cache's, else downloaded.

    Raises:
        OSError: there is none, or the hub does not answer within `HUB_SECONDS`.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if not isinstance(model, str) or model.count("/") > 1 or model.startswith((".", "~", "/")):
            raise FileNotFoundError(f"model: there is no folder {str(model)!r}")
        folder = _find_in_hub(model, revision)
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise FileNotFoundError(f"model: {str(folder)!r} holds no model (no config.json)")
    return folder


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Say of what is wrong with a model's files whose they are: transformers lets through what its readers raise.

    Raises:
        ValueError: they are damaged, or do not belong together.
    """
    try:
        yield
    except (ImportError, MemoryError, OSError):  # which say what is missing
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{folder}: cannot be loaded: {type(error).__name__}: {reason}") from error


def files_state(folder: Path) -> str:
    """Return a hash that changes when the files in a model's folder do: their names, sizes or times."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    state = [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def read_configs(folder: Path, name: str) -> ModelConfigs:
    """Read the sentence-transformers configs in `folder`, in the shapes that its versions 1 to 6 write.

    What they do not say is the preset's of a well-known model, which is known by `name` or `folder`.

    Raises:
        ValueError: the model is of a kind that `Encoder` does not do, or a file is damaged.
    """
    preset = find_preset(name, folder)
    transformer, pooling = _read_modules(folder) if (folder / "modules.json").is_file() else (folder, None)
    path = folder / "config_sentence_transformers.json"
    prompts = _read(path).get("prompts")
    if not isinstance(prompts, dict | None) or not all(
        isinstance(text, str | None) for text in (prompts or {}).values()
    ):
        raise ValueError(f"{path}: prompts: expected texts by their names, got {prompts!r}")
    if preset is not None and prompts is None:
        prompts = dict(preset.prompts)

    found = sorted(transformer.glob("sentence_*_config.json"))  # sentence_bert_config.json, rarely another
    config = _read(found[0]) if found else {}
    if config.get("transformer_task", "feature-extraction") != "feature-extraction":
        raise ValueError(f"{folder}: transformer_task {config['transformer_task']!r} is not supported")
    most = config.get("max_seq_length")
    if most is not None and (not isinstance(most, int) or most < 1):
        raise ValueError(f"{found[0]}: max_seq_length: expected an integer of 1 or more, got {most!r}")
    return ModelConfigs(
        transformer,
        pooling or (None if preset is None else preset.pooling),
        prompts or {},
        most,
        config.get("do_lower_case", False),
    )


def known_dimensions(model: str) -> int | None:
    """Return how wide a model's embeddings are, as far as a folder's config tells or a well-known name; else None."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        try:
            found = _read(read_configs(folder, model).transformer / "config.json").get("hidden_size")
        except ValueError:  # a model whose last modules are others
            return None
        return found if isinstance(found, int) else None
    preset = find_preset(model)
    return None if preset is None else preset.dimensions


def _read_modules(folder: Path) -> tuple[Path, str | None]:
    """Return the transformer's folder and the pooling mode that modules.json leads to."""
    transformer, pooling = folder, None
    path = folder / "modules.json"
    for module in _read(path, list):
        if not isinstance(module, dict) or not all(isinstance(module.get(name), str) for name in ("type", "path")):
            raise ValueError(f"{path}: expected modules with a type and a path, got {module!r}")
        kind = module["type"].rpartition(".")[2]
        if kind == "Transformer":
            transformer = folder / module["path"]
        elif kind == "Pooling":
            pooling = _read_pooling(folder / module["path"] / "config.json")
        elif kind != "Normalize":
            raise ValueError(f"{folder}: module {kind!r} is not supported, only Transformer, Pooling and Normalize are")
    return transformer, pooling


def _read_pooling(path: Path) -> str:
    """Return the pooling mode; versions before 6 write a flag for each mode, version 6 a name or a list of names."""
    config = _read(path)
    modes = config.get("pooling_mode") or [key for key in config if key.startswith("pooling_mode_") and config[key]]
    mode: str = modes if isinstance(modes, str) else "+".join(modes)
    mode = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}.get(mode, mode)
    if mode not in ("cls", "mean"):
        raise ValueError(f"{path}: pooling {mode!r} is not supported, only CLS and mean are")
    if not config.get("include_prompt", True):
        raise ValueError(f"{path}: pooling that leaves out the prompt (include_prompt) is not supported")
    return mode


def _read(path: Path, kind: type[list[Any] | dict[str, Any]] = dict) -> Any:
    """Return the object, or the list, of a JSON file; an empty one where there is no file."""
    if not path.is_file():
        return kind()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(found, kind):
        raise ValueError(f"{path}: expected a JSON {'list' if kind is list else 'object'}, got {str(found)[:80]}")
    return found


def _find_in_hub(model: str, revision: str | None) -> Path:
    """Return the folder of a hub id: from the cache without a question to the hub, if all that is needed is there."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise ImportError(f"models of the hub need huggingface_hub: pip install 'frazil[encoder]' ({error})") from error

    cached = None
    try:
        cached = Path(snapshot_download(model, revision=revision, allow_patterns="config.json", local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    except HFValidationError:
        raise FileNotFoundError(f"model: {model!r} is neither a folder nor a hub id") from None
    if cached and not any(path.suffix in (".safetensors", ".bin") for path in cached.rglob("*")):
        cached = None
    if cached and (cached / "modules.json").is_file():
        return cached
    try:
        safe = any(name.endswith(".safetensors") for name in _ask_hub(model, revision))
        wanted = ["*.json", "*.txt", "*.model", "*.safetensors" if safe else "*.bin"]
        unwanted = ["onnx/*", "openvino/*"]
        return Path(snapshot_download(model, revision=revision, allow_patterns=wanted, ignore_patterns=unwanted))
    except Exception as error:
        if cached:  # by transformers alone, which fetches no sentence-transformers configs
            return cached
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise OSError(f"model: {model!r} is no folder, not in the hub's cache, and the hub failed: {reason}") from error


def _ask_hub(model: str, revision: str | None) -> list[str]:
    """Return the names of the model's files on the hub; in a thread, since looking up a host name has no time limit."""
    from huggingface_hub import HfApi

    answer: list[list[str] | Exception] = []

    def ask() -> None:
        try:
            info = HfApi().model_info(model, revision=revision, timeout=HUB_SECONDS)
            answer.append([file.rfilename for file in info.siblings or []])
        except Exception as error:
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    if not answer:
        raise TimeoutError(f"no answer within {HUB_SECONDS:g} seconds")
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]
