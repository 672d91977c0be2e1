"""Code files: rows and nothing else, in blocks whose checksums the catalog keeps."""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frazil.collection import files
from frazil.collection.errors import CollectionError

__all__ = [
    "BLOCK_ROWS",
    "SKETCH_BLOCK",
    "Appender",
    "Block",
    "block_checksums",
    "check_size",
    "codes_path",
    "map_rows",
    "read_blocks",
    "sketch_path",
    "tidy",
]

BLOCK_ROWS = 4096
"""rows that share a checksum"""
SKETCH_BLOCK = 1 << 19
"""bytes of a sketch that share a checksum"""

_NAMES = re.compile(r"(codes|rerank|sketch)-\d+(-\d+)?\.bin")


class Block(NamedTuple):
    """The checksum of a block of a file: zlib's CRC-32 of its first `size` bytes, all of them but in the last block."""

    number: int
    size: int
    crc32: int


def codes_path(folder: Path, kind: str, generation: int) -> Path:
    """Return where the rows of a generation lie; `kind` is "codes" or "rerank"."""
    return folder / f"{kind}-{generation}.bin"


def sketch_path(folder: Path, generation: int, rows: int) -> Path:
    """Return where the sketch of a generation's first `rows` rows lies."""
    return folder / f"sketch-{generation}-{rows}.bin"


def tidy(folder: Path, keep: set[str]) -> None:
    """Remove files of codes and sketches that are not among those to keep: what a compaction, or a crash, left."""
    for path in folder.iterdir():
        if path.name not in keep and _NAMES.fullmatch(path.name):
            files.remove(path)


def check_size(path: Path, needed: int) -> None:
    """See that a file holds at least the bytes that the catalog counts on.

    Raises:
        CollectionError: it is shorter, or no regular file.
        FileNotFoundError: there is none.
    """
    found = files.status(path).st_size
    if found < needed:
        raise CollectionError(f"{path}: is cut short: {found:,} bytes, of {needed:,} that the catalog counts")


def map_rows(path: Path, rows: int, row_bytes: int) -> NDArray[np.uint8]:
    """Return uint8 (rows, row_bytes), mapped and read-only; raises as `check_size` does."""
    check_size(path, rows * row_bytes)
    if rows == 0:
        return np.empty((0, row_bytes), np.uint8)
    file = files.open_to_read(path)
    try:
        mapped = mmap.mmap(file, rows * row_bytes, access=mmap.ACCESS_READ)
    finally:
        files.close(file)
    return np.frombuffer(mapped, np.uint8).reshape(rows, row_bytes)


class Appender:
    """Writes rows behind the committed ones, and keeps the checksums of the blocks that they fall into.

    What it writes counts only once the catalog says so; until then the next one writes over it.

    Args:
        path: the file, made if there is none.
        row_bytes: bytes of a row.
        rows: how many are committed.
        last: the block that the next row belongs to, as the catalog has it; None: that row begins one.

    Raises:
        CollectionError: the file holds fewer rows.
        FileNotFoundError: there is none, but rows are committed.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, row_bytes: int, rows: int, last: Block | None) -> None:
        self._row_bytes, self._rows = row_bytes, rows
        if rows:
            check_size(path, rows * row_bytes)
        self._file = files.open_to_write(path)
        self._blocks: dict[int, Block] = {} if last is None else {last.number: last}

    def append(self, rows: NDArray[np.uint8]) -> None:
        """Write uint8 (n, row_bytes)."""
        data = np.ascontiguousarray(rows)
        files.write_at(self._file, data, self._rows * self._row_bytes)
        done = 0
        while done < len(data):
            number, filled = divmod(self._rows, BLOCK_ROWS)
            part = data[done : done + BLOCK_ROWS - filled]
            before = self._blocks[number].crc32 if filled else 0
            size = (filled + len(part)) * self._row_bytes
            self._blocks[number] = Block(number, size, zlib.crc32(part.data, before))
            self._rows += len(part)
            done += len(part)

    def sync(self) -> list[Block]:
        """Return when all rows are on the disk; the blocks that hold them."""
        files.sync(self._file)
        return list(self._blocks.values())

    def cut(self) -> None:
        """Give back to the disk what lies behind the last row."""
        if files.size_of(self._file) > self._rows * self._row_bytes:
            files.truncate(self._file, self._rows * self._row_bytes)

    def close(self) -> None:
        """Close the file."""
        files.close(self._file)


def block_checksums(data: NDArray[np.uint8], block_bytes: int) -> list[Block]:
    """Return the checksums of all blocks of bytes (m,)."""
    parts = (data[start : start + block_bytes] for start in range(0, len(data), block_bytes))
    return [Block(number, len(part), zlib.crc32(part.data)) for number, part in enumerate(parts)]


def read_blocks(path: Path, blocks: list[Block], block_bytes: int) -> Iterator[tuple[Block, bytes, bool]]:
    """Yield each block, its bytes, read and not mapped, and whether they are those that its checksum is of."""
    file = files.open_to_read(path)
    try:
        for block in blocks:
            data = files.read_at(file, block.size, block.number * block_bytes)
            yield block, data, len(data) == block.size and zlib.crc32(data) == block.crc32
    finally:
        files.close(file)
