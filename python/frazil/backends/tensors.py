"""What callers hand in on a GPU, checked: the same errors as `frazil._arrays` and the extension raise for arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from frazil._arrays import as_allow, as_codes

if TYPE_CHECKING:
    from frazil.codec import Codec

__all__ = ["as_allowed_rows", "as_code_rows", "as_float_rows", "is_on_gpu", "must_be_beside", "not_finite", "output"]

_FLOATS = (torch.float32, torch.float16, torch.float64, torch.bfloat16)


def shape_text(tensor: Any) -> str:
    """Return a shape as NumPy writes it."""
    return str(tuple(tensor.shape))


def must_be_beside(name: str, given: Any, of: str, tensor: torch.Tensor) -> None:
    """Raise a TypeError unless what is given is a tensor on the GPU where `tensor`, called `of`, is."""
    if not is_on_gpu(given) or given.device != tensor.device:
        got = f"one on {given.device}" if isinstance(given, torch.Tensor) else type(given).__name__
        raise TypeError(f"{name}: expected a tensor on {tensor.device}, where {of} are, got {got}")


def as_float_rows(x: torch.Tensor, name: str, dim: int) -> tuple[torch.Tensor, bool]:
    """Return floats as rows (n, d), d >= dim, and whether x is a single one."""
    if x.layout != torch.strided or x.dtype not in _FLOATS:
        got = x.dtype if x.layout == torch.strided else x.layout
        raise TypeError(
            f"{name}: expected float32, float16, float64 or bfloat16, got {str(got).removeprefix('torch.')}"
        )
    if x.ndim not in (1, 2):
        raise ValueError(f"{name}: expected shape (n, d) or (d,), got {shape_text(x)}")
    if x.shape[-1] < dim:
        raise ValueError(f"{name}: expected at least {dim} columns, got shape {shape_text(x)}")
    x = x.detach().resolve_neg()
    return (x[None] if x.ndim == 1 else x), x.ndim == 1


def as_code_rows(codec: Codec, codes: Any, *, may_be_single: bool) -> Any:
    """Return codes, whose rows' bytes are adjacent: tensors on a GPU, and pinned ones, as such, others as arrays."""
    if is_on_gpu(codes):
        if codes.layout != torch.strided or codes.dtype != torch.uint8:
            got = codes.dtype if codes.layout == torch.strided else codes.layout
            raise TypeError(f"codes: expected uint8, got {str(got).removeprefix('torch.')}")
    else:
        array = as_codes(codes)
        codes = codes if isinstance(codes, torch.Tensor) and codes.is_pinned() else array
    if codes.ndim != 2 and not (may_be_single and codes.ndim == 1):
        wanted = "(n, row_bytes)" + (" or (row_bytes,)" if may_be_single else "")
        raise ValueError(f"codes: expected shape {wanted}, got {shape_text(codes)}")
    if codes.shape[-1] != codec.row_bytes:
        what = f"(n, {codec.row_bytes}) for {codec.dim} dimensions of {codec.bits} bits"
        raise ValueError(f"codes: expected shape {what}, got {shape_text(codes)}")
    if isinstance(codes, torch.Tensor) and codes.stride(-1) != 1:
        codes = codes.contiguous()
    return codes


def is_on_gpu(x: Any) -> bool:
    """Tell whether x is a tensor that kernels of this backend read where it is."""
    return isinstance(x, torch.Tensor) and x.is_cuda


def as_allowed_rows(allow: Any, n: int, device: torch.device) -> torch.Tensor | None:
    """Return the row numbers that `allow` gives, ascending, each once, int64 on `device`; None: all rows.

    Raises:
        ValueError: wrong shape, or a row number that is out of range.
        TypeError: wrong dtype.
    """
    if allow is None:
        return None
    if is_on_gpu(allow):
        given = allow.detach().to(device)
        if given.dtype != torch.bool:
            if given.dtype.is_floating_point or given.dtype.is_complex:
                got = str(given.dtype).removeprefix("torch.")
                raise TypeError(f"allow: expected a bool mask or integer row numbers, got {got}")
            given = given.to(torch.int64)
    else:
        mask, rows = as_allow(allow)
        given = torch.from_numpy(np.array(rows if mask is None else mask)).to(device)  # a copy that may be written to
    if given.dtype == torch.bool:
        if tuple(given.shape) != (n,):
            raise ValueError(f"allow: expected a mask of shape ({n},), got {shape_text(given)}")
        found: torch.Tensor = given.nonzero().flatten()
        return found
    if given.ndim != 1:
        raise ValueError(f"allow: expected row numbers of shape (m,), got {shape_text(given)}")
    wrong = given[(given < 0) | (given >= n)]
    if len(wrong):
        raise ValueError(f"allow: expected row numbers from 0, below {n}, got {int(wrong[0])}")
    distinct: torch.Tensor = torch.unique(given)  # in order
    return distinct


def output(out: Any, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, *inputs: Any) -> torch.Tensor:
    """Return `out`, checked, or a new tensor."""
    if out is None:
        return torch.empty(shape, dtype=dtype, device=device)
    name = str(dtype).removeprefix("torch.")
    wanted = f"out: expected a {name} tensor of shape {shape} on {device}, contiguous, got "
    if not isinstance(out, torch.Tensor):
        raise TypeError(f"{wanted}{type(out)}")
    if out.dtype != dtype:
        raise TypeError(f"{wanted}dtype {str(out.dtype).removeprefix('torch.')}")
    if out.device != device:
        raise TypeError(f"{wanted}one on {out.device}")
    if tuple(out.shape) != shape:
        raise ValueError(f"{wanted}shape {shape_text(out)}")
    if not out.is_contiguous():
        raise ValueError(f"{wanted}a tensor that is not contiguous")
    low, high = _extent(out)
    for tensor in inputs:
        if isinstance(tensor, torch.Tensor) and tensor.device == device:
            first, last = _extent(tensor)
            if first < high and low < last:
                raise ValueError("out: expected memory of its own, got a tensor that overlaps the input")
    return out.detach()


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """Return the addresses that a tensor may touch: [first, second)."""
    if tensor.numel() == 0:
        return tensor.data_ptr(), tensor.data_ptr()
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (reach + 1) * tensor.element_size()


def not_finite(name: str, row: int) -> ValueError:
    """Return the error about a row that is not finite."""
    return ValueError(f"{name}: row {row} holds NaN or infinity; every value that is kept must be finite")
