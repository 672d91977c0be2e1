"""Readers while a writer writes; searches larger than memory; equality with the codec's own search."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from collections_common import CODEC, assert_whole, vector_of

from frazil import ARCTIC_INT4, Collection


def rows(names, version):
    x = np.array([vector_of(name, version) for name in names], np.float32)
    metadatas = [{"even": version % 2 == 0, "version": version}] * len(names)
    return names, x, [f"{name} {version}" for name in names], metadatas


def read_while_writing(folder, seconds):
    """Run four readers while this process changes the collection in every way; return their counts."""
    chance = random.Random(5)
    with Collection.create(folder, CODEC) as writer:
        writer.create_index("even")
        writer.add(*rows(list(range(100)), 0))
        writer.add(*rows(list(range(100, 200)), 1))
        writer.build_sketch()
        program = str(Path(__file__).with_name("reader_process.py"))
        readers = [
            subprocess.Popen(
                [sys.executable, "-W", "error", program, str(folder), str(seconds), str(seed)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for seed in range(4)
        ]
        version = 1
        deleted = []
        while any(reader.poll() is None for reader in readers):
            version += 1
            what = chance.random()
            if what < 0.45:  # a bit of everything even stays: at least 20 for any search
                writer.upsert(*rows(chance.sample(range(200), 15), version))
                deleted = []
            elif what < 0.65 and not deleted:
                deleted = chance.sample(range(200), 10)
                writer.delete(deleted)
            elif what < 0.85:
                names = [name for name in range(200) if name not in writer]
                if names:
                    writer.add(*rows(names, version + version % 2))
                deleted = []
            elif what < 0.95:
                writer.compact()
            else:
                writer.build_sketch()
        counts = []
        for reader in readers:
            out, err = reader.communicate()
            assert reader.returncode == 0, err
            counts.append(tuple(map(int, out.split())))
        assert_whole(writer)
    return counts


def test_readers_see_what_belongs_together(tmp_path):
    counts = read_while_writing(tmp_path / "store", 4)
    assert all(searches > 20 and versions > 3 for searches, versions in counts), counts


@pytest.mark.soak
def test_readers_see_what_belongs_together_for_a_minute(tmp_path):
    counts = read_while_writing(tmp_path / "store", 60)
    assert all(searches > 500 and versions > 50 for searches, versions in counts), counts


LIMITED = """
import resource, sys, time
import numpy as np
from frazil import ARCTIC_INT4, Collection
rows, room = int(sys.argv[2]), int(sys.argv[3])
codes = np.memmap(sys.argv[1] + ".raw", np.uint8, "r", shape=(rows, 128))
with Collection.open(sys.argv[1], ARCTIC_INT4) as found:
    found.add([-1], codes=codes[:1])  # all libraries are loaded, all threads made
    found.search(np.ones(256))
    status = dict(line.split(":") for line in open("/proc/self/status"))
    limit = int(status["VmData"].split()[0]) * 1024 + room
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # not of mapped files: those the kernel can drop
    try:
        np.ones(room + (1 << 20), np.uint8)
    except MemoryError:
        pass
    else:
        raise SystemExit("the limit does not hold")
    for start in range(0, rows, 50_000):
        found.add(range(start, min(rows, start + 50_000)), codes=codes[start : start + 50_000])
    assert len(found) == rows + 1
    hits = found.search(np.ones((2, 256)), k=5)
    assert hits.scores.shape == (2, 5)
    for start in range(0, rows, 50_000):
        found.delete(range(start, min(rows, start + 50_000), 2))
    found.compact()
    assert found.verify().ok
    assert found.search(np.ones(256), k=5).scores.shape == (5,)
print("ok")
"""


def limited(folder, rows, room):
    with Path(f"{folder}.raw").open("wb") as file:
        file.truncate(rows * 128)  # a hole: zeros that take no disk
    command = [sys.executable, "-c", LIMITED, str(folder), str(rows), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "ok\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts what is meant on Linux")
def test_memory_stays_flat(tmp_path):
    limited(tmp_path / "store", 1_000_000, 64 << 20)  # 128 MB of codes


@pytest.mark.soak
def test_larger_than_memory(tmp_path):
    limited(tmp_path / "store", 20_000_000, 384 << 20)  # 2.56 GB of codes


def test_real_embeddings(collections, tmp_path):
    for name, documents, queries in collections:
        folder = Path(documents.filename).parent
        lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line) for line in lines]
        with Collection.create(tmp_path / name, ARCTIC_INT4) as found:
            found.add([text["_id"] for text in texts], documents, [text["text"] for text in texts])
            hits = found.search(queries, k=10)
            plain = ARCTIC_INT4.search(queries, ARCTIC_INT4.pack(documents), k=10)
            assert np.array_equal(hits.scores, plain.scores)
            assert hits.ids == [[texts[row]["_id"] for row in rows] for rows in plain.rows]
            assert hits.documents == [[texts[row]["text"] for row in rows] for rows in plain.rows]
