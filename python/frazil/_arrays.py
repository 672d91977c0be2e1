"""What callers hand in, made into the NumPy arrays that the extension takes. Types are checked here, shapes in C++."""

from __future__ import annotations

import operator
import sys
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOATS = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.float64))
_UINT8, _INT64 = np.dtype(np.uint8), np.dtype(np.int64)


def is_tensor(x: Any) -> bool:
    """Tell whether x is a torch tensor, without importing torch: if nobody has, it is none."""
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)  # None while another thread is importing torch
    return tensor is not None and isinstance(x, tensor)


def _is_bfloat16(x: Any) -> bool:
    return is_tensor(x) and x.dtype == sys.modules["torch"].bfloat16


def _to_numpy(x: Any, name: str, view: str | None = None) -> NDArray[Any]:
    """View a torch CPU tensor (as another type of torch's) or convert nested lists; arrays stay as they are."""
    if type(x) is np.ndarray:
        return x
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask; call .filled() or .compressed() first")
    if is_tensor(x) and x.device.type != "cpu":
        raise TypeError(f"{name}: expected a tensor on the CPU, got one on {x.device}")
    try:
        if is_tensor(x):
            x = x.detach().resolve_conj().resolve_neg()
            x = (x.view(getattr(sys.modules["torch"], view)) if view else x).numpy()
        return np.asarray(x)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{name}: expected an array; {error}") from None


def as_floats(x: Any, name: str) -> tuple[NDArray[Any], bool]:
    """Return floats as an array in native byte order, and whether it holds the bit patterns of bfloat16 numbers."""
    if _is_bfloat16(x):  # which NumPy does not have
        return _to_numpy(x, name, view="int16"), True
    array = _to_numpy(x, name)
    if array.dtype in _FLOATS:
        return array, False
    if array.dtype.name == "bfloat16":
        patterns = array.view(np.dtype(np.uint16).newbyteorder(array.dtype.byteorder))
        return patterns.astype(np.uint16, copy=False), True
    _refuse_objects(array, name)
    if array.dtype.newbyteorder("=") in _FLOATS:
        return array.astype(array.dtype.newbyteorder("=")), False
    wanted = "float32, float16, float64 or (from torch or ml_dtypes) bfloat16"
    raise TypeError(f"{name}: expected {wanted}, got {array.dtype}")


def shape_of(x: Any, name: str) -> tuple[int, ...]:
    """Return the shape of floats that are handed in; what has a shape is not read, as it may be larger than memory."""
    is_lazy = hasattr(x, "shape") and getattr(getattr(x, "dtype", None), "kind", "") != "O"
    array = x if is_lazy else _to_numpy(x, name)
    if isinstance(array, np.ndarray):
        _refuse_objects(array, name)
    return tuple(array.shape)


def _refuse_objects(array: NDArray[Any], name: str) -> None:
    """Say what makes floats of text, and one array of a table's column that holds one in each row."""
    first = array.flat[0] if array.dtype.kind == "O" and array.size else None
    if isinstance(first, np.ndarray | list | tuple):
        what = f"{array.size:,} objects, each of which is a {type(first).__name__}"
        raise TypeError(f"{name}: expected an array of floats (n, d), got {what}; np.stack makes one array of them")
    if array.dtype.kind in "US" or isinstance(first, str):
        how = "encode_query" if name == "queries" else "encode_document"
        raise TypeError(f"{name}: expected floats, got text ({array.dtype}); frazil.Encoder's {how} makes floats of it")


def as_numbers(floats: NDArray[Any], bfloat16: bool) -> NDArray[Any]:
    """Return what `as_floats` returned as floats that NumPy calculates with: bit patterns of bfloat16 as float32."""
    if not bfloat16:
        return floats
    return (floats.view(np.uint16).astype(np.uint32) << 16).view(np.float32)  # the upper half of a float32's


def as_codes(codes: Any) -> NDArray[np.uint8]:
    """Return codes as a uint8 array."""
    if not isinstance(codes, np.ndarray) and not is_tensor(codes):
        raise TypeError(f"codes: expected a uint8 array, got {type(codes).__name__}")
    array = _to_numpy(codes, "codes")
    if array.dtype != _UINT8:
        raise TypeError(f"codes: expected uint8, got {array.dtype}")
    return array


def as_bytes(data: Any, name: str) -> NDArray[np.uint8]:
    """Return bytes as a uint8 array, copied only where they do not lie side by side."""
    array = _to_numpy(data, name)
    if array.dtype != _UINT8:
        raise TypeError(f"{name}: expected uint8, got {array.dtype}")
    return np.ascontiguousarray(array)


def as_number(value: Any, name: str) -> float:
    """Return a real number as a float."""
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name}: expected a number that a float can hold, got {value}") from None


def as_allow(allow: Any) -> tuple[NDArray[np.bool_] | None, NDArray[np.int64] | None]:
    """Return the mask or the row numbers that `allow` gives, the other being None."""
    if allow is None:
        return None, None
    array = _to_numpy(allow, "allow")
    if array.dtype == np.bool_:
        return array, None
    if array.size == 0 and array.ndim == 1:
        return None, np.empty(0, _INT64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"allow: expected a bool mask or integer row numbers, got {array.dtype}")
    # As an int: NumPy 1 compares uint64 and int as doubles.
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(_INT64).max:
        raise ValueError(f"allow: expected row numbers of at most 63 bits, got {array.max()}")
    return None, array.astype(_INT64, copy=False)


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
        raise ValueError(f"{name}: expected a number of less than 32 bits, got {number}")
    return number


def as_count(value: Any, name: str, most: int) -> int:
    """Return how many, at least 1; `most` are as good as more."""
    number = as_index(value, name)
    if number < 1:
        raise ValueError(f"{name}: expected at least 1, got {number}")
    return min(number, most)


def as_size(value: Any, name: str) -> int:
    """Return how many, 0 or more."""
    number = as_index(value, name)
    if number < 0:
        raise ValueError(f"{name}: expected 0 or more, got {number}")
    return min(number, 2**63 - 1)


def as_threads(threads: Any) -> int | None:
    """Return a number of threads, or None to leave it to the extension."""
    return None if threads is None else as_count(threads, "threads", 1 << 16)
