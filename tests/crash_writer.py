"""A writer to be killed: changes a collection at random, and tells on stdout what it begins and what has returned.

Run as a program: crash_writer.py FOLDER SEED.
"""

import random
import sys

import numpy as np
from collections_common import CODEC, vector_of

from frazil import Collection


def write(folder: str, seed: int) -> None:
    chance = random.Random(seed)
    with Collection.open(folder) as collection:
        items = dict.fromkeys(collection)
        step = 0
        while True:
            step += 1
            what = chance.choice(["add", "add", "upsert", "upsert", "delete", "compact", "sketch"])
            names = chance.sample(range(60), chance.randint(1, 12))
            if what == "add":
                names = [name for name in names if name not in items]
            version = seed * 1_000_000 + step
            print("begin", what, version, *names, flush=True)
            if what in ("add", "upsert"):
                x = np.array([vector_of(name, version) for name in names], np.float32).reshape(len(names), 32)
                texts = [f"{name} {version}" for name in names]
                marks = [{"even": version % 2 == 0}] * len(names)
                getattr(collection, what)(names, x, texts, marks, notes={"step": str(version)})
                items |= dict.fromkeys(names)
            elif what == "delete":
                collection.delete(names)
                items = {name: None for name in items if name not in names}
            elif what == "compact":
                collection.compact()
            else:
                collection.build_sketch()
            print("done", flush=True)


def apply(items: dict, what: str, version: int, names: list) -> dict:
    """The items (id -> version) after an operation."""
    if what in ("add", "upsert"):
        return {name: old for name, old in items.items() if name not in names} | dict.fromkeys(names, version)
    if what == "delete":
        return {name: old for name, old in items.items() if name not in names}
    return items


def state_of(collection: Collection) -> dict:
    """The items (id -> version) that are there; each one's codes are those of its version."""
    found = {}
    for batch in collection.batches():
        for name, codes, text in zip(batch.ids, batch.codes, batch.documents, strict=True):
            told, version = map(int, text.split())
            assert told == name
            assert np.array_equal(codes, CODEC.pack(vector_of(name, version))), name
            found[name] = version
    return found


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]))
