"""Codecs as .npz files: docs/format.md §9."""

from __future__ import annotations

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
    # First what may be absent: damage of an entry in zip's directory can hide the next one, and no check sees that
    arrays: dict[str, Any] = {} if codec.projection is None else {"projection": codec.projection.matrix}
    arrays |= {"frazil_codec": _VERSION, "dim": codec.dim, "bits": codec.bits, "limit": codec.limit}
    arrays["spacing"] = codec.spacing
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def load_codec(kind: type[Codec], path: Path) -> Codec:
    """See `Codec.load`."""
    with path.open("rb") as opened:
        try:
            file = np.lib.npyio.NpzFile(opened, allow_pickle=False)
            found = {name: np.asarray(file[name]) for name in file.files}
        except Exception as error:  # zipfile raises what it likes: of damage, encryption, methods that it does not have
            raise ValueError(f"{path}: holds no codec of frazil's: {error or type(error).__name__}") from None
    version = found.get("frazil_codec")
    if version is not None and version.shape == () and version.dtype.kind == "i" and version > _VERSION:
        raise ValueError(f"{path}: is of format {version}; this frazil reads format {_VERSION}")
    wrong = [
        name
        for name, kind in _SCALARS.items()
        if name in found and (found[name].dtype.kind != kind or found[name].shape != ())
    ]
    if not wrong and version is not None and version != _VERSION:
        wrong = ["frazil_codec"]
    problems = {
        "missing": [name for name in _SCALARS if name not in found],
        "foreign": [name for name in found if name not in (*_SCALARS, "projection")],
        "not what it should be": wrong,
    }
    if any(problems.values()):
        told = "; ".join(f"{what}: {', '.join(names)}" for what, names in problems.items() if names)
        raise ValueError(f"{path}: holds no codec of frazil's: {told}")
    projection = found.get("projection")
    try:
        return kind(
            int(found["dim"]),
            int(found["bits"]),
            float(found["limit"]),
            str(found["spacing"]),
            None if projection is None else Projection(projection),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
