"""Codes in pieces that the kernels search: where they lie on a GPU, or copied to it slice by slice from the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from frazil.backends.tensors import is_on_gpu

__all__ = ["Slice", "slices"]

SLICE_BYTES = 1 << 28
"""of codes that are copied to a GPU at a time: milliseconds of copying, beside which nothing else counts"""
SLICE_ROWS = 1 << 30
"""of codes that are searched at a time where they lie: keys hold numbers of 32 bits"""


@dataclass(frozen=True)
class Slice:
    """Rows to search. Its codes stay as they are until the next slice is asked for."""

    first: int
    """how many rows were in the slices before it"""
    count: int
    """rows searched"""
    codes: torch.Tensor
    """uint8 (rows, row_bytes) on the GPU"""
    picked: torch.Tensor | None
    """int64 (count,), which rows of `codes`; None: the first `count`"""


def slices(
    codes: torch.Tensor | NDArray[np.uint8], allowed: torch.Tensor | None, device: torch.device
) -> Iterator[Slice]:
    """Yield all rows, or those allowed.

    Args:
        codes: (n, row_bytes), a tensor on `device`, or an array or pinned tensor of the host.
        allowed: int64 (m,), ascending; None: all rows.
        device: where kernels run.
    """
    count = len(codes) if allowed is None else len(allowed)
    if isinstance(codes, torch.Tensor) and is_on_gpu(codes):
        for first in range(0, count, SLICE_ROWS):
            last = min(first + SLICE_ROWS, count)
            if allowed is None:
                yield Slice(first, last - first, codes[first:last], None)
            else:
                yield Slice(first, last - first, codes, allowed[first:last])
        return
    rows = None if allowed is None else allowed.cpu().numpy()
    step = max(1, SLICE_BYTES // codes.shape[1])
    bounds = [(first, min(first + step, count)) for first in range(0, count, step)]
    uploads = _Uploads(codes, rows, min(step, count), device)
    for number, (first, last) in enumerate(bounds):
        if number == 0:
            uploads.start(0, first, last)
        if number + 1 < len(bounds):  # while the kernels are busy with this one
            uploads.start(number + 1, *bounds[number + 1])
        yield Slice(first, last - first, uploads.wait(number, last - first), None)
        uploads.release(number)
    uploads.finish()


class _Uploads:
    """Two buffers on the GPU, used in turn: one is filled while the other is searched.

    Memory that is not pinned, and rows that lie apart, go through two pinned buffers of the host. Without CUDA (under
    Triton's interpreter) there are no streams to overlap, and all is done at once.
    """

    def __init__(
        self, codes: torch.Tensor | NDArray[np.uint8], rows: NDArray[np.int64] | None, most: int, device: torch.device
    ) -> None:
        self._overlap = device.type == "cuda"
        self._pinned = codes if isinstance(codes, torch.Tensor) and rows is None and codes.is_contiguous() else None
        self._codes, self._rows = codes.numpy() if isinstance(codes, torch.Tensor) else codes, rows
        shape = (most, codes.shape[1])
        if self._pinned is None:
            self._host = [torch.empty(shape, dtype=torch.uint8, pin_memory=self._overlap) for _ in range(2)]
        self._device = [torch.empty(shape, dtype=torch.uint8, device=device) for _ in range(2)]
        if self._overlap:
            cuda: Any = torch.cuda  # parts of which have no types
            self._copies, self._searches = cuda.Stream(device), cuda.current_stream(device)
            self._copies.wait_stream(self._searches)  # what used the buffers' memory before
            self._copied = [cuda.Event() for _ in range(2)]
            self._searched = [cuda.Event() for _ in range(2)]
            for buffer in self._device:
                buffer.record_stream(self._copies)  # nobody may have the memory while a copy is under way

    def start(self, number: int, first: int, last: int) -> None:
        """Begin to copy the rows of a slice, when the slice before the last one is done with its buffers."""
        turn = number % 2
        device = self._device[turn][: last - first]
        host = self._staged(turn, first, last) if self._pinned is None else self._pinned[first:last]
        if not self._overlap:
            device.copy_(host)
            return
        with torch.cuda.stream(self._copies):
            self._copies.wait_event(self._searched[turn])
            device.copy_(host, non_blocking=True)
            self._copied[turn].record(self._copies)

    def _staged(self, turn: int, first: int, last: int) -> torch.Tensor:
        """Copy rows to a pinned buffer."""
        host = self._host[turn][: last - first]
        if self._overlap:
            self._copied[turn].synchronize()  # what was in it before must have been read
        if self._rows is None:
            np.copyto(host.numpy(), self._codes[first:last])
        else:
            np.take(self._codes, self._rows[first:last], axis=0, out=host.numpy())
        return host

    def wait(self, number: int, count: int) -> torch.Tensor:
        """Return the codes of a slice; what is launched from now on comes after their copy."""
        if self._overlap:
            self._searches.wait_event(self._copied[number % 2])
        return self._device[number % 2][:count]

    def release(self, number: int) -> None:
        """Say that all that reads a slice has been launched."""
        if self._overlap:
            self._searched[number % 2].record(self._searches)

    def finish(self) -> None:
        """Wait until all has been copied: from then on the caller may write to the codes."""
        if self._overlap:
            self._copies.synchronize()
