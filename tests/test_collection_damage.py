"""Damaged, alien and hostile folders: found, named, refused; never a crash."""

import json
import re
import sqlite3
import zlib
from pathlib import Path

import numpy as np
import pytest
from collections_common import CODEC, copied, filled, vectors

from frazil import Codec, Collection, CollectionError, Sketch
from frazil.collection import catalog as catalogs
from frazil.collection.codefiles import BLOCK_ROWS

FINE = Codec(32, 8)


@pytest.fixture
def folder(tmp_path):
    """A closed collection of 20 items, two of them dead, with re-ranking codes and a sketch."""
    with Collection.create(tmp_path / "store", CODEC, rerank=FINE) as found:
        found.add([f"i{i}" for i in range(20)], vectors(20), metadatas=[{"n": i} for i in range(20)])
        found.delete(["i3", "i4"])
        found.create_index("n")
        found.build_sketch()
    return tmp_path / "store"


def flip(path, byte, bit):
    with path.open("r+b") as file:
        file.seek(byte)
        (old,) = file.read(1)
        file.seek(byte)
        file.write(bytes([old ^ 1 << bit]))


@pytest.mark.parametrize("name", ["codes-1.bin", "rerank-1.bin", "sketch-1-20.bin"])
def test_every_flipped_bit_is_found(folder, name):
    path = folder / name
    with Collection.open(folder) as found:
        assert found.verify().ok
        for byte in range(path.stat().st_size):
            flip(path, byte, byte % 8)
            report = found.verify()
            assert [(damage.file, damage.block) for damage in report.damaged] == [(name, 0)], byte
            flip(path, byte, byte % 8)
        assert found.verify().ok


def test_every_bit_of_some_bytes(folder):
    path = folder / "codes-1.bin"
    with Collection.open(folder) as found:
        for byte in (0, 100, 319):
            for bit in range(8):
                flip(path, byte, bit)
                assert not found.verify().ok
                flip(path, byte, bit)


def test_the_damaged_block_and_its_ids_are_named(tmp_path):
    count = 2 * BLOCK_ROWS + 100
    with Collection.create(tmp_path / "store", CODEC) as found:
        found.add(range(count), vectors(count))
        found.delete(range(2 * BLOCK_ROWS, count - 2))
        flip(tmp_path / "store" / "codes-1.bin", (BLOCK_ROWS + 5) * CODEC.row_bytes, 3)
        flip(tmp_path / "store" / "codes-1.bin", (count - 1) * CODEC.row_bytes, 7)
        report = found.verify()
        first, last = report.damaged
        assert first == ("codes-1.bin", 1, range(BLOCK_ROWS, 2 * BLOCK_ROWS), list(range(BLOCK_ROWS, 2 * BLOCK_ROWS)))
        assert last == ("codes-1.bin", 2, range(2 * BLOCK_ROWS, count), [count - 2, count - 1])
        assert report.problems == [
            "codes-1.bin: block 1 is damaged: rows 4,096 to 8,191, ids 4096, 4097, 4098, 4099, 4100 and 4,091 more",
            "codes-1.bin: block 2 is damaged: rows 8,192 to 8,291, ids 8290, 8291",
        ]
        before = {path.name: path.read_bytes() for path in (tmp_path / "store").glob("*.bin")}
        with pytest.raises(CollectionError, match=r"block 1 is damaged"):
            found.compact()  # which would give wrong bytes a right checksum
        assert len(found) == BLOCK_ROWS * 2 + 2
        found.add(["more"], vectors(1))  # nor may adding to the last block
        assert [damage.block for damage in found.verify().damaged] == [1, 2]
        assert (tmp_path / "store" / "codes-1.bin").read_bytes().startswith(before["codes-1.bin"])


@pytest.mark.parametrize("name", ["codes-1.bin", "rerank-1.bin", "sketch-1-20.bin"])
@pytest.mark.parametrize("open_first", [False, True])
def test_a_file_cut_short_is_an_error(folder, name, open_first):
    path = folder / name
    reader = Collection.open(folder)
    if open_first:
        reader.search(vectors(1))  # which maps it
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    for read in (
        lambda: reader.search(vectors(1)),
        lambda: reader.search(vectors(1), rerank=20),
        lambda: reader.get(["i5"]),
        lambda: reader.add(["new"], vectors(1)) if not name.startswith("sketch") else reader.search(vectors(1)),
    ):
        with pytest.raises(CollectionError, match=rf"{name}: is cut short: .* bytes, of .*"):
            read()
    report = reader.verify()
    assert any("is cut short" in problem for problem in report.problems)
    reader.close()


def test_a_missing_sketch_is_done_without(folder):
    (folder / "sketch-1-20.bin").unlink()
    with Collection.open(folder) as found:
        assert len(found.search(vectors(1)[0], failure=1e-3).ids) == 10
        assert found.verify().problems == ["sketch-1-20.bin: is missing; build_sketch makes the sketch anew"]


@pytest.mark.parametrize("name", ["codes-1.bin", "rerank-1.bin"])
def test_a_missing_file_is_an_error(folder, name):
    (folder / name).unlink()
    with Collection.open(folder) as found:
        for read in (lambda: found.search(vectors(1)), found.verify, lambda: found.get(["i1"])):
            with pytest.raises(CollectionError, match=f"{name}: is missing"):
                read()


def test_swapped_files_are_found(folder, tmp_path):
    with Collection.create(tmp_path / "other", CODEC, rerank=FINE) as other:
        other.add([f"i{i}" for i in range(20)], vectors(20, seed=5))
    (folder / "codes-1.bin").write_bytes((tmp_path / "other" / "codes-1.bin").read_bytes())
    with Collection.open(folder) as found:
        found.search(vectors(1))
        assert [damage.file for damage in found.verify().damaged] == ["codes-1.bin"]


def test_an_alien_sketch_is_an_error(folder):
    path = folder / "sketch-1-20.bin"
    size = path.stat().st_size
    for data in (bytes(size), Sketch.build(CODEC, CODEC.pack(vectors(19))).data.tobytes().ljust(size, b"\0")):
        path.write_bytes(data)
        with Collection.open(folder) as found, pytest.raises(CollectionError, match="sketch"):
            found.search(vectors(1), failure=1e-3)


def test_alien_folders(folder, tmp_path):
    path = folder / "catalog.sqlite3"
    original = path.read_bytes()
    path.write_bytes(b"This is no database, but a letter. " * 100)
    with pytest.raises(CollectionError, match="not a database"):
        Collection.open(folder)
    path.write_bytes(original)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA application_id = 7")
    database.close()
    with pytest.raises(CollectionError, match="not of a frazil collection"):
        Collection.open(folder, CODEC)
    path.unlink()
    with pytest.raises(CollectionError, match="not empty"):
        Collection.open(folder, CODEC)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter").write_text("x")
    with pytest.raises(CollectionError, match="not empty: it holds 'letter'"):
        Collection.create(tmp_path / "foreign", CODEC)
    assert [file.name for file in (tmp_path / "foreign").iterdir()] == ["letter"]  # nor does it now hold more
    with pytest.raises(CollectionError, match="holds no collection"):
        Collection.open(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CollectionError, match="no"):
        Collection.open(tmp_path / "file")


def test_a_newer_format_is_refused_by_name(folder):
    with sqlite3.connect(folder / "catalog.sqlite3") as database:
        database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(CollectionError, match="is of format version 2; this frazil reads version 1: a newer frazil"):
        Collection.open(folder)


@pytest.mark.parametrize("text", ["document 7 \u00fc", '"n":77', "id 7"])
def test_every_flipped_bit_of_an_item_is_found(tmp_path, text):
    """Wherever SQLite keeps it; what is left of the item is named, and a compaction does not make it right."""
    with Collection.create(tmp_path / "store", CODEC) as found:
        ids = [f"id {n}" for n in range(9)]
        documents = [f"document {n} \u00fc" for n in range(9)]
        found.add(ids, vectors(9), documents, [{"n": 11 * n} for n in range(9)])
        found.upsert(ids[:2], vectors(2), ["other", None], [None, {}])
    path = tmp_path / "store" / "catalog.sqlite3"
    data = path.read_bytes()
    places = [match.start() for match in re.finditer(re.escape(text.encode()), data)]
    assert places
    for start in places:
        for place in range(start, start + len(text.encode())):
            for bit in range(8):
                flip(path, place, bit)
                with Collection.open(tmp_path / "store") as found:
                    report = found.verify()
                    assert not report.ok, (place, bit)
                    if "id" not in text:
                        assert report.damaged_ids == ["id 7"]
                        assert "catalog.sqlite3: damaged items: 1, ids 'id 7'" in report.problems
                flip(path, place, bit)
    if "id" not in text:
        flip(path, places[0], 0)
        with Collection.open(tmp_path / "store") as found:
            found.compact()
            assert found.verify().damaged_ids == ["id 7"]
            found.upsert(["id 7"], vectors(1), ["new"])
            assert found.verify().ok


def test_the_checksums_of_items_are_those_of_the_page(tmp_path):
    items = [
        (7, None, None),
        (-(2**63), "", {}),
        ("7", None, {"a": "\u00fc"}),
        ("", "doc\0ument", None),
        ("\u00fc\0", "x", {"b": 1}),
    ]
    with Collection.create(tmp_path / "store", CODEC) as found:
        ids, documents, metadatas = (list(column) for column in zip(*items, strict=True))
        found.add(ids[:1], vectors(1))
        found.add(ids[1:2], vectors(1), documents[1:2], metadatas[1:2])
        found.upsert(ids[1:], vectors(4), documents[1:], metadatas[1:])
        found.compact()
        assert found.verify().ok
    with sqlite3.connect(tmp_path / "store" / "catalog.sqlite3") as database:
        told = dict(database.execute("SELECT id, crc32 FROM items"))
    database.close()
    for name, document, metadata in items:
        data = b"\x01" + str(name).encode() if isinstance(name, int) else b"\x02" + name.encode()
        data += b"" if document is None else b"\x03" + document.encode()
        data += (
            b""
            if metadata is None
            else b"\x04" + json.dumps(metadata, separators=(",", ":"), ensure_ascii=False).encode()
        )
        assert told[name] == zlib.crc32(data)
    page = Path(__file__).parents[1] / "docs" / "format.md"
    if page.is_file():
        assert f"0x{told[7]:08X}" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE dead SET row = 1000 WHERE number = 1", "dead rows out of range: 1"),
        ("UPDATE dead SET row = -1 WHERE number = 1", "dead rows out of range: 1"),
        ("UPDATE dead SET row = 1.5 WHERE number = 1", "dead rows out of range: 1"),
        ("UPDATE dead SET row = (SELECT row FROM dead WHERE number = 2)", "different dead rows: 1, where 2"),
        ("UPDATE dead SET row = 7 WHERE number = 1", "items in dead rows: 1"),
        ("UPDATE dead SET number = -4 WHERE number = 1", "numbers of dead rows: 1, where 2"),
        ("INSERT INTO dead VALUES (-1, 3)", "dead rows: 3, where 2"),
        ("UPDATE items SET metadata = '[1]' WHERE row = 7", "metadata not JSON objects: 1"),
        ("UPDATE items SET metadata = 'null' WHERE row = 7", "metadata not JSON objects: 1"),
        ("UPDATE items SET metadata = x'7b7d' WHERE row = 7", "metadata of a wrong type: 1"),
        ("UPDATE items SET document = x'7b7d' WHERE row = 7", "documents of a wrong type: 1"),
        ("UPDATE items SET document = CAST(x'ff' AS TEXT) WHERE row = 7", "damaged items: 1, ids 'i7'"),
        ("UPDATE items SET crc32 = crc32 + 1 WHERE row = 7", "damaged items: 1, ids 'i7'"),
        ("UPDATE items SET crc32 = 'x'", "damaged items: 18, ids 'i0'"),
        ("UPDATE items SET id = 7 WHERE row = 7", "damaged items: 1, ids 7"),
        ("UPDATE items SET id = x'07' WHERE row = 7", "ids of a wrong type: 1"),
        ("UPDATE items SET id = 1.5 WHERE row = 7", "damaged items: 1, ids 1.5"),
        ("DELETE FROM items WHERE row = 7", "items: 17, where 18"),
    ],
)
def test_what_verify_says_of_a_catalog(statement, problem, folder):
    with Collection.open(folder) as found:
        assert found.verify().ok
    with sqlite3.connect(folder / "catalog.sqlite3") as database:
        database.execute(statement)
    database.close()
    with Collection.open(folder) as found:
        assert any(problem in one for one in found.verify().problems), found.verify().problems


HOSTILE = [
    "UPDATE state SET rows = 1000000000",
    "UPDATE state SET rows = 9223372036854775807",
    "UPDATE state SET rows = -1",
    "UPDATE state SET rows = 'many'",
    "UPDATE state SET rows = 1e300",
    "UPDATE state SET rows = 10",
    "UPDATE state SET dead = 21",
    "UPDATE state SET dead = 1",
    "UPDATE state SET dead = 5",
    "UPDATE state SET dead = 0",
    "UPDATE state SET generation = 99",
    "UPDATE state SET generation = '../../etc/passwd'",
    "UPDATE state SET generation = x'00'",
    "UPDATE state SET sketch_rows = 19",
    "UPDATE state SET sketch_rows = 2000",
    "UPDATE state SET sketch_rows = -5",
    "DELETE FROM state",
    "INSERT INTO state SELECT * FROM state",
    "UPDATE codecs SET dim = 4096",
    "UPDATE codecs SET dim = 1000000000000",
    "UPDATE codecs SET dim = 0",
    "UPDATE codecs SET bits = 8",
    "UPDATE codecs SET bits = 3",
    "UPDATE codecs SET code_limit = 1e300",
    "UPDATE codecs SET code_limit = 'x'",
    "UPDATE codecs SET code_limit = 0.19",
    "UPDATE codecs SET code_limit = 9e999",
    "UPDATE codecs SET refine = 1",
    "UPDATE codecs SET refine = 2",
    "UPDATE codecs SET projection = 'x'",
    "UPDATE codecs SET projection = zeroblob(0)",
    "UPDATE codecs SET projection = zeroblob(129)",
    "UPDATE codecs SET projection = zeroblob(4096)",
    "UPDATE codecs SET metric = zeroblob(4096)",
    "UPDATE codecs SET crc32 = -1",
    "UPDATE codecs SET crc32 = 'x'",
    "DELETE FROM codecs",
    "INSERT INTO codecs SELECT 'other', dim, bits, code_limit, spacing, projection, refine, metric, crc32 FROM codecs "
    "LIMIT 1",
    "UPDATE codecs SET kind = 'other' WHERE kind = 'rerank'",
    "UPDATE properties SET model = x'ff'",
    "UPDATE properties SET model = CAST(x'ff' AS TEXT)",
    "DELETE FROM properties",
    "INSERT INTO properties SELECT * FROM properties",
    "UPDATE items SET row = 1000000 WHERE row = 5",
    "UPDATE items SET row = -7 WHERE row = 5",
    "UPDATE items SET row = 9223372036854775807 WHERE row = 5",
    "UPDATE items SET row = 3 WHERE row = 5",
    "DELETE FROM items WHERE row = 5",
    "UPDATE items SET id = x'0102' WHERE row = 5",
    "UPDATE items SET id = 1.5 WHERE row = 5",
    "UPDATE items SET id = CAST(x'ff' AS TEXT) WHERE row = 5",
    "UPDATE items SET document = x'ff' WHERE row = 5",
    "UPDATE items SET document = CAST(x'ff' AS TEXT) WHERE row = 5",
    "UPDATE items SET metadata = '[1, 2]' WHERE row = 5",
    "UPDATE items SET metadata = '7' WHERE row = 5",
    "UPDATE dead SET row = 1000000",
    "UPDATE dead SET row = -1",
    "UPDATE dead SET row = 'x'",
    "UPDATE dead SET row = 5",
    "UPDATE dead SET number = number + 7",
    "DELETE FROM dead",
    "DELETE FROM blocks",
    "UPDATE blocks SET bytes = 1000000000000",
    "UPDATE blocks SET bytes = -1",
    "UPDATE blocks SET block = 1000000000000",
    "UPDATE blocks SET crc32 = 'x'",
    "UPDATE blocks SET crc32 = 0",
    "UPDATE fields SET name = 'other'",
    "INSERT INTO fields VALUES (7, 'x')",
    "UPDATE fields SET name = x'00'",
    "DROP TABLE items",
    "DROP TABLE notes",
    "CREATE TABLE more (x)",
    "CREATE VIEW more AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x FROM n",
    "CREATE TRIGGER evil AFTER INSERT ON items BEGIN DELETE FROM items; END",
    "CREATE INDEX evil ON items (document)",
    # Something else that has a table's name, before the table, which is as it was.
    "CREATE TRIGGER notes AFTER INSERT ON items BEGIN DELETE FROM items; END; DROP TABLE notes; CREATE TABLE notes "
    + catalogs._TABLES["notes"],
    "CREATE TRIGGER state AFTER DELETE ON items BEGIN DELETE FROM state; END; CREATE TABLE t AS SELECT * FROM state; "
    f"DROP TABLE state; CREATE TABLE state {catalogs._TABLES['state']}; "
    "INSERT INTO state SELECT * FROM t; DROP TABLE t",
    "DROP TABLE lists_1; CREATE TABLE lists_1 (m_1, block, rows)",
    "DROP TABLE lists_1",
    "UPDATE lists_1 SET rows = zeroblob(1)",
    "UPDATE lists_1 SET rows = zeroblob(9000)",
    "UPDATE lists_1 SET block = 1000000000000",
    "DELETE FROM lists_1",
    "ANALYZE",
    "PRAGMA writable_schema = 1; UPDATE sqlite_master SET tbl_name = 'dead' WHERE name = 'sqlite_autoindex_lists_1_1'",
    "PRAGMA writable_schema = 1; UPDATE sqlite_master SET type = 'view' WHERE name = 'notes'",
    "PRAGMA writable_schema = 1; INSERT INTO sqlite_master SELECT * FROM sqlite_master WHERE name = 'notes'",
    "PRAGMA writable_schema = 1; DELETE FROM sqlite_master WHERE name = 'sqlite_autoindex_items_1'",
    "ALTER TABLE items ADD COLUMN more",
    "DROP TABLE state; CREATE VIEW state AS SELECT 1 AS generation, 20 AS rows, 2 AS dead, 9 AS version, 0 sketch_rows",
]


def everything_wrong_with(folder):
    """What every operation on a folder has to say; anything but a clear error fails the test."""
    wrong = []

    def attempt(call):
        try:
            return call()
        except (CollectionError, ValueError) as error:
            wrong.append(str(error) or repr(error))
            return None

    x = np.ones((2, 32))
    found = attempt(lambda: Collection.open(folder))
    if found is None:
        return wrong
    report = attempt(found.verify)
    wrong += report.problems if report is not None else []
    for k in (1, 50):
        for options in ({}, {"rerank": 60}, {"failure": 1e-3}, {"where": {"n": {"$gte": 0}}}, {"ids": ["i5", "i6"]}):
            attempt(lambda k=k, options=options: found.search(x, k=k, **options))
    attempt(lambda: len(found))
    attempt(lambda: list(found))
    attempt(lambda: list(found.batches(3)))
    attempt(lambda: found.get(["i5", "i7"]))
    attempt(found.info)
    attempt(lambda: found.add(["new"], x[:1]))
    attempt(lambda: found.upsert(["i5", "i6"], x))
    attempt(lambda: found.delete(["i8", "i5"]))
    attempt(found.build_sketch)
    attempt(found.compact)
    found.close()
    return wrong


SCHEMA = [text for text in HOSTILE if text.startswith(("CREATE", "DROP", "ALTER", "ANALYZE", "PRAGMA"))]


@pytest.mark.parametrize("statement", SCHEMA)
def test_a_schema_that_is_not_the_formats_is_refused(statement, folder):
    database = sqlite3.connect(folder / "catalog.sqlite3")
    database.executescript(statement)
    database.commit()
    database.close()
    with pytest.raises(CollectionError):
        Collection.open(folder)


@pytest.mark.parametrize("statement", HOSTILE)
def test_hostile_catalogs_end_in_errors(statement, folder):
    database = sqlite3.connect(folder / "catalog.sqlite3")
    database.executescript(statement)
    database.commit()
    database.close()
    assert everything_wrong_with(folder)


def test_a_catalog_of_random_bytes(folder, tmp_path):
    """Bytes of the database turned at random: whatever SQLite makes of it, it is an error, or an answer."""
    chance = np.random.default_rng(7)
    data = (folder / "catalog.sqlite3").read_bytes()
    for _ in range(60):
        copy = copied(folder, tmp_path / "copy")
        broken = bytearray(data)
        for place in chance.integers(0, len(data), chance.integers(1, 60)):
            broken[place] = int(chance.integers(0, 256))
        (copy / "catalog.sqlite3").write_bytes(bytes(broken))
        try:
            with Collection.open(copy) as found:
                found.verify()
                found.search(vectors(2), k=30)
                found.upsert(["i5", "new"], vectors(2))
                found.compact()
                list(found.batches())
        except (CollectionError, ValueError):
            pass


def test_the_page_says_what_the_catalog_is():
    page = Path(__file__).parents[1] / "docs" / "format.md"
    if not page.is_file():
        pytest.skip("the installed package alone, without its sources")
    text = page.read_text(encoding="utf-8")
    told = re.findall(r"^CREATE TABLE (\w+) (.*)$", text, re.MULTILINE)
    assert dict(told) == catalogs._TABLES
    assert f"0x{catalogs._APPLICATION_ID:X}" in text


def test_no_pickle():
    for path in Path(catalogs.__file__).parent.glob("*.py"):
        assert "pickle" not in path.read_text(encoding="utf-8").replace("allow_pickle=False", "")


def test_a_hit_without_an_item_is_an_error(tmp_path):
    found = filled(tmp_path / "store")
    found.close()
    with sqlite3.connect(tmp_path / "store" / "catalog.sqlite3") as database:
        database.execute("DELETE FROM items WHERE row = 4")
    database.close()
    with Collection.open(tmp_path / "store") as again, pytest.raises(CollectionError, match="knows nothing of row 4"):
        again.search(vectors(10)[4])


def test_a_report_is_true_where_all_is_well(tmp_path):
    with filled(tmp_path / "store", count=5000) as found:
        assert found.verify()
    with (tmp_path / "store" / "codes-1.bin").open("r+b") as file:
        file.write(b"damage")
    with Collection.open(tmp_path / "store") as found:
        report = found.verify()
        assert not report
        assert len(report.damaged[0].ids) == 4096
        assert len(repr(report)) < 500  # not all of them
        assert "'i4' and 4,091 more" in repr(report)
