"""What the tests of collections share."""

import os
import shutil
import traceback
from pathlib import Path

import numpy as np
import pytest

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


def forking(test):
    """Mark a test that forks."""
    test = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")(test)
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")(test)


def exit_code_of_child(work):
    """Fork, and return 0 if the work goes well in the child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
