"""A collection as a guest in its process: forks, threads, other writers, folders that move."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from collections_common import CODEC, assert_whole, copied, exit_code_of_child, filled, forking, vectors

import frazil
from frazil import Collection, CollectionError


@pytest.fixture
def collection(tmp_path):
    with filled(tmp_path / "store") as found:
        yield found


def test_one_writer(collection, tmp_path):
    other = Collection.open(collection.path)
    with pytest.raises(CollectionError, match=f"process {os.getpid()} on .* is writing"):
        other.add(["a"], vectors(1))
    code = (
        "import sys, frazil, numpy\n"
        "found = frazil.Collection.open(sys.argv[1])\n"
        "try: found.delete(['i0'])\n"
        "except frazil.CollectionError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(collection.path)], capture_output=True, text=True, check=True
    )
    assert f"process {os.getpid()} on" in done.stdout
    assert len(other) == 10
    collection.close()
    other.add(["a"], vectors(1))
    other.close()


def test_a_forgotten_writer_lets_go(tmp_path):
    forgotten = filled(tmp_path / "store")
    del forgotten
    gc.collect()
    with Collection.open(tmp_path / "store") as other:
        other.add(["a"], vectors(1))


def test_readers_see_commits(collection):
    with Collection.open(collection.path) as reader:
        assert len(reader) == 10
        version = reader.refresh()
        collection.add(["new"], vectors(1, seed=8))
        assert reader.search(vectors(1, seed=8)[0], k=1).ids == ["new"]
        assert reader.refresh() == version + 1
        collection.delete(["new"])
        assert "new" not in reader.search(vectors(1, seed=8)[0], k=20).ids
        collection.compact()
        assert reader.search(vectors(10)[2], k=1).ids == ["i2"]


@forking
def test_fork_beside_an_open_collection(collection):
    """As gunicorn's preload and multiprocessing's fork have it: opened once, used by parent and children."""
    collection.add(["before"], vectors(1))
    x = vectors(10)

    def work(number):
        assert collection.search(x[3], k=1).ids == ["i3"]
        assert len(list(collection)) == 11 + number
        assert collection.verify().ok
        with pytest.raises(CollectionError, match=f"process {os.getppid()} on .* is writing"):
            collection.add(["child"], vectors(1))
        with Collection.open(collection.path) as mine:
            assert mine.search(x[4], k=1).ids == ["i4"]
        assert exit_code_of_child(lambda: collection.search(x[5], k=1)) == 0
        collection.close()

    for number in range(2):
        assert exit_code_of_child(lambda number=number: work(number)) == 0
        collection.add([f"after {number}"], vectors(1))
    assert collection.search(x[3], k=1).ids == ["i3"]
    assert {"before", "after 0", "after 1"} < set(collection)
    assert_whole(collection)


@forking
def test_children_write_what_the_parent_opened(collection):
    """One after the other, each the one writer; what each commits is there for all."""
    path = collection.path
    collection.close()
    with Collection.open(path) as shared:
        assert len(shared) == 10

        def work(number):
            shared.add([f"child {number}"], vectors(1))
            assert len(shared) == 11 + number
            shared.close()

        for number in range(3):
            assert exit_code_of_child(lambda number=number: work(number)) == 0
            assert len(shared) == 11 + number
        shared.add(["parent"], vectors(1))
        assert len(shared) == 14
        assert_whole(shared)


@forking
def test_fork_beside_a_collection_in_use(collection):
    """SQLite's locks do not hold in the child: what it wrote would be lost. It is refused, and the parent unharmed."""
    iteration = collection.batches(4)
    next(iteration)

    def work():
        def refused():
            for use in (
                lambda: collection.search(vectors(1)),
                lambda: collection.add(["child"], vectors(1)),
                lambda: len(collection),
                lambda: Collection.open(collection.path),
                lambda: Collection.create(collection.path / "new"),
            ):
                with pytest.raises(CollectionError, match="forked while a collection was in use"):
                    use()

        refused()
        assert exit_code_of_child(refused) == 0  # a grandchild has the copies, too
        refused()
        collection.close()

    assert exit_code_of_child(work) == 0
    assert [len(batch.ids) for batch in iteration] == [4, 2]
    assert exit_code_of_child(lambda: len(collection)) == 0  # none is in use now
    collection.add(["after"], vectors(1))
    assert_whole(collection)


@forking
def test_fork_while_threads_search(collection):
    """Children either search or are refused; none hangs, and the parent's threads notice nothing."""
    done, failures = threading.Event(), []

    def search():
        while not done.is_set():
            try:
                assert collection.search(vectors(10)[3], k=1).ids == ["i3"]
            except BaseException as error:
                failures.append(error)
                raise

    def child():
        try:
            found = collection.search(vectors(10)[4], k=1).ids
        except CollectionError:
            with pytest.raises(CollectionError, match="forked while"):
                len(collection)
        else:
            assert found == ["i4"]

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(15):
        assert exit_code_of_child(child) == 0
        collection.upsert(["turn"], vectors(1, seed=turn))
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert_whole(collection)


@forking
def test_fork_after_closing(collection):
    collection.add(["before"], vectors(1))
    collection.close()

    def work():
        with Collection.open(collection.path) as mine:
            mine.add(["child"], vectors(1))
            assert mine.search(vectors(10)[3], k=1).ids == ["i3"]

    assert exit_code_of_child(work) == 0
    with Collection.open(collection.path) as again:
        assert {"before", "child"} < set(again)
        assert_whole(again)


def test_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with Collection.open("store", CODEC) as made:
            made.add([f"{name}{i}" for i in range(3)], vectors(3))
    monkeypatch.chdir(tmp_path / "a")
    with Collection.open("store") as opened:
        monkeypatch.chdir(tmp_path / "b")
        opened.add(["a3"], vectors(1))
    for name, count in (("a", 4), ("b", 3)):
        with Collection.open(tmp_path / name / "store") as again:
            assert list(again) == [f"{name}{i}" for i in range(count)]
            assert_whole(again)


def test_a_call_that_writes_within_another_is_refused(collection):
    """Code that runs in the middle of `add`, such as a signal's handler, must not write into its transaction."""
    before = list(collection)

    class Rows:
        shape = (2, CODEC.dim)
        dtype = np.dtype(np.float32)

        def __getitem__(self, part):
            with pytest.raises(CollectionError, match="under way in this thread"):
                collection.upsert(["inner"], vectors(1))
            return vectors(2)[part]

    collection.add(["x", "y"], Rows())
    assert list(collection) == [*before, "x", "y"]
    assert_whole(collection)


def test_a_search_within_another(collection):
    """A signal's handler may search while a search is under way in its thread; both see their own snapshot."""
    with collection._reader.snapshot() as (catalog, view):
        collection.delete(["i3"])
        assert collection.search(vectors(10)[3], k=10).ids.count("i3") == 0
        assert len(collection) == 9
        assert view.state.rows - view.state.dead == 10
        assert len(catalog.rows_of_ids(["i3"])) == 1
    assert_whole(collection)


def test_nothing_is_said_at_the_end_of_a_process(tmp_path):
    """Of collections left open, in the middle of an iteration and a transaction; and the next one may write."""
    filled(tmp_path / "store").close()
    code = (
        "import sys, frazil, numpy\n"
        "found = frazil.Collection.open(sys.argv[1])\n"
        "found.delete(['i0'])\n"
        "iteration = found.batches(2)\n"
        "next(iteration)\n"
        "found.loop = found\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "store")], capture_output=True, text=True, check=True
    )
    assert done.stderr == done.stdout == ""
    with Collection.open(tmp_path / "store") as found:
        assert found.delete(["i1"]) == 1
        assert_whole(found)


def test_a_folder_that_was_replaced(collection, tmp_path):
    collection.search(vectors(1))
    path = collection.path
    path.rename(tmp_path / "moved")
    with Collection.create(path, CODEC) as other:
        other.add(["other"], vectors(1))
    with pytest.raises(CollectionError, match="another collection has taken its place"):
        collection.add(["lost"], vectors(1))
    failures = []

    def search():
        try:
            collection.search(vectors(1))
        except CollectionError as error:
            failures.append(error)

    thread = threading.Thread(target=search)  # whose connection is new
    thread.start()
    thread.join()
    assert len(failures) == 1


@forking
def test_a_childs_copy_does_not_keep_the_lock(collection):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # idle, and never touches the collection
        os.read(read, 1)
        os._exit(0)
    collection.close()
    with Collection.open(collection.path) as again:
        again.add(["x"], vectors(1))
    os.write(write, b"x")
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)


@forking
def test_a_fork_beside_threads_that_search(collection):
    """Their connections are copied into the child, too, and left alone there."""
    done = threading.Event()
    searched = threading.Barrier(4)

    def search():
        collection.search(vectors(1))
        searched.wait()
        done.wait()

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    searched.wait()
    assert exit_code_of_child(gc.collect) == 0
    done.set()
    for thread in threads:
        thread.join()
    collection.add(["more"], vectors(1))
    assert_whole(collection)


def test_threads_share_a_collection(collection):
    failures = []

    def work(number):
        try:
            for turn in range(20):
                name = f"t{number}-{turn}"
                x = vectors(1, seed=1000 + 100 * number + turn)
                collection.add([name], x)
                assert collection.search(x[0], k=1).ids == [name]
                if turn % 3 == 0:
                    assert collection.delete([name]) == 1
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(collection) == 10 + 4 * 13
    gc.collect()
    assert_whole(collection)


def test_a_copied_folder_is_a_collection(collection, tmp_path):
    with Collection.open(copied(collection.path, tmp_path / "copy")) as found:
        assert len(found) == 10
        assert_whole(found)


def test_importing_frazil_does_not_import_it():
    code = "import sys, frazil; print(any(name in sys.modules for name in ('sqlite3', 'frazil.collection')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert frazil.Collection is Collection
