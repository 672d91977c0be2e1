"""Arrays beside memory that cannot be touched: whoever reads or writes past them kills the process."""

import ctypes
import mmap
import os

import numpy as np

PAGE = mmap.PAGESIZE
CANARY = 0xA5


def _protect(buffer, offset):
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer)) + offset
    if os.name == "nt":
        before, no_access = ctypes.c_ulong(), 1
        protect = ctypes.WinDLL("kernel32", use_last_error=True).VirtualProtect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_ulong, ctypes.c_void_p]
        if not protect(address, PAGE, no_access, ctypes.byref(before)):
            raise ctypes.WinError(ctypes.get_last_error())
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if libc.mprotect(address, PAGE, 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


def guarded(array, *, at_end=True):
    """Copy an array to where its last byte is the last before a forbidden page (or its first the first after one)."""
    array = np.ascontiguousarray(array)
    pages = -(-array.nbytes // PAGE) * PAGE
    buffer = mmap.mmap(-1, pages + PAGE)
    _protect(buffer, pages if at_end else 0)
    offset = pages - array.nbytes if at_end else PAGE
    copy = np.frombuffer(buffer, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy


def empty_guarded(shape, dtype, *, at_end=True):
    return guarded(np.zeros(shape, dtype), at_end=at_end)


def misaligned(array, offset):
    """Copy an array to an address `offset` bytes past a multiple of 64."""
    raw = np.empty(array.nbytes + 128, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class Canaries:
    """An output with bytes around it that must not change."""

    def __init__(self, shape, dtype):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._raw = np.full(size + 256, CANARY, np.uint8)
        self._size = size
        self.array = self._raw[128 : 128 + size].view(dtype).reshape(shape)

    def check(self):
        assert (self._raw[:128] == CANARY).all(), "written before the output"
        assert (self._raw[128 + self._size :] == CANARY).all(), "written past the output"
