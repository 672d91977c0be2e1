"""Any sequence of operations, compared with a plain dict that they are applied to as well."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from collections_common import CODEC, assert_whole, vector_of
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from frazil import Codec, Collection, CollectionError

FINE = Codec(32, 8)
IDS = st.one_of(st.integers(0, 12), st.sampled_from([str(n) for n in range(6)]), st.sampled_from(["", "é\0", "🧊"]))
LISTS = st.lists(IDS, max_size=6, unique=True)
METADATA = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(["a", "b", "c.d", 'q"uote', "ü"]),
        st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, "x", "y", "1"])),
        max_size=3,
    ),
)


class Model(RuleBasedStateMachine):
    """`self.items`: id -> (vector, document, metadata), in the order of rows."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.collection = Collection.create(self.folder / "store", CODEC, rerank=FINE)
        self.reader = Collection.open(self.folder / "store")
        self.items = {}
        self.version = 0

    def teardown(self):
        assert_whole(self.collection)
        self.collection.close()
        self.reader.close()
        shutil.rmtree(self.folder)

    def new(self, ids, data):
        self.version += 1
        made = {}
        for name in ids:
            metadata = data.draw(METADATA)
            made[name] = vector_of(name, self.version), f"{name!r} {self.version}", metadata
        arrays = np.array([item[0] for item in made.values()], np.float32).reshape(len(made), 32)
        return made, (ids, arrays, [item[1] for item in made.values()], [item[2] for item in made.values()])

    @rule(ids=LISTS, data=st.data())
    def add(self, ids, data):
        made, arguments = self.new(ids, data)
        if any(name in self.items for name in ids):
            with pytest.raises(ValueError, match="already"):
                self.collection.add(*arguments)
            return
        self.collection.add(*arguments)
        self.items |= made

    @rule(ids=LISTS, data=st.data())
    def upsert(self, ids, data):
        made, arguments = self.new(ids, data)
        self.collection.upsert(*arguments)
        self.items = {name: item for name, item in self.items.items() if name not in made} | made

    @rule(ids=LISTS)
    def delete(self, ids):
        assert self.collection.delete(ids) == sum(name in self.items for name in ids)
        for name in ids:
            self.items.pop(name, None)

    @rule()
    def compact(self):
        self.collection.compact()

    @rule()
    def sketch(self):
        self.collection.build_sketch()

    @rule(field=st.sampled_from(["a", "b", "c.d", "ü"]))
    def index(self, field):
        self.collection.create_index(field)

    @rule()
    def reopen(self):
        self.collection.close()
        self.collection = Collection.open(self.folder / "store", CODEC, rerank=FINE)

    @rule()
    def second_writer(self):
        self.collection.upsert([], np.empty((0, 32)), notes={"a": "b"})
        with pytest.raises(CollectionError, match="is writing"):
            self.reader.delete([1])

    @rule(ids=LISTS)
    def get(self, ids):
        found = self.reader.get(ids)
        there = [name for name in ids if name in self.items]
        assert [(type(name), name) for name in found.ids] == [(type(name), name) for name in there]
        assert found.documents == [self.items[name][1] for name in there]
        assert found.metadatas == [self.items[name][2] for name in there]
        for name, codes in zip(there, found.codes, strict=True):
            assert np.array_equal(codes, CODEC.pack(self.items[name][0]))

    @rule(
        k=st.integers(1, 15), field=st.sampled_from(["a", "b", "c.d", 'q"uote']), failure=st.sampled_from([None, 1e-9])
    )
    def search(self, k, field, failure):
        self.check_search(
            lambda _, metadata: (metadata or {}).get(field) is not None, {field: {"$ne": None}}, k, failure
        )

    @precondition(lambda self: self.items)
    @rule(data=st.data())
    def search_equal(self, data):
        where = data.draw(st.sampled_from([item[2] or {} for item in self.items.values()]))
        self.check_search(
            lambda _, other: all((other or {}).get(n) == value for n, value in where.items()), where, 5, None
        )

    @rule(ids=LISTS, k=st.integers(1, 5))
    def search_ids(self, ids, k):
        self.check_search(lambda name, _: name in ids, None, k, None, ids=ids)

    def check_search(self, allowed, where, k, failure, **options):
        names = [name for name, item in self.items.items() if allowed(name, item[2])]
        query = vector_of("query", self.version)
        for finer in (False, True):
            codec = FINE if finer else CODEC
            hits = self.reader.search(
                query, k=k, where=where, failure=failure, rerank=100 if finer else None, **options
            )
            x = np.array([self.items[name][0] for name in names], np.float32).reshape(-1, 32)
            truth = codec.search(query, codec.pack(x), k=k)
            assert np.array_equal(hits.scores, truth.scores)
            assert hits.ids == [names[row] for row in truth.rows]
            assert hits.documents == [self.items[name][1] for name in hits.ids]
            assert hits.metadatas == [self.items[name][2] for name in hits.ids]

    @invariant()
    def same_ids(self):
        assert len(self.reader) == len(self.collection) == len(self.items)
        assert list(self.reader) == list(self.items)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
