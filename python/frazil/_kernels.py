"""Which instruction set's kernels run: list them, ask, force one."""

from __future__ import annotations

from types import TracebackType

from frazil import _native

__all__ = ["active_kernels", "kernels", "use_kernels"]


def kernels() -> tuple[str, ...]:
    """Return the instruction sets that this build holds and this CPU can run, best first.

    For example `("avx512vnni", "avx2", "scalar")`. The last is always `"scalar"`.
    """
    return tuple(_native.runnable_kernels())


def active_kernels() -> str:
    """Return the name of the instruction set whose kernels run now.

    It is the best of `kernels()`, unless the environment variable `FRAZIL_KERNELS` or `use_kernels` forces another.

    Raises:
        ValueError: `FRAZIL_KERNELS` names none of `kernels()`.
    """
    return _native.active_kernels()


class use_kernels:
    """Force the kernels of one instruction set, for the whole process, from now on.

    >>> frazil.use_kernels("avx2")            # until told otherwise
    >>> with frazil.use_kernels("scalar"):    # until the end of the block, then as before
    ...     codes = codec.pack(x)

    Results do not depend on the choice, only speed does. Calls already running finish with the set they began with.

    Args:
        name: one of `kernels()`; None to choose the best again.

    Raises:
        ValueError: `name` is not one of `kernels()`; the message lists them.
        TypeError: `name` is neither a string nor None.
    """

    def __init__(self, name: str | None) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name: expected a string or None, got {type(name).__name__}")
        # What UTF-8 or a C string cannot hold is no set's name either, and must get as far as the list of those.
        self._name = None if name is None else name.encode(errors="replace").decode().replace("\0", "?")
        self._before = [_native.force_kernels(self._name)]  # what to force again, at the end of each block
        self._is_new = True

    def __enter__(self) -> str:
        now = _native.force_kernels(self._name)
        if not self._is_new:
            self._before.append(now)
        elif now != self._name:  # another was forced since this object was made
            self._before[0] = now
        self._is_new = False
        return _native.active_kernels()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _native.force_kernels(self._before.pop())
