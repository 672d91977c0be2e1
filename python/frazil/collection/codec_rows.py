"""Codecs as rows of the catalog's table `codecs`, and as JSON among a Parquet file's metadata."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil.codec import Codec
from frazil.metric import Metric
from frazil.projection import Projection

__all__ = ["codec_of_row", "codec_of_text", "row_of_codec", "text_of_codec"]


def row_of_codec(kind: str, codec: Codec, refine: bool | Metric) -> tuple[Any, ...]:
    """Return dim, bits, limit, spacing, projection, refine, metric and the checksum (docs/format.md §8)."""
    projection = None if codec.projection is None else _as_bytes(codec.projection.matrix)
    metric = _as_bytes(refine.matrix) if isinstance(refine, Metric) else None
    refined = int(metric is not None or bool(refine))
    row = codec.dim, codec.bits, codec.limit, codec.spacing, projection, refined, metric
    return (*row, _checksum(kind, row))


def codec_of_row(kind: str, row: Sequence[Any]) -> tuple[Codec, bool | Metric]:
    """Return the codec and the refinement that a row means.

    Raises:
        ValueError, TypeError, OverflowError: it means none.
    """
    *columns, crc32 = row
    dim, bits, limit, spacing, projection, refine, metric = columns
    kinds = int, int, float, str, bytes | None, int, bytes | None
    for value, wanted in zip(columns, kinds, strict=True):
        if not isinstance(value, wanted):
            raise TypeError(f"a {type(value).__name__} where there is none")
    if refine not in (0, 1) or (metric is not None and not refine):
        raise ValueError(f"refine is {refine!r}")
    codec = Codec(dim, bits, limit, spacing)  # before anything is measured by dim
    if crc32 != _checksum(kind, columns):
        raise ValueError(f"the checksum of {kind!r} is wrong")
    return _codec(codec, projection), bool(refine) if metric is None else Metric(_as_matrix(metric, dim, "metric"))


def text_of_codec(codec: Codec, refine: bool | Metric) -> str:
    """Return JSON: dim, bits, limit, spacing; and what there is of projection, refine (true) and metric."""
    dim, bits, limit, spacing, projection, refined, metric, _ = row_of_codec("", codec, refine)
    told: dict[str, Any] = {"dim": dim, "bits": bits, "limit": limit, "spacing": spacing}
    if refined:
        told["refine"] = True
    for name, matrix in (("projection", projection), ("metric", metric)):
        if matrix is not None:
            told[name] = base64.b64encode(matrix).decode("ascii")
    return json.dumps(told)


def codec_of_text(text: str | bytes) -> tuple[Codec, bool | Metric]:
    """Return the codec and the refinement that JSON means.

    Raises:
        ValueError, TypeError: it means none.
    """
    told = json.loads(text)
    if not isinstance(told, dict):
        raise TypeError(f"expected an object, got {str(told)[:80]}")
    matrices = {name: told.pop(name, None) for name in ("projection", "metric")}
    decoded = {name: None if one is None else base64.b64decode(one, validate=True) for name, one in matrices.items()}
    refine = told.pop("refine", False)
    if not isinstance(refine, bool):
        raise TypeError(f"refine: expected true or false, got {refine!r}")
    codec = _codec(Codec(**told), decoded["projection"])
    if decoded["metric"] is None:
        return codec, refine
    return codec, Metric(_as_matrix(decoded["metric"], codec.dim, "metric"))


def _codec(codec: Codec, projection: bytes | None) -> Codec:
    if projection is None:
        return codec
    return replace(codec, projection=Projection(_as_matrix(projection, codec.dim, "projection")))


def _as_bytes(matrix: NDArray[np.float32]) -> bytes:
    return matrix.astype("<f4").tobytes()


def _as_matrix(data: bytes, dim: int, name: str) -> NDArray[np.float32]:
    """Return float32 (d, dim): d is what the bytes suffice for."""
    if len(data) % (4 * dim):
        raise ValueError(f"{name}: {len(data):,} bytes are no rows of {dim} numbers")
    return np.frombuffer(data, "<f4").reshape(-1, dim).astype(np.float32)


def _checksum(kind: str, columns: Sequence[Any]) -> int:
    dim, bits, limit, spacing, projection, refine, metric = columns
    if not math.isfinite(limit):
        raise ValueError(f"limit is {limit}")
    crc32 = zlib.crc32(struct.pack("<IIdI", dim, bits, limit, refine), zlib.crc32(kind.encode()))
    for data in (spacing.encode(), projection, metric):
        crc32 = zlib.crc32(data or b"", crc32)
    return crc32
