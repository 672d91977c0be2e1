"""`verify`: every byte against its checksum, every count against every other."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from frazil.collection import codefiles, files
from frazil.collection.arguments import shown
from frazil.collection.catalog import NAME, Catalog, Properties, State
from frazil.collection.codefiles import BLOCK_ROWS, SKETCH_BLOCK, codes_path, sketch_path
from frazil.collection.database import sql_errors
from frazil.collection.errors import CollectionError
from frazil.sketch import Sketch

__all__ = ["Damage", "Report", "verify"]


class Damage(NamedTuple):
    """A block of a file whose bytes are not those that were written."""

    file: str
    """the file's name"""
    block: int
    """which block of the file, from 0"""
    rows: range
    """the rows that lie in it"""
    ids: list[str | int]
    """the ids of those of them that live"""

    def __repr__(self) -> str:
        ids = f"[{shown(self.ids)}]"
        return f"Damage(file={self.file!r}, block={self.block}, rows={self.rows}, ids={ids})"


class Report(NamedTuple):
    """What `Collection.verify` found."""

    rows: int
    """rows of the code files, dead ones too"""
    items: int
    """items in the collection"""
    blocks: int
    """blocks whose checksums were computed"""
    damaged: list[Damage]
    """those that are not what was written"""
    damaged_ids: list[str | int]
    """the ids of the items of which the id, the document or the metadata is not what was written"""
    problems: list[str]
    """everything that is wrong, damaged blocks and items too, in words; none: the collection is whole"""

    def __bool__(self) -> bool:
        return self.ok

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(folder: Path, properties: Properties, catalog: Catalog) -> Report:
    """Check the collection as it is now, on a connection of its own."""
    gone = -1
    while True:
        with sql_errors(catalog.path):
            catalog.begin()
            try:
                state = catalog.state()
                return _check(folder, properties, catalog, state, is_last=state.generation <= gone)
            except FileNotFoundError as error:
                if state.generation <= gone:
                    raise CollectionError(f"{error.filename}: is missing") from None
                gone = state.generation  # compacted meanwhile: look again
            finally:
                catalog.end()


def _check(folder: Path, properties: Properties, catalog: Catalog, state: State, *, is_last: bool) -> Report:
    problems = catalog.problems()
    damaged_ids = catalog.damaged_ids()
    if damaged_ids:
        problems.append(f"{NAME}: damaged items: {len(damaged_ids):,}, ids {shown(damaged_ids)}")
    damaged: list[Damage] = []
    checked = 0
    tasks = [("codes", codes_path(folder, "codes", state.generation), properties.codec.row_bytes * BLOCK_ROWS)]
    sizes = [state.rows * properties.codec.row_bytes]
    if properties.rerank is not None:
        path = codes_path(folder, "rerank", state.generation)
        tasks.append(("rerank", path, properties.rerank.row_bytes * BLOCK_ROWS))
        sizes.append(state.rows * properties.rerank.row_bytes)
    if state.sketch_rows:
        tasks.append(("sketch", sketch_path(folder, state.generation, state.sketch_rows), SKETCH_BLOCK))
        sizes.append(Sketch.size(properties.codec, state.sketch_rows))
    for (kind, path, block_bytes), size in zip(tasks, sizes, strict=True):
        if kind == "sketch" and is_last and not path.exists():
            problems.append(f"{path.name}: is missing; build_sketch makes the sketch anew")
            continue
        found = files.status(path).st_size
        if found < size:
            problems.append(f"{path.name}: is cut short: {found:,} bytes, of {size:,}")
        blocks = catalog.blocks(kind)
        wanted = [min(block_bytes, size - start) for start in range(0, size, block_bytes)]
        if [(block.number, block.size) for block in blocks] != list(enumerate(wanted)):
            problems.append(f"{path.name}: the catalog's checksums are not of {len(wanted):,} blocks of {size:,} bytes")
            continue
        for block, _, is_whole in codefiles.read_blocks(path, blocks, block_bytes):
            checked += 1
            if not is_whole:
                damage = _damage(kind, path, block.number, catalog, state)
                damaged.append(damage)
                problems.append(_in_words(damage))
    return Report(state.rows, state.rows - state.dead, checked, damaged, damaged_ids, problems)


def _damage(kind: str, path: Path, block: int, catalog: Catalog, state: State) -> Damage:
    if kind == "sketch":  # derived: no item is lost
        return Damage(path.name, block, range(0), [])
    rows = range(block * BLOCK_ROWS, min(state.rows, (block + 1) * BLOCK_ROWS))
    return Damage(path.name, block, rows, catalog.ids_of_rows(rows.start, rows.stop, BLOCK_ROWS))


def _in_words(damage: Damage) -> str:
    if not damage.rows:
        return f"{damage.file}: block {damage.block} is damaged; build_sketch makes the sketch anew"
    ids = f"ids {shown(damage.ids)}" if damage.ids else "none of them in use"
    return f"{damage.file}: block {damage.block} is damaged: rows {damage.rows[0]:,} to {damage.rows[-1]:,}, {ids}"
