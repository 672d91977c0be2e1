"""Where a collection lies: links in its folder, read-only folders, locks that fail, long paths, Windows' shares."""

import errno
import os
import tempfile
import threading
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from collections_common import CODEC, assert_whole, copied, exit_code_of_child, filled, forking, vectors

from frazil import Codec, Collection, CollectionError
from frazil.collection import lock
from frazil.collection.database import uri_of

FINE = Codec(32, 8)
NOBODY = 65534


def use_all_of(folder):
    """Every operation on a folder; what each has to say."""
    said = []
    try:
        found = Collection.open(folder)
    except CollectionError as error:
        return [str(error)]
    for call in (
        lambda: found.search(vectors(1)),
        lambda: found.search(vectors(1), rerank=20),
        lambda: found.search(vectors(1), failure=1e-3),
        lambda: found.get(["i1"]),
        lambda: said.extend(found.verify().problems),
        lambda: found.add(["new"], vectors(1)),
        lambda: found.delete(["i2"]),
        found.compact,
        found.build_sketch,
    ):
        try:
            call()
        except CollectionError as error:
            said.append(str(error))
    found.close()
    return said


NAMES = ["catalog.sqlite3", "codes-1.bin", "rerank-1.bin", "sketch-1-10.bin", "writer.lock"]
NAMES += ["catalog.sqlite3-wal", "catalog.sqlite3-shm", "catalog.sqlite3-journal"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_only_regular_files_are_opened(tmp_path, name, kind):
    with filled(tmp_path / "store", rerank=FINE) as made:
        made.build_sketch()
    path, target = tmp_path / "store" / name, tmp_path / "target"
    target.write_bytes(path.read_bytes() if path.exists() else b"precious")
    before = target.read_bytes()
    path.unlink(missing_ok=True)
    if kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("there are no named pipes here")
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        try:
            path.symlink_to(target if kind == "link" else tmp_path / "nothing")
        except OSError as error:
            pytest.skip(f"no links here: {error}")
    said = use_all_of(tmp_path / "store")
    word = {"pipe": "a pipe", "folder": "a folder"}.get(kind, "a symbolic link")
    assert any(f"{path}: expected a regular file, got {word}" in text for text in said), said
    assert target.read_bytes() == before
    assert not (tmp_path / "nothing").exists()


def test_a_link_to_the_folder_is_fine(tmp_path):
    filled(tmp_path / "store").close()
    try:
        (tmp_path / "link").symlink_to(tmp_path / "store", target_is_directory=True)
    except OSError as error:
        pytest.skip(f"no links here: {error}")
    with Collection.open(tmp_path / "link") as found:
        found.add(["new"], vectors(1))
        assert len(found) == 11
        assert_whole(found)


def test_a_link_is_not_written_through_at_creation(tmp_path):
    (tmp_path / "store").mkdir()
    try:
        (tmp_path / "store" / "catalog.sqlite3").symlink_to(tmp_path / "nothing")
    except OSError as error:
        pytest.skip(f"no links here: {error}")
    for make in (Collection.create, Collection.open):
        with pytest.raises(CollectionError, match="symbolic link"):
            make(tmp_path / "store", CODEC)
    assert not (tmp_path / "nothing").exists()


@pytest.fixture
def public():
    """A folder that another user reaches, too: pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="frazil-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def set_writable(folder, writable):
    for path in folder.iterdir():
        path.chmod(0o644 if writable else 0o444)
    folder.chmod(0o755 if writable else 0o555)


def without_permission(work):
    """Run in a child that cannot write to what is root's, or is read-only; return its exit code."""

    def child():
        if os.getuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        work()

    return exit_code_of_child(child)


@forking
@pytest.mark.parametrize("kind", ["closed", "beside a writer", "empty log"])
def test_a_folder_without_permission_to_write(public, kind):
    folder = public / "store"
    made = filled(folder, rerank=FINE)
    made.build_sketch()
    if kind != "beside a writer":
        made.close()
    if kind == "empty log":
        (folder / "catalog.sqlite3-wal").touch()
    set_writable(folder, False)
    x = vectors(10)

    def work():
        with Collection.open(folder) as found:
            for _ in range(2):
                assert found.search(x[3], k=1).ids == ["i3"]
                assert found.search(x[4], k=1, where={"n": 4}, failure=1e-3, rerank=5).ids == ["i4"]
                assert found.verify().ok
                assert [len(batch.ids) for batch in found.batches(6)] == [6, 4]
            for write in (lambda: found.add(["x"], x[:1]), found.compact, lambda: found.delete(["i1"])):
                with pytest.raises(CollectionError, match="cannot be written to"):
                    write()
            assert len(found) == 10
        with pytest.raises((CollectionError, PermissionError)):
            Collection.create(folder / "new", CODEC)

    before = sorted(os.listdir(folder))
    assert without_permission(work) == 0
    if kind != "beside a writer":  # who cannot write leaves nothing, and takes nothing away
        assert sorted(os.listdir(folder)) == before
    set_writable(folder, True)
    made.close()
    with Collection.open(folder) as again:
        again.add(["more"], vectors(1))
        assert_whole(again)


@forking
def test_commits_that_only_the_log_holds(public):
    """Left by a crash: SQLite cannot read them without writing, and to leave them out would be a wrong answer."""
    with filled(public / "made") as made:
        made.add(["late"], vectors(1))
        folder = copied(made.path, public / "store")  # with its log
    (folder / "catalog.sqlite3-shm").unlink()
    set_writable(folder, False)

    def work():
        with pytest.raises(CollectionError, match="holds commits that cannot be read without writing"):
            Collection.open(folder)

    assert without_permission(work) == 0
    set_writable(folder, True)
    with Collection.open(folder) as found:
        assert "late" in found


@forking
def test_a_change_below_a_reader_without_locks(public):
    """Who may write does so while one reads who may not, and so has no lock: seen, and never a wrong answer."""
    folder = public / "store"
    filled(folder).close()
    set_writable(folder, False)
    to_child, to_parent = os.pipe(), os.pipe()

    def work():
        with Collection.open(folder) as found:
            assert len(found) == 10
            iteration = found.batches(2)
            next(iteration)
            os.write(to_parent[1], b"x")
            os.read(to_child[0], 1)
            with pytest.raises(CollectionError, match="was changed while it was read"):
                list(iteration)
            assert len(found) == 11
            assert found.search(vectors(1, seed=9)[0], k=1).ids == ["new"]

    def parent():
        os.read(to_parent[0], 1)
        set_writable(folder, True)
        with Collection.open(folder) as writer:
            writer.add(["new"], vectors(1, seed=9))
        set_writable(folder, False)
        os.write(to_child[1], b"x")

    thread = threading.Thread(target=parent)
    try:
        thread.start()
        assert without_permission(work) == 0
    finally:
        os.write(to_parent[1], b"x")
        thread.join()
        for end in (*to_child, *to_parent):
            os.close(end)
        set_writable(folder, True)


@forking
def test_a_lock_that_may_not_be_opened(public):
    folder = public / "store"
    filled(folder).close()
    folder.chmod(0o777)
    (folder / "catalog.sqlite3").chmod(0o666)
    (folder / "writer.lock").chmod(0o444)

    def work():
        with Collection.open(folder) as found:
            assert len(found) == 10
            with pytest.raises(CollectionError, match=r"cannot be written to: writer\.lock: Permission denied"):
                found.add(["x"], vectors(1))

    assert without_permission(work) == 0


def test_a_missing_lock_is_made(tmp_path):
    filled(tmp_path / "store").close()
    (tmp_path / "store" / "writer.lock").unlink()
    with Collection.open(tmp_path / "store") as found:
        found.add(["x"], vectors(1))
        assert_whole(found)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks(tmp_path, monkeypatch, code):
    def failing(file):
        raise OSError(code, os.strerror(code))

    filled(tmp_path / "store").close()
    monkeypatch.setattr(lock, "_lock", failing)
    with Collection.open(tmp_path / "store") as found, pytest.raises(CollectionError) as told:
        found.add(["x"], vectors(1))
    assert "cannot be locked" in str(told.value)
    assert os.strerror(code) in str(told.value)
    assert "another process" not in str(told.value)


def test_a_lock_without_room_for_its_text(tmp_path, monkeypatch):
    def full(file, *data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        held = lock.WriterLock(tmp_path / "writer.lock")
    with pytest.raises(CollectionError, match="another process is writing"):
        lock.WriterLock(tmp_path / "writer.lock")
    held.release()
    lock.WriterLock(tmp_path / "writer.lock").release()


@pytest.mark.skipif(os.name == "nt", reason="Windows' limits are others")
def test_long_paths(tmp_path):
    with pytest.raises(CollectionError, match="too long"):
        Collection.open(tmp_path / ("x" * 300))
    long = tmp_path.joinpath(*["y" * 100] * 6)
    long.mkdir(parents=True)
    with pytest.raises(CollectionError, match=r"[67]\d\d bytes are too long a path"):
        Collection.create(long / "store", CODEC)
    with pytest.raises(CollectionError, match=r"too long"):
        Collection.open(tmp_path / ("x" * 300), CODEC)


@pytest.mark.parametrize("name", ["a b", "ü", "a?b#c", "50%20", "a%2Fb", "=&"])
def test_names_that_mean_something_in_an_address(tmp_path, name):
    if os.name == "nt" and "?" in name:
        pytest.skip("no name on Windows")
    filled(tmp_path / name).close()
    with Collection.open(tmp_path / name) as found:
        assert len(found) == 10
    assert (tmp_path / name / "catalog.sqlite3").is_file()


def test_the_addresses_of_databases():
    """Those of shares as SQLite has them: the host must be empty."""
    assert uri_of(PurePosixPath("/a b/c?.db"), "mode=ro") == "file:///a%20b/c%3F.db?mode=ro"
    assert uri_of(PureWindowsPath(r"C:\a\b.db"), "mode=rw") == "file:///C:/a/b.db?mode=rw"
    assert uri_of(PureWindowsPath(r"\\host\share\b.db"), "mode=rw") == "file:////host/share/b.db?mode=rw"


def test_a_read_only_catalog_alone(tmp_path):
    """SQLite says so itself where the folder is writable and the database is not."""
    if getattr(os, "getuid", lambda: 0)() == 0:
        pytest.skip("root writes to it all the same")
    filled(tmp_path / "store").close()
    (tmp_path / "store" / "catalog.sqlite3").chmod(0o444)
    with Collection.open(tmp_path / "store") as found:
        assert len(found) == 10
        with pytest.raises(CollectionError, match="readonly database"):
            found.add(["x"], vectors(1))
