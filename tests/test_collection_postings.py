"""Posting lists: against sets of Python, their bytes, hostile ones, and that they follow whatever is written."""

import contextlib
import random
import sqlite3

import numpy as np
import pytest
from collections_common import CODEC, assert_whole, vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from frazil import Collection, CollectionError
from frazil.collection import postings, rowsets
from frazil.collection.postings import BLOCK
from frazil.collection.rowsets import FEW

SIZES = [0, 1, 2, 4094, 4095, 4096, 4097, BLOCK - 1, BLOCK]


def some_places(count, seed=0):
    return np.sort(np.random.default_rng(seed).permutation(BLOCK)[:count])


@pytest.mark.parametrize("count", SIZES)
def test_round_trip(count):
    places = some_places(count)
    data = postings.encode(places)
    assert len(data) == min(2 * count, BLOCK // 8)
    assert postings.places(data).tolist() == places.tolist()


def test_bytes():
    """As docs/format.md has them."""
    assert postings.encode([1, 258]).hex() == "01000201"
    assert postings.encode(range(4096)) == b"\xff" * 512 + bytes(7680)
    assert postings.encode(range(0, BLOCK, 8)) == b"\x01" * 8192


@pytest.mark.parametrize("count", SIZES[:-1])
@pytest.mark.parametrize("old", [0, 1, 500, 4095])
def test_extend(count, old):
    places = some_places(count)
    old = min(old, count)
    assert postings.extend(postings.encode(places[:old]), places[old:]) == postings.encode(places)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(0, 3 * BLOCK),
    lists=st.lists(st.tuples(st.integers(0, 2), st.integers(0, BLOCK), st.integers(0, 9)), max_size=6),
)
def test_select(rows, lists):
    wanted, given_ = set(), []
    for block, count, seed in lists:
        places = [place for place in some_places(count, seed) if block * BLOCK + place not in wanted]
        places = np.array([place for place in places if place < rows - block * BLOCK], np.int64)
        if block * BLOCK < rows:
            wanted.update((block * BLOCK + places).tolist())
            given_.append((block, postings.encode(places)))
    found = postings.select(given_, rows)
    assert (found.dtype == np.bool_) == (len(wanted) * FEW >= rows)
    assert np.flatnonzero(rowsets.as_mask(found, rows)).tolist() == sorted(wanted)


@pytest.mark.parametrize(
    "lists",
    [
        [(0, b"\0")],
        [(0, bytes(8193))],
        [(0, bytes(8194))],
        [(0, bytes(1 << 20))],
        [(0, b"\xff\0\x64\0")],
        [(0, b"\xff\xff")],
        [(0, "text")],
        [(0, None)],
        [(0, 5)],
        [(-1, b"\0\0")],
        [(1, b"\0\0")],
        [(2**62, b"\0\0")],
        [("0", b"\0\0")],
        [(None, b"")],
        [(0, b"\x64\0")],
        [(0, b"\xff" * 8192)],
    ],
)
def test_what_is_no_list(lists):
    with pytest.raises(ValueError, match=r"block|bytes|place|row"):
        postings.select(lists, 100)


ROWSETS = st.sets(st.integers(0, 40), max_size=41)


def both_forms(rows, count=41):
    numbers = np.array(sorted(rows), np.int64)
    return numbers, rowsets.as_mask(numbers, count)


def as_set(rows):
    return set((np.flatnonzero(rows) if rows.dtype == np.bool_ else rows).tolist())


@given(a=ROWSETS, b=ROWSETS, first=st.integers(0, 41))
def test_sets_of_rows(a, b, first):
    for one in both_forms(a):
        for other in both_forms(b):
            assert as_set(rowsets.both(one, other)) == a & b
            assert as_set(rowsets.either(one, other)) == a | b
            assert as_set(rowsets.join(one, 41, other, 41)) == a | {41 + row for row in b}
        assert as_set(rowsets.none_of(one, 41)) == set(range(41)) - a
        assert as_set(rowsets.after(one, first)) == {row - first for row in a if row >= first}
        assert as_set(rowsets.smallest(one, 41)) == a
        assert (rowsets.smallest(one, 41).dtype == np.bool_) == (len(a) * FEW >= 41)


def check(collection, metadata):
    """A filter finds the ids of the items of a value; all lists are as the items say."""
    value = random.Random(len(metadata)).choice([None, "x", 4])
    wanted = {name for name, its in metadata.items() if its == value}
    found = collection.search(vectors(1)[0], k=len(metadata) + 1, where={"g": value}).ids
    assert set(found) == wanted
    assert len(found) == len(wanted)
    assert_whole(collection)


def test_lists_follow_what_is_written(tmp_path):
    """Rows on both sides of blocks' ends, entered one by one and by thousands, replaced, deleted, compacted."""
    draw = random.Random(0)
    values = [None, "x", 1.5, *range(5)]
    metadata = {}
    with Collection.create(tmp_path / "store", CODEC) as found, Collection.open(tmp_path / "store") as reader:

        def write(names):
            given_ = [draw.choice(values) for _ in names]
            found.upsert(names, vectors(len(names)), metadatas=[{} if g is None else {"g": g} for g in given_])
            metadata.update(zip(names, given_, strict=True))

        write(range(100))
        found.create_index("g")
        for size in (1, 1, BLOCK - 200, 1, 1, 150, 40, BLOCK + 5):
            first = len(metadata)
            write(range(first, first + size))
            write([draw.randrange(first)])
            check(reader, metadata)
        gone = draw.sample(sorted(metadata), 3000)
        found.delete(gone)
        for name in gone:
            del metadata[name]
        check(reader, metadata)
        for _ in range(2):
            assert found.compact() > 0
            check(reader, metadata)
            write(range(10**6, 10**6 + 7))
            write([draw.choice(list(metadata))])
            check(reader, metadata)
        found.create_index("h")  # of which there is none: all rows have null
        assert len(reader.search(vectors(1)[0], k=10, where={"g": 1, "h": None}).ids) == 10
        check(reader, metadata)


def test_values_that_are_equal_are_one(tmp_path):
    with Collection.create(tmp_path / "store", CODEC) as found:
        found.create_index("g")
        values = [1, 1.0, True, 0, -0.0, False, "1", 2**53, 2.0**53, 2**53 + 1, 1e300, 10**300, None, "", [], {}]
        for n, value in enumerate(values):
            found.add([n], vectors(1), metadatas=[{"g": value}])
        found.add(range(100, 100 + len(values)), vectors(len(values)), metadatas=[{"g": value} for value in values])
        for value in (1, 1.0, True):
            assert sorted(found.search(vectors(1)[0], k=99, where={"g": value}).ids) == [0, 1, 2, 100, 101, 102]
        assert sorted(found.search(vectors(1)[0], k=99, where={"g": 2**53 + 1}).ids) == [9, 109]
        assert_whole(found)


SPOILED = [
    ("UPDATE lists_1 SET rows = x'0000'", "lists_1: block 0"),
    ("UPDATE lists_1 SET rows = x'00'", "lists_1: block 0"),
    ("UPDATE lists_1 SET rows = zeroblob(8192)", "lists_1: block 0"),
    ("UPDATE lists_1 SET rows = 'text'", "lists_1: block 0"),
    ("UPDATE lists_1 SET rows = x'ff3f'", "lists_1: block 0"),
    ("UPDATE lists_1 SET block = 1", "lists_1: block 0"),
    ("UPDATE lists_1 SET block = -1", "lists_1: block 0"),
    ("UPDATE lists_1 SET block = 1 WHERE m_1 = 2", "lists_1: block 0"),
    ("UPDATE lists_1 SET block = 'x' WHERE m_1 = 2", "lists_1: block 0"),
    ("UPDATE lists_1 SET m_1 = 7 WHERE m_1 = 2", "lists_1: block 0"),
    ("UPDATE lists_1 SET m_1 = '2' WHERE m_1 = 2", "lists_1: block 0"),
    ("UPDATE lists_1 SET m_1 = NULL WHERE m_1 = 2", "lists_1: block 0"),
    ("INSERT INTO lists_1 VALUES (9, 0, x'0000')", "lists_1: block 0"),
    ("INSERT INTO lists_1 VALUES (9, 5, x'0000')", "lists_1: holds a block 5"),
    ("DELETE FROM lists_1", "lists_1: block 0"),
    ("DELETE FROM lists_1 WHERE m_1 = 2", "lists_1: block 0"),
    ("UPDATE items SET metadata = '{\"g\": 0}' WHERE row = 4", "lists_1: block 0"),
]


def spoiled(folder):
    """A collection with an index, to be opened again."""
    with Collection.create(folder, CODEC) as found:
        found.create_index("g")
        found.add(range(10), vectors(10), metadatas=[{"g": n % 3} for n in range(10)])
    return folder / "catalog.sqlite3"


def check_spoiled(folder, problem):
    """`verify` says so, and searches answer or raise CollectionError."""
    with Collection.open(folder) as found:
        report = found.verify()
        assert any(problem in one for one in report.problems), report.problems
        for where in ({"g": 1}, {"g": {"$ne": 1}}, {"g": {"$in": [0, 2, 9, None]}}, {"g": {"$lt": "x"}}):
            with contextlib.suppress(CollectionError):
                assert set(found.search(vectors(1)[0], k=20, where=where).ids) <= set(range(10))


@pytest.mark.parametrize(("statement", "problem"), SPOILED, ids=[statement for statement, _ in SPOILED])
def test_spoiled_lists(tmp_path, statement, problem):
    with sqlite3.connect(spoiled(tmp_path / "store")) as database:
        database.execute(statement)
    database.close()
    check_spoiled(tmp_path / "store", problem)


def test_metadata_that_is_no_json_any_more(tmp_path):
    path = spoiled(tmp_path / "store")
    data = path.read_bytes()
    path.write_bytes(data.replace(b'{"g":1}', b'{"g"(1}'))
    check_spoiled(tmp_path / "store", "indexed fields: malformed JSON")
