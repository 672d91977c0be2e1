"""Filters over metadata: a small form of nested dicts, compiled to SQL in which nothing is the caller's text.

    {"year": {"$gte": 2020}, "lang": "en"}                      both
    {"$or": [{"lang": {"$in": ["en", "de"]}}, {"draft": {"$exists": False}}]}

A field is one key of the metadata; a condition on it is a value that it equals, or a dict of operators, all of which
must hold: `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$exists`. `$and` and `$or` take a list of
filters, `$not` takes one.

Values are strings, numbers, booleans (equal to 1 and 0, as in Python) and None, which equals null as well as a field
that is not there. Orders are among numbers, or among strings by code point; a number is neither above nor below a
string. `$ne`, `$nin` and `$not` are exactly what `$eq`, `$in` and the filter within are not. A list or dict among the
metadata counts as a string, its JSON text; an integer of more than 64 bits as the float nearest to it, so that filters
take none: give the float. Strings hold no NUL characters, in metadata as in filters.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from frazil.collection.arguments import INT64, as_plain

__all__ = ["Condition", "compile_filter", "conjuncts", "field_path", "read_once"]

# What SQLite's parser can take: at worst three places of its stack of 100 for each parenthesis, expressions 1,000 deep.
_DEEPEST = 20
_MOST_BRACKETS = 25
_MOST_TOGETHER = 30  # parts that AND or OR chains; each makes an expression deeper
_MOST_VALUES = 32_766 if sqlite3.sqlite_version_info >= (3, 32) else 999
_LONGEST = 900_000  # characters of SQL
_MOST_PARAMETERS = 100  # of one list; more go as one JSON text
_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class Condition(NamedTuple):
    """A filter as SQL."""

    sql: str
    """true of the rows of `items` that the filter lets through"""
    values: list[Any]
    """of its parameters"""
    columns: frozenset[int | None]
    """the numbers of the indexed fields that it looks at; None: it reads the metadata"""


def read_once(where: Any, depth: int = 0) -> Any:
    """Return a filter whose lists of values are lists, where it may have been given what can be read but once."""
    if isinstance(where, list | tuple):
        return [read_once(one, depth) for one in where]
    if not isinstance(where, Mapping) or depth > _DEEPEST:  # the compiler says what is wrong
        return where
    return {
        name: list(value) if name in ("$in", "$nin") and _is_list(value) else read_once(value, depth + 1)
        for name, value in where.items()
    }


def _is_list(values: Any) -> bool:
    is_array = isinstance(values, np.ndarray)
    return (
        values.ndim == 1 if is_array else isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    )


def compile_filter(where: Any, fields: Mapping[str, int]) -> Condition:
    """Return a filter as a condition of SQL.

    Args:
        where: the filter, as `read_once` returns it.
        fields: the indexed fields, with the number of each one's column.

    Raises:
        TypeError: something is of a wrong type.
        ValueError: an operator is unknown, a value not possible, or the filter too deep or too long.
    """
    return _Compiler(fields).compile(where)


def conjuncts(where: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return filters of one key each, none of them `$and`, which all hold where a filter that compiles does."""
    found: list[dict[str, Any]] = []
    for name, value in where.items():
        if name == "$and":
            found += [part for one in value for part in conjuncts(one)]
        else:
            found.append({name: value})
    return found


def field_path(name: str) -> str | None:
    """Return the JSON path of a field; None if SQLite's paths cannot name it on every version."""
    if not name or any(character in '"\\' or character < " " or character == "\x7f" for character in name):
        return None
    return f'$."{name}"'


class _Compiler:
    def __init__(self, fields: Mapping[str, int]) -> None:
        self._fields = fields
        self._values: list[Any] = []
        self._columns: set[int | None] = set()

    def compile(self, where: Any) -> Condition:
        condition = self._filter(where, 0)
        depth = deepest = 0
        for character in condition:
            depth += (character == "(") - (character == ")")
            deepest = max(deepest, depth)
        if deepest > _MOST_BRACKETS:
            raise ValueError(f"where: nested too deep: {deepest} brackets of SQL, of at most {_MOST_BRACKETS}")
        if len(self._values) > _MOST_VALUES or len(condition) > _LONGEST:
            raise ValueError(
                f"where: too long: {len(self._values):,} values in {len(condition):,} characters of SQL, of at most "
                f"{_MOST_VALUES:,} in {_LONGEST:,}; the list of $in may be of any length"
            )
        return Condition(condition, self._values, frozenset(self._columns))

    def _filter(self, where: Any, depth: int) -> str:
        if not isinstance(where, Mapping):
            raise TypeError(f"where: expected a dict, got {type(where).__name__}")
        if depth > _DEEPEST:
            raise ValueError(f"where: expected filters nested at most {_DEEPEST} deep")
        parts = []
        for name, value in where.items():
            if not isinstance(name, str):
                raise TypeError(f"where: expected field names, got {type(name).__name__} {name!r}")
            if name in ("$and", "$or"):
                if not isinstance(value, list | tuple):
                    raise TypeError(f"where: {name}: expected a list of filters, got {type(value).__name__}")
                nested = [self._filter(one, depth + 1) for one in value]
                parts.append(_join(nested, "AND" if name == "$and" else "OR"))
            elif name == "$not":
                parts.append(f"({self._filter(value, depth + 1)}) IS NOT TRUE")
            elif name.startswith("$"):
                raise ValueError(f"where: unknown operator {name!r}; expected $and, $or, $not or a field's name")
            else:
                parts.append(self._field(name, value))
        return _join(parts, "AND")

    def _field(self, name: str, condition: Any) -> str:
        if not isinstance(condition, Mapping):
            return self._equal(name, condition)
        operators: dict[str, Callable[[str, Any], str]] = {
            "$eq": self._equal,
            "$ne": lambda name, value: f"({self._equal(name, value)}) IS NOT TRUE",
            "$in": self._among,
            "$nin": lambda name, value: f"({self._among(name, value)}) IS NOT TRUE",
            "$exists": self._exists,
            **{key: self._comparison(sign) for key, sign in _COMPARISONS.items()},
        }
        for operator in condition:
            if operator not in operators:
                raise ValueError(f"where: {name!r}: unknown operator {operator!r}; expected {', '.join(operators)}")
        return _join([operators[operator](name, value) for operator, value in condition.items()], "AND")

    def _column(self, name: str) -> str:
        """Return the SQL of a field's value; its parameters, if any, come first."""
        number = self._fields.get(name)
        self._columns.add(number)
        if number is not None:
            return f"m_{number:d}"
        path = field_path(name)
        self._values.append(name if path is None else path)
        # A key with quotes in it: json_each knows keys as they are, at the price of speed.
        each = "(SELECT value FROM json_each(metadata) WHERE key = ?)"
        return each if path is None else "json_extract(metadata, ?)"

    def _value(self, name: str, value: Any) -> str:
        text = _literal(name, value)
        if isinstance(value, float | np.floating):
            self._values.append(text)  # read by SQLite as the metadata is, to the same last bit
            return "json_extract(?, '$')"
        plain = as_plain(value)
        self._values.append(int(plain) if isinstance(plain, bool) else plain)
        return "?"

    def _equal(self, name: str, value: Any) -> str:
        column = self._column(name)
        return f"{column} IS NULL" if value is None else f"{column} IS {self._value(name, value)}"

    def _among(self, name: str, values: Any) -> str:
        if not _is_list(values):
            got = f"an array of shape {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
            raise TypeError(f"where: {name!r}: expected a list of values, got {got}")
        found = list(values)
        rest = [value for value in found if value is not None]
        parts = [self._equal(name, None)] if len(rest) < len(found) else []
        column = self._column(name)
        if len(rest) <= _MOST_PARAMETERS:
            marks = ", ".join([self._value(name, value) for value in rest])
            parts.append(f"{column} IN ({marks})")
        else:
            self._values.append(f"[{','.join([_literal(name, value) for value in rest])}]")
            parts.append(f"{column} IN (SELECT atom FROM json_each(?))")
        return _join(parts, "OR")

    def _exists(self, name: str, wanted: Any) -> str:
        if not isinstance(wanted, bool):
            raise TypeError(f"where: {name!r}: $exists: expected True or False, got {wanted!r}")
        self._values.append(name)
        self._columns.add(None)
        found = "EXISTS (SELECT 1 FROM json_each(metadata) WHERE key = ?)"
        return found if wanted else f"NOT {found}"

    def _comparison(self, sign: str) -> Callable[[str, Any], str]:
        def compare(name: str, value: Any) -> str:
            if value is None:
                raise TypeError(f"where: {name!r}: expected a number or a string to compare with, got None")
            # SQLite orders all numbers before all strings, and an index holds both.
            column = self._column(name)
            condition = f"{column} {sign} {self._value(name, value)}"
            if isinstance(value, str) and sign.startswith("<"):
                return f"({condition} AND {self._column(name)} >= '')"
            if not isinstance(value, str) and sign.startswith(">"):
                return f"({condition} AND {self._column(name)} < '')"
            return condition

        return compare


def _literal(name: str, value: Any) -> str:
    """Return a value as JSON, which SQLite then understands as it does metadata."""
    plain = as_plain(value)
    if isinstance(plain, str) and "\0" in plain:
        raise ValueError(f"where: {name!r}: expected no NUL characters, which metadata does not hold, got {plain!r}")
    if isinstance(plain, int) and plain not in INT64:
        raise ValueError(f"where: {name!r}: expected integers of 64 bits, or floats; got one of {plain.bit_length()}")
    if isinstance(plain, float) and math.isinf(plain):  # which JSON has not
        return "9e999" if plain > 0 else "-9e999"
    if isinstance(plain, str | int) or (isinstance(plain, float) and not math.isnan(plain)):
        return json.dumps(plain, ensure_ascii=False)
    raise TypeError(f"where: {name!r}: expected a string, a number, a boolean or None, got {value!r}")


def _join(parts: list[str], word: str) -> str:
    """Join conditions, many of them as a tree; none of them: what AND and OR of nothing are."""
    if not parts:
        return "1" if word == "AND" else "0"
    while len(parts) > 1:
        groups = [parts[start : start + _MOST_TOGETHER] for start in range(0, len(parts), _MOST_TOGETHER)]
        parts = [group[0] if len(group) == 1 else f"({f' {word} '.join(group)})" for group in groups]
    return parts[0]
