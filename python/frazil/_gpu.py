"""Which calls go to the GPU's kernels: those that get a tensor on one. Without any, torch is not imported."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from frazil._arrays import is_tensor

__all__ = ["gpu_for"]


def gpu_for(*given: Any) -> ModuleType | None:
    """Return `frazil.backends.triton` if a tensor on a GPU is among what is given.

    Raises:
        ImportError: it needs packages that are not installed; the message names the extra.
    """
    if not any(is_tensor(x) and x.is_cuda for x in given):
        return None
    try:
        from frazil.backends import triton
    except ImportError as error:
        raise ImportError(f"tensors on a GPU need torch, triton: pip install 'frazil[gpu]' ({error})") from error
    return triton
