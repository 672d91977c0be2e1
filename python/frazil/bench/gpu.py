"""`frazil bench --device cuda`: every operation on a GPU, as a part of the copies and products that it can do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from frazil import Hits
from frazil.bench.cases import K, WrongAnswer, wide_vectors
from frazil.bench.data import Vectors
from frazil.bench.measure import Probe, with_limit
from frazil.bench.options import Options
from frazil.bench.progress import progress
from frazil.bench.results import Line, Table, failure
from frazil.bench.timing import Contestant, interleave

__all__ = ["Cuda", "Gpu", "measure_gpu"]

_SAMPLE = 8  # queries that the CPU answers, too
_COPIED = 1 << 30  # bytes that the probe of copies copies: more than any cache holds
_MATRIX = 8192  # rows and columns of what the probe of products multiplies


class Gpu(Protocol):
    """What the bench needs of a GPU; tests have one that there is not."""

    name: str
    """the device, its driver, and the versions of what runs on it"""

    def put(self, array: NDArray[Any]) -> Any:
        """Return a tensor on the GPU."""

    def pin(self, array: NDArray[Any]) -> Any:
        """Return a tensor in memory of the host that the GPU copies from by itself."""

    def wait(self) -> None:
        """Return when all that was begun is done."""


class Cuda:
    """The current CUDA GPU.

    Raises:
        ImportError: without torch or triton.
        ValueError: there is no GPU.
    """

    def __init__(self) -> None:
        try:
            import torch
            import triton
        except ImportError as error:
            raise ImportError(f"--device cuda needs torch, triton: pip install 'frazil[gpu]' ({error})") from error
        if not torch.cuda.is_available():
            raise ValueError(f"device: expected one that torch {torch.__version__} can use, but it finds no CUDA GPU")
        self._torch: Any = torch
        found = self._torch.cuda.get_device_properties(self._torch.cuda.current_device())
        self.name = (
            f"{found.name}, {found.total_memory / 1e9:.0f} GB, {found.multi_processor_count} processors, "
            f"driver {_driver()}, CUDA {self._torch.version.cuda}, torch {torch.__version__}, "
            f"triton {triton.__version__}"
        )

    def put(self, array: NDArray[Any]) -> Any:
        """Return a copy on the GPU."""
        return self._torch.from_numpy(array).cuda()

    def pin(self, array: NDArray[Any]) -> Any:
        """Return a copy in pinned memory."""
        return self._torch.from_numpy(array).pin_memory()

    def wait(self) -> None:
        """Wait for all kernels and copies."""
        self._torch.cuda.synchronize()


def _driver() -> str:
    """Return the driver's version, which its own tool knows."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        said = ""
    return next(iter(said.split()), "unknown")


@dataclass(frozen=True)
class _Operation:
    """Something to measure, with what bounds it."""

    key: str
    title: str
    unit: str
    contestant: Contestant
    line: Line
    limits: tuple[Probe, ...]


def measure_gpu(gpu: Gpu, options: Options, vectors: Vectors, show: Callable[[Table], None]) -> list[str]:
    """Measure limits, searches and packing, then other libraries' searches.

    Args:
        gpu: where to measure.
        options: rows, queries and repeats.
        vectors: what to search.
        show: is given each table.

    Returns:
        What did not run, and why: other libraries, and operations that failed; the others are measured all the same.

    Raises:
        WrongAnswer: the GPU answered otherwise than the CPU. All else has been measured by then.
    """
    from frazil.bench.gpu_peers import measure_gpu_peers

    probes = copy, products, upload = _copy_probe(gpu), _products_probe(gpu), _upload_probe(gpu)
    with progress("limits", len(probes) * (options.repeats + 1)) as step:
        seconds = interleave([probe.contestant for probe in probes], options.repeats, turn=step)
    lines = [probe.line(times) for probe, times in zip(probes, seconds, strict=True)]
    show(Table("limits", "Limits of this GPU", "limits", [], lines))
    made = _Operations(gpu, options, vectors)
    all_codes = vectors.codes(max(options.rows, options.batch_rows))
    codes, batch = all_codes[: options.rows], all_codes[: options.batch_rows]
    makers: dict[str, Callable[[str], _Operation]] = {
        "gpu-single": lambda key: made.search(key, 1, gpu.put(codes), (copy,)),
        "gpu-batch": lambda key: made.search(key, options.queries, gpu.put(batch), (copy, products)),
        "gpu-streamed": lambda key: made.search(key, options.queries, gpu.pin(batch), (upload, products)),
        "gpu-pack-float32": lambda key: made.pack(key, np.float32, copy),
        "gpu-pack-float16": lambda key: made.pack(key, np.float16, copy),
    }
    wrong, failed = [], []
    for key, make in makers.items():
        try:
            show(_measure(make(key), options.repeats))
        except WrongAnswer as error:
            wrong.append(str(error))
            print(error, flush=True)
        except Exception as error:  # out of memory, say: no reason to lose what else can be measured
            failed.append(failure(key, error))
            print(failed[-1], flush=True)
    try:
        failed += measure_gpu_peers(gpu, options, vectors, show)
    except Exception as error:
        failed.append(failure("peers-gpu", error))
        print(failed[-1], flush=True)
    if wrong:
        raise WrongAnswer("; ".join(wrong))
    return failed


def waited(gpu: Gpu, call: Callable[[], Any]) -> Callable[[], Any]:
    """Return a call that ends when the GPU is done."""

    def run() -> Any:
        answer = call()
        gpu.wait()
        return answer

    return run


def _copy_probe(gpu: Gpu) -> Probe:
    """Copy from and to the GPU's own memory: bytes read and bytes written count."""
    source, target = gpu.put(np.ones(_COPIED, np.uint8)), gpu.put(np.zeros(_COPIED, np.uint8))
    return Probe("copy", 1, Contestant(waited(gpu, lambda: target.copy_(source))), bytes=2 * _COPIED)


def _upload_probe(gpu: Gpu) -> Probe:
    source, target = gpu.pin(np.ones(_COPIED, np.uint8)), gpu.put(np.zeros(_COPIED, np.uint8))
    run = waited(gpu, lambda: target.copy_(source, non_blocking=True))
    return Probe("copy from the host", 1, Contestant(run), bytes=_COPIED)


def _products_probe(gpu: Gpu) -> Probe:
    """Multiply int8 matrices, by the vendor's library."""
    import torch

    matrix = gpu.put(np.ones((_MATRIX, _MATRIX), np.int8))
    run = waited(gpu, lambda: torch._int_mm(matrix, matrix.T))
    return Probe("int8 matmul", 1, Contestant(run), products=_MATRIX**3)


@dataclass(frozen=True)
class _Operations:
    """Makes what is measured."""

    gpu: Gpu
    options: Options
    vectors: Vectors

    def search(self, key: str, count: int, codes: Any, limits: tuple[Probe, ...]) -> _Operation:
        """Search these codes, which are on the GPU or the host, for so many queries."""
        codec, queries = self.vectors.codec, self.vectors.queries(count)
        on_gpu = self.gpu.put(queries)
        sample = np.unique(np.linspace(0, count - 1, _SAMPLE).astype(np.int64))
        right = codec.search(queries[sample], self.vectors.codes(len(codes)), K)
        first: list[Hits] = []

        def check(hits: Hits) -> None:
            scores, rows = (tensor.cpu().numpy() for tensor in cast("tuple[Any, Any]", hits))
            first.append(Hits(scores, rows))
            same = np.array_equal(scores, first[0].scores) and np.array_equal(rows, first[0].rows)
            if not (same and np.array_equal(scores[sample], right.scores) and np.array_equal(rows[sample], right.rows)):
                raise WrongAnswer(f"{key}: not the answer of the CPU's kernels")

        n, row_bytes = codes.shape
        line = Line("triton", 1, [], n, n * count, n * row_bytes, n * count * codec.dim)
        counted = "one query" if count == 1 else f"{count:,} queries"
        where = ", codes in the host's memory" if key == "gpu-streamed" else ""
        title = f"search on the GPU, {counted}, {n:,} {self.vectors.name} rows, k={K}{where}"
        run = waited(self.gpu, lambda: codec.search(on_gpu, codes, K))
        return _Operation(key, title, "rows" if count == 1 else "pairs", Contestant(run, check), line, limits)

    def pack(self, key: str, dtype: type[np.floating[Any]], copy: Probe) -> _Operation:
        """Pack rows of 768 values. Counted are the bytes read of the dimensions kept, and those written."""
        codec = self.vectors.codec
        x = wide_vectors(self.options.seed, self.options.pack_rows, dtype)
        expected, on_gpu = codec.pack(x), self.gpu.put(x)
        out = self.gpu.put(np.empty_like(expected))

        def check(codes: Any) -> None:
            if not np.array_equal(codes.cpu().numpy(), expected):
                raise WrongAnswer(f"{key}: not the codes of the CPU's kernels")

        size = len(x) * (codec.dim * x.itemsize + codec.row_bytes)
        run = waited(self.gpu, lambda: codec.pack(on_gpu, out=out))
        title = f"pack on the GPU, {len(x):,} rows of {x.shape[1]} {np.dtype(dtype).name}"
        line = Line("triton", 1, [], len(x), len(x), size)
        return _Operation(key, title, "rows", Contestant(run, check, lambda: out.fill_(0)), line, (copy,))


def _measure(operation: _Operation, repeats: int) -> Table:
    probes = list(operation.limits)
    contestants = [*(probe.contestant for probe in probes), operation.contestant]
    with progress(operation.key, len(contestants) * (repeats + 1)) as step:
        *of_probes, seconds = interleave(contestants, repeats, turn=step)
    line = with_limit(operation.line, seconds, list(zip(probes, of_probes, strict=True)))
    lines = [probe.line(times) for probe, times in zip(probes, of_probes, strict=True)]
    return Table(operation.key, operation.title, operation.unit, [line], lines)
