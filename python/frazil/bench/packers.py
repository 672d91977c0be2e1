"""The recipe of the model's authors in other hands: what `Codec.pack` is measured beside."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil import ARCTIC_INT4, Codec, use_kernels
from frazil.bench.blocks import Floats
from frazil.bench.cases import WrongAnswer, wide_vectors
from frazil.bench.options import Options
from frazil.bench.progress import progress
from frazil.bench.results import Line, Table, failure
from frazil.bench.timing import Contestant, interleave, median

__all__ = ["PACKERS", "Packer", "measure_packers"]

_BLOCK = 4096  # rows at a time of NumPy's: what lies between the steps stays in the caches
_DIFFERENT = 1e-4  # of the bytes at most: values at rounding boundaries, since these work in float32

Codes = NDArray[np.uint8]
Pack = Callable[[Floats, Codes], object]


@dataclass(frozen=True)
class Packer:
    """Another way to 4-bit codes."""

    name: str
    package: str
    """what to install"""
    build: Callable[[Codec], Pack]
    """-> what packs rows (n, d >= dim) into codes (n, row_bytes); raises ImportError without the package"""


def _numpy(codec: Codec) -> Pack:
    limit, step = np.float32(codec.limit), np.float32(codec.step)

    def pack(x: Floats, out: Codes) -> None:
        for start in range(0, len(x), _BLOCK):
            some = x[start : start + _BLOCK, : codec.dim]
            unit = some / np.linalg.norm(some, axis=1, keepdims=True)
            codes = np.rint((np.clip(unit, -limit, limit) + limit) / step).astype(np.uint8)
            np.bitwise_or(codes[:, 0::2] << 4, codes[:, 1::2], out=out[start : start + _BLOCK])

    return pack


def _steps(codec: Codec) -> Pack:
    """In the two steps of the authors' notebook: NumPy cuts and normalizes all rows, a compiled loop packs pairs."""
    numba: Any = importlib.import_module("numba")
    dim, limit, step = codec.dim, codec.limit, codec.step

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
    def quantize(unit: Any, out: Any) -> None:
        for row in range(len(unit)):
            for j in range(dim // 2):
                high = round(min(max(unit[row, 2 * j] + limit, 0.0), 2 * limit) / step)
                low = round(min(max(unit[row, 2 * j + 1] + limit, 0.0), 2 * limit) / step)
                out[row, j] = high << 4 | low

    def pack(x: Floats, out: Codes) -> None:
        cut = x[:, :dim]
        quantize(cut / np.linalg.norm(cut, axis=1, keepdims=True), out)

    return pack


def _one_loop(codec: Codec) -> Pack:
    """Row by row in one pass, compiled, additions in any order: what there is to gain without C++."""
    numba: Any = importlib.import_module("numba")
    dim, limit, step = codec.dim, np.float32(codec.limit), np.float32(codec.step)

    @numba.njit(fastmath=True)  # type: ignore[untyped-decorator, unused-ignore]
    def pack(x: Any, out: Any) -> None:
        codes = np.empty(dim, np.uint8)
        for row in range(len(x)):
            squares = np.float32(0)
            for i in range(dim):
                squares += x[row, i] * x[row, i]
            scale = np.float32(1) / np.sqrt(squares)
            for i in range(dim):
                clipped = min(max(x[row, i] * scale, -limit), limit)
                codes[i] = np.uint8(np.rint((clipped + limit) / step))
            for j in range(dim // 2):
                out[row, j] = codes[2 * j] << 4 | codes[2 * j + 1]

    compiled: Pack = pack
    return compiled


PACKERS = (
    Packer("NumPy recipe", "numpy", _numpy),
    Packer("NumPy and numba recipe", "numba", _steps),
    Packer("one loop in numba", "numba", _one_loop),
)


def measure_packers(options: Options, show: Callable[[Table], None]) -> list[str]:
    """Measure packing 768 dimensions into 128 bytes, one thread.

    Args:
        options: rows, repeats and the set that frazil runs on, the first one.
        show: is given the table.

    Returns:
        The packers that did not run, and why.

    Raises:
        WrongAnswer: codes were not those of `scalar`, or of another packer not nearly.
    """
    codec = ARCTIC_INT4
    x = wide_vectors(options.seed, options.pack_rows, np.float32)
    halves = x.astype(np.float16)
    contestants = [
        _contestant("frazil float32", codec, x, lambda x, out: codec.pack(x, out=out, threads=1), options.sets[0]),
        _contestant("frazil float16", codec, halves, lambda x, out: codec.pack(x, out=out, threads=1), options.sets[0]),
    ]
    names, missing = ["frazil float32", "frazil float16"], []
    for packer in PACKERS:
        try:
            contestants.append(_contestant(packer.name, codec, x, packer.build(codec)))
            names.append(packer.name)
        except ImportError as error:
            missing.append(failure(packer.name, error, packer.package))
    with progress("peers-pack", len(names) * (options.repeats + 1)) as step:
        seconds = interleave(contestants, options.repeats, turn=step)
    lines = [
        Line(
            name,
            1,
            times,
            rows=len(x),
            work=len(x),
            limit=names[0],
            of_limit=median([ours / theirs for ours, theirs in zip(seconds[0], times, strict=True)]),
            bytes_per_vector=codec.row_bytes,
        )
        for name, times in zip(names, seconds, strict=True)
    ]
    title = f"pack, {len(x):,} rows of {x.shape[1]} dimensions, one thread each"
    show(Table("peers-pack", title, "rows", lines))
    return missing


def _contestant(name: str, codec: Codec, x: NDArray[Any], pack: Pack, kernels: str | None = None) -> Contestant:
    with use_kernels("scalar"):
        expected = codec.pack(x)
    out = np.empty_like(expected)

    def check(_: object) -> None:
        wrong = np.count_nonzero(out != expected)
        if wrong > (0 if kernels else _DIFFERENT * out.size):
            raise WrongAnswer(f"peers-pack: {name}: {wrong:,} of {out.size:,} bytes are not those of the reference")

    return Contestant(lambda: pack(x, out), check, lambda: out.fill(0), kernels)
