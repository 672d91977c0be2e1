"""What the tests of collections share."""

import shutil
from pathlib import Path

import numpy as np

from frazil import Codec, Collection

CODEC = Codec(32, 4)


def vectors(count, seed=0, dim=32):
    return np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)


def vector_of(name, version=0, dim=32):
    """The vector of an id, in a version of it, the same in every process."""
    seed = [ord(letter) for letter in str(name)] + [version]
    return np.random.default_rng(seed).standard_normal(dim, dtype=np.float32)


def filled(path, count=10, **options):
    """A collection of `count` items "i0", "i1" …"""
    found = Collection.create(path, CODEC, **options)
    found.add(
        [f"i{i}" for i in range(count)],
        vectors(count),
        documents=[f"document {i}" for i in range(count)],
        metadatas=[{"n": i, "third": i % 3 == 0} for i in range(count)],
    )
    return found


def copied(folder, to):
    """A copy of a folder, as it lies there."""
    if Path(to).exists():
        shutil.rmtree(to)
    shutil.copytree(folder, to)
    return to


def assert_whole(collection):
    report = collection.verify()
    assert report.ok, report.problems
    assert report.items == len(collection)
