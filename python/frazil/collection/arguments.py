"""What callers hand in as ids, documents and metadata, checked and as the catalog holds it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from frazil._batches import lone_surrogate

__all__ = ["INT64", "OWN_NOTES", "as_ids", "as_metadatas", "as_notes", "as_plain", "as_texts", "shown"]

OWN_NOTES = "frazil."
"""what the keys of notes begin with that are not callers'"""

INT64 = range(-(2**63), 2**63)
"""the integers that SQLite holds"""
_DEEPEST = 100  # of metadata: SQLite's JSON functions give up at 1,000, and with one such item every filter would
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # as JSON has it


def as_ids(ids: Any, name: str = "ids") -> list[str | int]:
    """Return ids as strings and ints.

    Raises:
        TypeError: something else is among them, or no list was given.
        ValueError: an integer has more than 64 bits, or a string is not valid Unicode.
    """
    if isinstance(ids, str | bytes | int) or not isinstance(ids, Iterable):
        raise TypeError(f"{name}: expected a list of ids, got {type(ids).__name__} {ids!r}")
    if isinstance(ids, np.ndarray) and ids.ndim != 1:
        raise ValueError(f"{name}: expected one axis, got shape {ids.shape}")
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "mM":  # which NumPy would turn into plain integers
        raise TypeError(f"{name}: expected strings or integers, got {ids.dtype}")
    found: list[Any] = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    kinds = set(map(type, found))
    if not kinds <= {str, int}:
        found = [_as_id(one, name) for one in found]
        kinds = set(map(type, found))
    if int in kinds:
        numbers = found if kinds == {int} else [one for one in found if type(one) is int]
        for extreme in (min(numbers), max(numbers)):
            if extreme not in INT64:
                raise ValueError(f"{name}: expected integers of 64 bits, got {extreme}")
    if str in kinds:
        _check_unicode((one for one in found if type(one) is str), name)
    return found


def as_plain(value: Any) -> Any:
    """Return Python's number for one of NumPy's; anything else as it is."""
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer) and not isinstance(value, np.timedelta64):
        return int(value)
    return float(value) if isinstance(value, np.floating) else value


def _as_id(value: Any, name: str) -> str | int:
    value = as_plain(value)
    if isinstance(value, str):
        return str.__str__(value)  # an enum's text is its value, not its name
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise TypeError(f"{name}: expected strings or integers, got {type(value).__name__} {value!r}")


def _check_unicode(texts: Iterable[str], name: str) -> None:
    for text in texts:
        if lone_surrogate(text):
            raise ValueError(f"{name}: {text!r} is not valid Unicode")


def as_texts(documents: Any, count: int, name: str = "documents") -> list[str | None] | None:
    """Return `count` texts, None where there is none; None if there are none at all.

    Raises:
        TypeError: something else is among them.
        ValueError: there are more or fewer, or one is not valid Unicode.
    """
    if documents is None:
        return None
    texts = _as_list(documents, count, name)
    for text in texts:
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name}: expected strings or None, got {type(text).__name__} {text!r}")
    _check_unicode((text for text in texts if text is not None), name)
    return texts


def as_metadatas(metadatas: Any, count: int, name: str = "metadatas") -> list[str | None] | None:
    """Return `count` dicts as JSON texts, None where there is none; None if there are none at all.

    Raises:
        TypeError: something is no dict, a key no string, or a value not of JSON's types.
        ValueError: there are more or fewer; or a NaN, an infinity, a NUL character or invalid Unicode is among the
            values; or one is nested too deep.
    """
    if metadatas is None:
        return None
    return [None if one is None else _as_json(one, name) for one in _as_list(metadatas, count, name)]


def _as_json(metadata: Any, name: str) -> str:
    if not isinstance(metadata, Mapping):
        raise TypeError(f"{name}: expected dicts or None, got {type(metadata).__name__}")
    plain = dict(metadata)
    _check_nesting(plain, name, 1)
    try:
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}: {metadata!r:.200}") from None
    if "\\u0000" in text and _NUL.search(text):  # where SQLite's JSON functions would end the string
        raise ValueError(f"{name}: expected no NUL characters, which filters could not see, got {metadata!r:.200}")
    _check_unicode([text], name)
    return text


def _check_nesting(value: Any, name: str, depth: int) -> None:
    """See that all keys are strings (json would make 1 and "1" one key, twice), and that the nesting ends."""
    if depth > _DEEPEST:
        raise ValueError(f"{name}: expected dicts and lists nested at most {_DEEPEST} deep")
    inner = value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{name}: expected strings as keys, got {type(key).__name__} {key!r}")
        inner = value.values()
    for one in inner:
        if isinstance(one, dict | list | tuple):
            _check_nesting(one, name, depth + 1)


def _plain(value: Any) -> Any:
    plain = as_plain(value)
    if plain is value:
        raise TypeError(f"{type(value).__name__} is none of JSON's types")
    return plain


def _as_list(values: Any, count: int, name: str) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    found = list(values)
    if len(found) != count:
        raise ValueError(f"{name}: expected {count:,}, one for each id, got {len(found):,}")
    return found


def as_notes(notes: Any) -> list[tuple[str, str]]:
    """Return notes, a dict of strings, as pairs.

    Raises:
        TypeError: something else.
        ValueError: a key is one of those that collections keep for themselves.
    """
    if notes is None:
        return []
    if not isinstance(notes, Mapping) or not all(isinstance(text, str) for pair in notes.items() for text in pair):
        raise TypeError("notes: expected a dict of strings")
    for key in notes:
        if key.startswith(OWN_NOTES):
            raise ValueError(f"notes: keys that begin with {OWN_NOTES!r} are the collection's own, got {key!r}")
    return list(notes.items())


def shown(ids: Sequence[Any], count: int | None = None) -> str:
    """Return a few of many ids, for a message; `count` is how many there are if `ids` are not all."""
    total = len(ids) if count is None else count
    few = ", ".join(map(repr, ids[:5]))
    return few if total <= 5 else f"{few} and {total - 5:,} more"
