"""Codecs as .npz files: docs/format.md §9."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frazil._files import whole_file
from frazil.projection import Projection

if TYPE_CHECKING:
    from frazil.codec import Codec

__all__ = ["load_codec", "save_codec"]

_VERSION = 1
_SCALARS = {"frazil_codec": "i", "dim": "i", "bits": "i", "limit": "f", "spacing": "U"}


def save_codec(codec: Codec, path: Path) -> None:
    """See `Codec.save`."""
    arrays: dict[str, Any] = {"frazil_codec": _VERSION, "dim": codec.dim, "bits": codec.bits, "limit": codec.limit}
    arrays["spacing"] = codec.spacing
    if codec.projection is not None:
        arrays["projection"] = codec.projection.matrix
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def load_codec(path: Path) -> dict[str, Any]:
    """Return the arguments of the codec that a file holds; see `Codec.load`."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (ValueError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: holds no codec of frazil's: {error}") from None
    version = found.get("frazil_codec")
    if version is not None and version.shape == () and version.dtype.kind == "i" and version > _VERSION:
        raise ValueError(f"{path}: is of format {version}; this frazil reads format {_VERSION}")
    wrong = [name for name, kind in _SCALARS.items() if name not in found or found[name].dtype.kind != kind]
    wrong += [name for name in _SCALARS if name in found and found[name].shape != ()]
    wrong += [name for name in found if name not in (*_SCALARS, "projection")]
    if wrong or version != _VERSION:
        raise ValueError(
            f"{path}: holds no codec of frazil's: {', '.join(wrong) or 'frazil_codec'} is not what it should be"
        )
    projection = found.get("projection")
    try:
        return {
            "dim": int(found["dim"]),
            "bits": int(found["bits"]),
            "limit": float(found["limit"]),
            "spacing": str(found["spacing"]),
            "projection": None if projection is None else Projection(projection),
        }
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
