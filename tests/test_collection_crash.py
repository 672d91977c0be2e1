"""Crashes: a writer killed at any moment, and one whose unsynced writes are lost at any of its steps; full disks."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from collections_common import CODEC, assert_whole, copied, vector_of
from crash_writer import apply, state_of

from frazil import Codec, Collection, CollectionError
from frazil.collection import files
from frazil.collection.catalog import Catalog

FINE = Codec(32, 8)


@pytest.fixture
def memory_path(tmp_path):
    """A folder in memory, where there is such a file system: syncing costs nothing here, its order still matters."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="frazil-test-") as folder:
        yield Path(folder)


def kill_at_random(folder, kills, seed):
    """Start the writer, kill it, look; with what is there go on, until it was killed so often."""
    chance = random.Random(seed)
    with Collection.create(folder, CODEC) as found:
        found.create_index("even")
    items = {}
    operations = 0
    for turn in range(kills):
        command = [sys.executable, str(Path(__file__).with_name("crash_writer.py")), str(folder), str(seed + turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
            first = writer.stdout.readline()  # it is there: from here on any moment will do
            assert first, writer.stderr.read()
            time.sleep(chance.uniform(0, 0.15))
            writer.kill()
            lines = [first, *writer.stdout]
        possible = [items]
        for line in lines:
            if not line.endswith("\n"):
                continue
            if line == "done\n":
                operations += 1
                possible = possible[-1:]
            else:
                _, what, version, *names = line.split()
                possible = [possible[-1], apply(possible[-1], what, int(version), list(map(int, names)))]
        with Collection.open(folder) as found:
            assert_whole(found)  # before any writer tidies up
            items = state_of(found)
            assert items in possible, (turn, lines[-2:])
            if items:
                name = random.Random(turn).choice(list(items))
                assert found.search(vector_of(name, items[name]), k=1).ids == [name]
                even = found.search(vector_of(name, 0), k=99, where={"even": True}).ids
                assert set(even) == {name for name, version in items.items() if version % 2 == 0}
            found.delete([-1])  # a writer opens it and tidies
            assert_whole(found)
            state = found.info()
            assert state["bytes"][f"codes-{state['generation']}.bin"] == state["rows"] * CODEC.row_bytes
            known = ("catalog.", "writer.", f"codes-{state['generation']}.", f"sketch-{state['generation']}-")
            assert [name for name in state["bytes"] if not name.startswith(known)] == []
    return operations


def test_a_killed_writer_loses_nothing(memory_path):
    kill_at_random(memory_path / "store", 20, seed=int.from_bytes(os.urandom(4), "big"))


@pytest.mark.soak
def test_a_writer_killed_often_loses_nothing(memory_path):
    operations = kill_at_random(memory_path / "store", 250, seed=int.from_bytes(os.urandom(4), "big"))
    assert operations > 250


class Crashed(BaseException):
    """What is raised where the power fails."""


class PowerFailure:
    """The file operations of a collection, of which the n-th is the last.

    What was written to a file and not synced is kept on the side; a folder as the failure leaves it has all, none or a
    part of that. SQLite's own files are taken as they lie: what it promises of them is its own to keep.
    """

    def __init__(self, monkeypatch, folder, last):
        self.folder, self.last, self.count = folder, last, 0
        self.synced = {path: path.read_bytes() for path in folder.glob("*.bin")}
        self.new_names = set()
        for module, name in (
            (files, "write_at"),
            (files, "sync"),
            (files, "sync_folder"),
            (files, "truncate"),
            (files, "remove"),
            (files, "open_to_write"),
            (Catalog, "commit"),
        ):
            monkeypatch.setattr(module, name, self.watched(name, getattr(module, name)))
        self.paths = {}

    def watched(self, name, function):
        def call(*arguments):
            self.step(f"before {name}")
            if name == "write_at":  # half of it first: a boundary within the write
                file, data, offset = arguments
                half = len(data) // 2
                function(file, data[:half], offset)
                self.step(f"within {name}")
                return function(file, data[half:], offset + data[:half].nbytes)
            result = function(*arguments)
            if name == "open_to_write":
                self.paths[result] = arguments[0]
                if arguments[0] not in self.synced:
                    self.new_names.add(arguments[0])
            elif name == "sync":
                path = self.paths[arguments[0]]
                self.synced[path] = path.read_bytes()
            elif name == "sync_folder":
                self.new_names.clear()
            elif name == "remove":
                self.synced.pop(arguments[0], None)
            self.step(f"after {name}")
            return result

        return call

    def step(self, what):
        self.count += 1
        if self.count == self.last:
            self.where = what
            raise Crashed(what)

    def folders(self, to):
        """Yield copies of the folder: with all unsynced bytes, with none of them, with a part, with lost names."""
        for kind in ("all", "none", "part", "noise", "names"):
            copied(self.folder, to)
            for path in to.glob("*.bin"):
                original = self.folder / path.name
                old, now = self.synced.get(original, b""), path.read_bytes()
                if kind == "names" and original in self.new_names:
                    path.unlink()
                elif kind in ("none", "names"):
                    path.write_bytes(old)
                elif kind == "part":
                    path.write_bytes(now[: (len(old) + len(now)) // 2] if len(now) > len(old) else old)
                elif kind == "noise" and len(now) > len(old):  # the size got there, the bytes did not
                    path.write_bytes(old + bytes(len(now) - len(old)))
            yield kind, to


def operations():
    def rows(names, version):
        x = np.array([vector_of(name, version) for name in names], np.float32)
        return names, x, [f"{name} {version}" for name in names], [{"g": name % 3} for name in names]

    return {
        "add": (lambda found: found.add(*rows([100, 101, 102], 5)), ("add", 5, [100, 101, 102])),
        "upsert": (lambda found: found.upsert(*rows([2, 3, 100], 5)), ("upsert", 5, [2, 3, 100])),
        "delete": (lambda found: found.delete([4, 5]), ("delete", 0, [4, 5])),
        "compact": (lambda found: found.compact(), ("compact", 0, [])),
        "sketch": (lambda found: found.build_sketch(), ("sketch", 0, [])),
        "index": (lambda found: found.create_index("a"), ("index", 0, [])),
    }


@pytest.mark.parametrize("rerank", [None, FINE])
@pytest.mark.parametrize("name", operations())
def test_power_failure_at_every_step(name, rerank, memory_path, monkeypatch):
    operation, change = operations()[name]
    start = memory_path / "start"
    with Collection.create(start, CODEC, rerank=rerank) as found:
        names = list(range(20))
        x = np.array([vector_of(one, 1) for one in names], np.float32)
        found.create_index("g")
        found.add(names, x, [f"{one} 1" for one in names], [{"g": one % 3} for one in names])
        found.delete([0, 7])
    before = {one: 1 for one in names if one not in (0, 7)}
    after = apply(before, *change)
    monkeypatch.setattr("frazil.collection.writer._AT_ONCE", 2)  # several writes
    steps = 0
    for last in range(1, 1000):
        folder = copied(start, memory_path / "store")
        with monkeypatch.context() as patch:
            failure = PowerFailure(patch, folder, last)
            writer = Collection.open(folder)
            try:
                operation(writer)
                crashed = False
            except Crashed:
                crashed = True
            folders = failure.folders(memory_path / "after")
            # As the crash leaves it: before the writer's connection is closed, which is undone tidily.
            for kind, left in folders if crashed else ():
                patch.undo()
                check_after_crash(left, before, after, (last, failure.where, kind))
                steps += 1
            patch.undo()
            writer.close()
        if not crashed:
            assert state_of_folder(folder) == after
            break
    assert steps >= 5 * (4 if name in ("delete", "index") else 10), steps


def state_of_folder(folder):
    with Collection.open(folder) as found:
        assert_whole(found)
        return state_of(found)


def check_after_crash(folder, before, after, where):
    items = state_of_folder(folder)
    assert items in (before, after), where
    if where[1] == "after commit":
        assert items == after, where
    with Collection.open(folder) as found:  # and it goes on
        found.upsert([50], vector_of(50, 9)[None], ["50 9"])
        assert_whole(found)
        assert state_of(found) == items | {50: 9}, where
        found.compact()
        assert_whole(found)


def test_power_failure_while_it_is_made(memory_path, monkeypatch):
    for last in range(1, 1000):
        shutil.rmtree(memory_path / "store", ignore_errors=True)
        (memory_path / "store").mkdir()
        with monkeypatch.context() as patch:
            failure = PowerFailure(patch, memory_path / "store", last)
            try:
                Collection.create(memory_path / "store", CODEC, rerank=FINE)
                crashed = False
            except Crashed:
                crashed = True
        if not crashed:
            break
        for _, left in failure.folders(memory_path / "after"):
            if failure.where != "after commit":
                with pytest.raises(CollectionError, match="holds no collection"):
                    Collection.open(left)
            with Collection.open(left, CODEC, rerank=FINE) as found:
                found.add([1], vector_of(1)[None])
                assert_whole(found)
    assert last > 10


FULL = """
import resource, sys
import numpy as np
from frazil import Collection, CollectionError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
with Collection.open(sys.argv[1]) as found:
    before = list(found)
    try:
        for start in range(1000, 100_000, 100):
            x = np.random.default_rng(start).standard_normal((100, 32), dtype=np.float32)
            found.add(range(start, start + 100), x, documents=["x" * 100] * 100)
            before += range(start, start + 100)
    except CollectionError as error:
        print(error)
    else:
        raise SystemExit("the disk did not fill")
    assert list(found) == before
    assert found.verify().ok
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found.add([0], np.ones((1, 32)))
    assert list(found) == [*before, 0]
    assert found.verify().ok
"""


@pytest.mark.parametrize("limit", [60_000, 100_000, 300_000, 1_000_000])
def test_a_full_disk_is_an_error_and_nothing_is_lost(limit, tmp_path):
    pytest.importorskip("resource", reason="no limits to set here")
    Collection.create(tmp_path / "store", CODEC).close()
    command = [sys.executable, "-c", FULL, str(tmp_path / "store"), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert any(word in done.stdout for word in ("File too large", "full", "I/O error")), done.stdout
    with Collection.open(tmp_path / "store") as found:
        assert_whole(found)
