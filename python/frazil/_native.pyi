"""The C++ extension. Private: `Codec` and `frazil.kernels` are its public face."""

from typing import Any

from numpy import bool_, float32, int64, uint8
from numpy.typing import NDArray

__version__: str

def check_codec(dim: int, bits: int, limit: float, normal: bool) -> None: ...
def pack(
    x: NDArray[Any],
    bfloat16: bool,
    dim: int,
    bits: int,
    limit: float,
    normal: bool,
    refine: bool,
    matrix: NDArray[float32] | None,
    out: NDArray[uint8] | None,
    threads: int | None,
) -> NDArray[uint8]: ...
def output_codes(out: NDArray[uint8] | None, shape: list[int], x: NDArray[Any]) -> NDArray[uint8]: ...
def unpack(
    codes: NDArray[uint8],
    dim: int,
    bits: int,
    limit: float,
    normal: bool,
    out: NDArray[float32] | None,
    threads: int | None,
) -> NDArray[float32]: ...
def score(
    queries: NDArray[Any],
    bfloat16: bool,
    codes: NDArray[uint8],
    dim: int,
    bits: int,
    limit: float,
    normal: bool,
    query_bits: int,
    out: NDArray[float32] | None,
    threads: int | None,
) -> NDArray[float32]: ...
def search(
    queries: NDArray[Any],
    bfloat16: bool,
    codes: NDArray[uint8],
    dim: int,
    bits: int,
    limit: float,
    normal: bool,
    k: int,
    query_bits: int,
    allow_mask: NDArray[bool_] | None,
    allow_rows: NDArray[int64] | None,
    threads: int | None,
) -> tuple[NDArray[float32], NDArray[int64]]: ...
def build_sketch(
    codes: NDArray[uint8],
    dim: int,
    bits: int,
    limit: float,
    normal: bool,
    out: NDArray[uint8] | None,
    threads: int | None,
) -> NDArray[uint8]: ...
def sketch_size(dim: int, bits: int, rows: int) -> int: ...
def read_sketch(data: NDArray[uint8]) -> tuple[int, int, int]: ...
def search_by_sketch(
    queries: NDArray[Any],
    bfloat16: bool,
    codes: NDArray[uint8],
    data: NDArray[uint8],
    width: float,
    dim: int,
    bits: int,
    limit: float,
    normal: bool,
    k: int,
    query_bits: int,
    allow_mask: NDArray[bool_] | None,
    allow_rows: NDArray[int64] | None,
    threads: int | None,
) -> tuple[NDArray[float32], NDArray[int64]]: ...
def compiled_kernels() -> list[str]: ...
def runnable_kernels() -> list[str]: ...
def active_kernels() -> str: ...
def force_kernels(name: str | None) -> str | None: ...
def kernel_calls() -> dict[str, int]: ...
def kernel_slots() -> dict[str, dict[str, str]]: ...
def cpu_name() -> str: ...
def default_threads() -> int: ...
def read_bytes(bytes: NDArray[uint8], threads: int) -> int: ...
def read_rows(rows: NDArray[uint8], kept: int, threads: int) -> int: ...
def dot_peak(rounds: int, threads: int) -> int: ...
