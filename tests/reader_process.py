"""A reader that searches a collection while another process changes it.

Run as a program: reader_process.py FOLDER SECONDS SEED. Every hit's document says its id and version; from them its
vector, its code and its score follow.
"""

import random
import sys
import time

import numpy as np
from collections_common import CODEC, vector_of

from frazil import Collection


def read(folder: str, seconds: float, seed: int) -> tuple[int, int]:
    """Return how many searches there were, and in how many versions of the collection."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    searches, versions = 0, set()
    codes = {}
    with Collection.open(folder) as collection:
        while time.monotonic() < end:
            query = vector_of(chance.randrange(200), 0)
            k = chance.choice([1, 5, 20])
            options = chance.choice([{}, {"where": {"even": True}}, {"failure": 1e-9}, {"ids": list(range(0, 200, 3))}])
            hits = collection.search(query, k=k, **options)
            searches += 1
            versions.add(collection.refresh())
            assert len(hits.ids) == k, (len(hits.ids), options)  # the writer never leaves fewer
            assert len(set(hits.ids)) == k
            for score, name, text, metadata in zip(*hits, strict=True):
                told, version = map(int, text.split())
                assert told == name, (told, name)
                assert metadata == {"even": version % 2 == 0, "version": version}
                assert metadata["even"] or "where" not in options
                assert name % 3 == 0 or "ids" not in options
                if (name, version) not in codes:
                    codes[name, version] = CODEC.pack(vector_of(name, version))
                expected = CODEC.score(query, codes[name, version][None])[0]
                assert expected == score, (name, version, expected, score)
            assert np.all(np.diff(hits.scores) <= 0)
            if chance.random() < 0.05:
                names = [name for batch in collection.batches(50) for name in batch.ids]
                assert len(names) == len(set(names))
            if chance.random() < 0.2:
                found = collection.get(chance.sample(range(200), 10))
                for name, row, text in zip(found.ids, found.codes, found.documents, strict=True):
                    told, version = map(int, text.split())
                    assert told == name
                    assert np.array_equal(row, CODEC.pack(vector_of(name, version)))
    return searches, len(versions)


if __name__ == "__main__":
    print(*read(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
