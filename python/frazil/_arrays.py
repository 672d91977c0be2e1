"""What callers hand in, made into the NumPy arrays that the extension takes. Types are checked here, shapes in C++."""

from __future__ import annotations

import operator
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOATS = "float32, float16, float64 or (from torch or ml_dtypes) bfloat16"
_FLOAT_TYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.float64))
_UINT8, _INT64 = np.dtype(np.uint8), np.dtype(np.int64)


def _is_tensor(x: Any) -> bool:
    """Tell whether x is a torch tensor, without importing torch: if nobody has, it is none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def _tensor_to_numpy(x: Any, name: str) -> tuple[NDArray[Any], bool]:
    """View a torch CPU tensor as an array; bfloat16, which NumPy lacks, as its 16-bit patterns."""
    if x.device.type != "cpu":
        raise TypeError(f"{name}: expected a tensor on the CPU, got one on {x.device}; call .cpu() first")
    torch = sys.modules["torch"]
    x = x.detach().resolve_conj().resolve_neg()
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).numpy(), True
    return x.numpy(), False


def as_floats(x: Any, name: str) -> tuple[NDArray[Any], bool]:
    """Return floats as an array in native byte order, and whether it holds the bit patterns of bfloat16 numbers."""
    bfloat16 = False
    if _is_tensor(x):
        x, bfloat16 = _tensor_to_numpy(x, name)
    elif not isinstance(x, np.ndarray):
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise ValueError(f"{name}: expected an array of shape (n, d) or (d,); {error}") from None
    if x.dtype in _FLOAT_TYPES:
        return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("=")), bfloat16
    if bfloat16:
        return x, True
    if x.dtype.name == "bfloat16":
        return x.view(np.uint16), True
    if x.dtype.kind == "f" and x.dtype.newbyteorder("=") in _FLOAT_TYPES:
        return x.astype(x.dtype.newbyteorder("=")), False
    raise TypeError(f"{name}: expected {_FLOATS}, got {x.dtype}")


def as_codes(codes: Any) -> NDArray[np.uint8]:
    """Return codes as a uint8 array."""
    array = _tensor_to_numpy(codes, "codes")[0] if _is_tensor(codes) else codes
    if not isinstance(array, np.ndarray):
        raise TypeError(f"codes: expected a uint8 array, got {type(codes).__name__}")
    if array.dtype != _UINT8:
        raise TypeError(f"codes: expected uint8, got {array.dtype}")
    return array


def as_allow(allow: Any) -> tuple[NDArray[np.bool_] | None, NDArray[np.int64] | None]:
    """Return the mask or the row numbers that `allow` gives, the other being None."""
    if allow is None:
        return None, None
    if _is_tensor(allow):
        allow, _ = _tensor_to_numpy(allow, "allow")
    array = np.asarray(allow)
    if array.dtype == np.bool_:
        return array, None
    if array.size == 0 and array.ndim == 1:
        return None, np.empty(0, _INT64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"allow: expected a bool mask or integer row numbers, got {array.dtype}")
    if array.dtype == np.uint64:
        array = np.minimum(array, np.uint64(np.iinfo(np.int64).max))  # out of range either way
    return None, array.astype(_INT64)


def as_index(value: Any, name: str) -> int:
    """Return an integer of any integer type as an int."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__} {value!r}") from None


def as_small(value: Any, name: str) -> int:
    """Return an integer that the extension can judge; one of more than 32 bits is out of any range."""
    number = as_index(value, name)
    if abs(number) >= 2**31:
        raise ValueError(f"{name}: out of range, got {number}")
    return number


def as_count(value: Any, name: str, most: int) -> int:
    """Return a number of things of which `most` are as good as more."""
    return max(min(as_index(value, name), most), -most)


def as_threads(threads: Any) -> int | None:
    """Return a number of threads, or None to leave it to the extension."""
    return None if threads is None else as_count(threads, "threads", 1 << 16)
