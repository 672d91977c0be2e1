"""Filters: every operator against plain Python, hostile names and values, indexes, and that k answers are found."""

import json
import math

import numpy as np
import pytest
from collections_common import CODEC, vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frazil import Collection
from frazil.collection import catalog, rowsets
from frazil.collection.filters import compile_filter
from frazil.collection.selecting import Selector

HOSTILE_NAMES = [
    "a",
    "a.b",
    "a[0]",
    "$.a",
    'a"b',
    "a\\b",
    "a'b",
    "'); DROP TABLE items; --",
    '"); DROP TABLE items; --',
    "$",
    "ü\u2028",
    "🧊",
    "a b",
    "%",
    "tab\t",
    "",
    "id",
    "row",
    "m_1",
    "#-1",
]
VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**40,
    0.5,
    1.0,
    -1e300,
    0.1,
    1e16 + 2,
    "",
    "x",
    "y",
    "1",
    "é",
    "'; --",
    [1],
    {"a": 1},
]
ROWS = [{}, None]
ROWS += [{"a": value} for value in VALUES]
ROWS += [{name: index} for index, name in enumerate(HOSTILE_NAMES)]
ROWS += [{"a": index % 7, "b": str(index % 3), "c": index / 10} for index in range(60)]
SCALARS = [value for value in VALUES if not isinstance(value, list | dict)]


def is_number(value):
    return isinstance(value, int | float)


def equal(a, b):
    return a == b and is_number(a) == is_number(b)


def compares(value, other, sign):
    if not (is_number(value) and is_number(other)) and not (isinstance(value, str) and isinstance(other, str)):
        return False
    return {"$gt": value > other, "$gte": value >= other, "$lt": value < other, "$lte": value <= other}[sign]


def meets(metadata, name, operator, other):
    value = metadata.get(name)
    if isinstance(value, list | dict):
        value = json.dumps(value, separators=(",", ":"))
    if operator == "$exists":
        return (name in metadata) == other
    if operator in ("$eq", "$ne"):
        return equal(value, other) == (operator == "$eq")
    if operator in ("$in", "$nin"):
        return any(equal(value, one) for one in other) == (operator == "$in")
    return compares(value, other, operator)


def holds(where, metadata):
    """What a filter means."""
    metadata = metadata or {}
    for name, condition in where.items():
        if name == "$and":
            if not all(holds(one, metadata) for one in condition):
                return False
        elif name == "$or":
            if not any(holds(one, metadata) for one in condition):
                return False
        elif name == "$not":
            if holds(condition, metadata):
                return False
        else:
            operators = condition if isinstance(condition, dict) else {"$eq": condition}
            if not all(meets(metadata, name, operator, other) for operator, other in operators.items()):
                return False
    return True


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "indexed"])
def collection(request, tmp_path_factory):
    with Collection.create(tmp_path_factory.mktemp("filters") / "store", CODEC) as found:
        found.add(range(len(ROWS)), vectors(len(ROWS)), metadatas=ROWS)
        if request.param:
            for name in HOSTILE_NAMES:
                if name and not set(name) & set('"\\\t'):
                    found.create_index(name)
                else:
                    with pytest.raises(ValueError, match="field"):
                        found.create_index(name)
            assert "a" in found.info()["indexed_fields"]
        yield found


def check(collection, where):
    wanted = [row for row, metadata in enumerate(ROWS) if holds(where, metadata)]
    hits = collection.search(vectors(1)[0], k=len(ROWS), where=where)
    assert sorted(hits.ids) == wanted, where
    few = collection.search(vectors(1)[0], k=3, where=where)
    assert few.ids == hits.ids[:3]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
@pytest.mark.parametrize("operator", ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"])
def test_comparisons(collection, operator, value):
    if value is None and operator not in ("$eq", "$ne"):
        with pytest.raises(TypeError, match="None"):
            collection.search(vectors(1), where={"a": {operator: value}})
        return
    check(collection, {"a": {operator: value}})
    check(collection, {"$not": {"a": {operator: value}}})


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names(collection, name):
    if name.startswith("$"):
        with pytest.raises(ValueError, match="unknown operator"):
            collection.search(vectors(1), where={name: 1})
        return
    for value in range(len(HOSTILE_NAMES)):
        check(collection, {name: value})
    check(collection, {name: {"$exists": True}})
    check(collection, {name: {"$exists": False}})
    check(collection, {name: {"$in": [1, 2, 3, None, "x", True]}})
    check(collection, {"$or": [{name: {"$gt": 3}}, {name: {"$lt": "x"}}]})


@pytest.mark.parametrize("value", HOSTILE_NAMES)
def test_hostile_values(collection, value):
    for operator in ("$eq", "$ne", "$gt", "$lte"):
        check(collection, {"a": {operator: value}})
    check(collection, {"a": {"$in": [value] * 3}})


def test_lists(collection):
    for values in (
        [],
        [None],
        [1, "1", 0.5],
        list(range(-200, 400)),
        [*map(str, range(500)), 0.1, None, True],
        {1, 2},
        (3,),
    ):
        check(collection, {"a": {"$in": values}})
        check(collection, {"a": {"$nin": values}})
        check(collection, {"b": {"$in": values}, "a": {"$nin": values}})


def test_numbers_of_all_kinds(collection):
    for value in (np.int8(3), np.float32(0.5), np.bool_(True), -(2**63), 2**63 - 1, 2.0**63, math.inf, -math.inf):
        plain = value.item() if isinstance(value, np.generic) else value
        for operator in ("$eq", "$gt", "$lte"):
            wanted = [row for row, metadata in enumerate(ROWS) if holds({"a": {operator: plain}}, metadata)]
            assert sorted(collection.search(vectors(1)[0], k=999, where={"a": {operator: value}}).ids) == wanted
    for value in (2**63, -(2**63) - 1, 10**400):  # SQLite would take them for the floats nearest to them
        for condition in (value, {"$lt": value}, {"$in": [value]}, {"$in": [value] * 300}):
            with pytest.raises(ValueError, match="64 bits"):
                collection.search(vectors(1)[0], where={"a": condition})


def test_lists_of_all_kinds(collection):
    wanted = [row for row, metadata in enumerate(ROWS) if holds({"a": {"$in": [1, 3, 5]}}, metadata)]
    for some in (np.array([1, 3, 5]), np.array([1, 3, 5], np.float32), range(1, 6, 2), {1: 0, 3: 0, 5: 0}.keys()):
        assert sorted(collection.search(vectors(1)[0], k=999, where={"a": {"$in": some}}).ids) == wanted
    once = {"$or": [{"a": {"$in": iter([1, 3])}}, {"$not": {"a": {"$nin": map(int, "5")}}}]}
    assert sorted(collection.search(vectors(1)[0], k=999, where=once).ids) == wanted
    for padding in ([math.inf, -math.inf] * 200, np.full(200, np.inf)):
        assert sorted(collection.search(vectors(1)[0], k=999, where={"a": {"$in": [1, 3, 5, *padding]}}).ids) == wanted
    for wrong in (np.array(3), np.ones((2, 2)), np.array(["2020"], "M8[D]"), np.array([5], "m8[s]"), {1: 2}):
        with pytest.raises(TypeError, match="where"):
            collection.search(vectors(1)[0], where={"a": {"$in": wrong}})


def test_empty_filters(collection):
    for where in ({}, {"$and": []}, {"$or": []}, {"$not": {}}, {"a": {}}):
        check(collection, where)


NAMES = st.sampled_from(["a", "b", "c", 'a"b', "id"])
LEAVES = st.one_of(
    st.builds(lambda name, value: {name: value}, NAMES, st.sampled_from(SCALARS)),
    st.builds(
        lambda name, operator, value: {name: {operator: value}},
        NAMES,
        st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$ne"]),
        st.sampled_from([value for value in SCALARS if value is not None]),
    ),
    st.builds(lambda name, values: {name: {"$in": values}}, NAMES, st.lists(st.sampled_from(SCALARS), max_size=4)),
    st.builds(lambda name, wanted: {name: {"$exists": wanted}}, NAMES, st.booleans()),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"$and": parts}, st.lists(inner, max_size=3)),
        st.builds(lambda parts: {"$or": parts}, st.lists(inner, max_size=3)),
        st.builds(lambda part: {"$not": part}, inner),
        st.builds(lambda a, b: {**a, **b}, inner, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=FILTERS)
def test_any_filter(collection, where):
    check(collection, where)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ([], TypeError),
        ("a = 1", TypeError),
        ({1: 2}, TypeError),
        ({"a": object()}, TypeError),
        ({"a": [1]}, TypeError),
        ({"a": float("nan")}, TypeError),
        ({"a": {"$like": "x"}}, ValueError),
        ({"a": {"gt": 3}}, ValueError),
        ({"a": {"$in": 3}}, TypeError),
        ({"a": {"$in": "abc"}}, TypeError),
        ({"a": {"$in": [object()]}}, TypeError),
        ({"a": {"$in": [float("nan")] * 300}}, TypeError),
        ({"a": {"$exists": 1}}, TypeError),
        ({"$and": {"a": 1}}, TypeError),
        ({"$or": [1]}, TypeError),
        ({"$not": [{"a": 1}]}, TypeError),
        ({"$nor": []}, ValueError),
        ({"a": "\ud800"}, ValueError),
    ],
)
def test_wrong_filters(collection, where, error):
    with pytest.raises(error):
        collection.search(vectors(1), where=where)
    assert len(collection) == len(ROWS)


def test_deep_filters(collection):
    where = {"a": 1}
    for _ in range(20):
        where = {"$not": where}
    check(collection, where)
    for _ in range(2000):
        where = {"$and": [where]}
    with pytest.raises(ValueError, match="nested"):
        collection.search(vectors(1), where=where)


@pytest.mark.parametrize("leaf", [{'a"b': {"$nin": list(range(300))}}, {"a": {"$exists": False}}, {"a": {"$lt": "x"}}])
def test_filters_are_nested_as_deep_as_they_may_be(collection, leaf):
    """Up to the limit SQLite's parser takes them, whatever their shape; beyond it is a clear error."""
    for shape in (
        lambda inner: {"$not": inner},
        lambda inner: {"b": "1", "$or": [{"c": 3}, {"b": "2", **inner}]},
        lambda inner: {"$or": [{"c": 3}, {"$and": [{"a": {"$ne": 2}}, inner]}]},
    ):
        where, deepest = leaf, 0
        for depth in range(1, 40):
            where = shape(where)
            try:
                compile_filter(where, {})
            except ValueError:
                break
            check(collection, where)
            deepest = depth
        with pytest.raises(ValueError, match="nested"):
            collection.search(vectors(1), where=where)
        assert deepest >= 8


def test_long_filters(collection):
    for word in ("$or", "$and"):
        check(collection, {word: [{"a": n} for n in range(1500)]})
        check(collection, {word: [{"a": {"$lt": str(n)}} for n in range(1500)]})
        check(collection, {word: [{"a": {"$ne": n}} for n in range(5000)]})
    for many in ([{"a": n} for n in range(33_000)], [{"a": None}] * 100_000):
        with pytest.raises(ValueError, match="too long"):
            collection.search(vectors(1), where={"$or": many})


def test_nul_characters_and_depth(tmp_path):
    """What SQLite's JSON functions cannot see is refused: not one such item may be there."""
    loop = []
    loop.append(loop)
    with Collection.create(tmp_path / "store", CODEC) as found:
        fine = ["\\u0000", "\\", "\\\\u0000", "a\\", "\x01", '"', [[[1]]]]
        found.add(range(len(fine)), vectors(len(fine)), metadatas=[{"a": one} for one in fine])
        for wrong in ("\0", "a\0b", "\\\0", ["x", {"y": "\0"}]):
            with pytest.raises(ValueError, match="NUL"):
                found.add(["x", "y"], vectors(2), metadatas=[{"a": 1}, {"a": wrong}])
        with pytest.raises(ValueError, match="NUL"):
            found.upsert([0], vectors(1), metadatas=[{"a\0": 1}])
        for wrong in (nested(101), nested(900), nested(5000), loop):
            with pytest.raises(ValueError, match="at most 100 deep"):
                found.add(["x", "y"], vectors(2), metadatas=[{}, {"a": wrong}])
        found.add(["deep"], vectors(1), metadatas=[{"a": nested(99)}])
        assert len(found) == len(fine) + 1
        for one in fine[:-1]:
            assert [fine[name] for name in found.search(vectors(1)[0], where={"a": one}).ids] == [one]
        assert found.search(vectors(1)[0], where={"a": {"$exists": False}}).ids == []
        for condition in ("a\0", {"$in": ["a\0"]}, {"$in": ["a\0"] * 300}, {"$gt": "\0"}):
            with pytest.raises(ValueError, match="NUL"):
                found.search(vectors(1), where={"a": condition})
        assert found.verify().ok


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_no_text_of_the_caller_is_sql():
    for name in HOSTILE_NAMES:
        for value in HOSTILE_NAMES:
            if name.startswith("$"):
                continue
            for condition in (value, {"$in": [value]}, {"$in": [value] * 200}, {"$gt": value}, {"$exists": True}):
                sql = compile_filter({name: condition}, {}).sql
                assert set(sql) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_ (),?$'=<>1")
                assert "DROP" not in sql
                assert "--" not in sql


@pytest.mark.parametrize("at_once", [1, 3, 7, 1000])
def test_rows_are_asked_for_in_parts(collection, monkeypatch, at_once):
    """SQLite's texts end at 1 GB: the row numbers of some hundred million rows."""
    monkeypatch.setattr(catalog, "_FILTERED_AT_ONCE", at_once)
    for where in ({"a": 1}, {"a": {"$ne": 1}}, {"a": {"$gte": 0}}, {"$or": [{"a": "x"}, {"a": None}]}):
        collection._reader._filters.clear()
        check(collection, where)


def test_filters_follow_commits(tmp_path):
    with Collection.create(tmp_path / "store", CODEC) as found, Collection.open(tmp_path / "store") as reader:
        found.add(range(20), vectors(20), metadatas=[{"n": n} for n in range(20)])
        where = {"n": {"$lt": 10}}

        def ids():
            return sorted(reader.search(vectors(1)[0], k=50, where=where).ids)

        assert ids() == list(range(10))
        assert ids() == list(range(10))
        found.delete([3])
        found.upsert([4], vectors(1), metadatas=[{"n": 15}])
        found.upsert([12], vectors(1), metadatas=[{"n": 5}])
        assert ids() == [0, 1, 2, 5, 6, 7, 8, 9, 12]
        found.compact()
        assert ids() == [0, 1, 2, 5, 6, 7, 8, 9, 12]
        found.create_index("n")
        assert ids() == [0, 1, 2, 5, 6, 7, 8, 9, 12]
        found.add([99], vectors(1), metadatas=[{"n": 1}])
        found.delete([0])
        found.compact()  # the index is still one
        assert ids() == [1, 2, 5, 6, 7, 8, 9, 12, 99]
        assert found.verify().ok


INDEXED = [
    {"a": 1},
    {"a": {"$gt": 3}},
    {"a": {"$lt": 3}},
    {"a": {"$in": [1, 2]}},
    {"a": {"$gte": "x"}},
    {"a": 0.5},
    {"a": 1, "row": None},
    {"$or": [{"a": 1}, {"$not": {"row": 17}}]},
]


def statements(collection, where):
    """The statements of SQL by which the rows of a filter are found."""
    with collection._reader.snapshot() as (catalog, view):
        seen = []
        catalog._connection.set_trace_callback(seen.append)
        try:
            allowed = Selector(catalog, view.fields, 0, view.state.rows).select(where)
        finally:
            catalog._connection.set_trace_callback(None)
    allowed = rowsets.as_mask(allowed, len(ROWS))
    assert np.flatnonzero(allowed).tolist() == [row for row, metadata in enumerate(ROWS) if holds(where, metadata)]
    return seen


@pytest.mark.parametrize("where", INDEXED, ids=str)
def test_an_index_is_used(collection, where):
    if not collection.info()["indexed_fields"]:
        assert all("FROM items WHERE" in statement for statement in statements(collection, where))
        return
    found = statements(collection, where)
    assert all("FROM lists_" in statement for statement in found)
    if "$or" not in where:  # of which one part is a negation, which looks at every value
        with collection._reader.snapshot() as (catalog, _):
            for statement in found:
                assert "SEARCH lists_" in catalog._run(f"EXPLAIN QUERY PLAN {statement}")[0][3]


def test_only_candidates_are_looked_at(collection):
    """Where fields with and without an index meet, the first are asked first, and SQLite looks at few items."""
    where = {"a": 5, 'a"b': {"$exists": False}, "$not": {"b": "0"}}
    found = statements(collection, where)
    assert ("json_each" in found[-1] and "CROSS JOIN items" in found[-1]) == bool(collection.info()["indexed_fields"])
    statements(collection, {"a": {"$ne": 5}, 'a"b': {"$exists": False}})  # many: all are looked at
