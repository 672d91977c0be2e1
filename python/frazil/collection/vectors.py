"""What the vectors of a collection come from: codes, or embeddings; and how wide these are."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frazil._arrays import as_codes, shape_of
from frazil.codec import Codec
from frazil.collection.arguments import OWN_NOTES
from frazil.collection.catalog import Catalog, Properties
from frazil.collection.errors import CollectionError

__all__ = ["BadRow", "Given", "as_width", "check_width", "known_width", "width_note"]

_WIDTH = f"{OWN_NOTES}embedding_dim"


class BadRow(ValueError):
    """A row of embeddings cannot be packed.

    Attributes:
        row: which, of the call, from 0.
        what: what is wrong with it.
    """

    def __init__(self, row: int, what: str) -> None:
        super().__init__(f"embeddings: row {row} {what}")
        self.row, self.what = row, what


class Given:
    """The vectors of an `add`: codes, or embeddings, which are packed part by part.

    Args:
        properties: of the collection.
        count: how many ids there are.
        embeddings: floats (count, d), or None.
        codes: uint8 (count, row_bytes), or None.
        rerank_codes: likewise, by the second codec.

    Attributes:
        width: the d of embeddings; None: there are none, or none but of no rows.

    Raises:
        TypeError: both or neither are given, or they are of a wrong type.
        ValueError: wrong shapes.
    """

    def __init__(self, properties: Properties, count: int, embeddings: Any, codes: Any, rerank_codes: Any) -> None:
        if (embeddings is None) == (codes is None):
            raise TypeError("add: expected either embeddings or codes")
        if (rerank_codes is not None) != (codes is not None and properties.rerank is not None):
            wanted = "none" if properties.rerank is None else "them with codes"
            raise TypeError(f"rerank_codes: expected {wanted}")
        self._embeddings = np.asarray(embeddings) if isinstance(embeddings, list | tuple) else embeddings
        if count == 0 and np.shape(self._embeddings) == (0,):
            self._embeddings = np.empty((0, properties.codec.dim), np.float32)
        self._refine = properties.refine
        self._codes = {}
        for kind, given, codec in (("codes", codes, properties.codec), ("rerank", rerank_codes, properties.rerank)):
            if given is not None and codec is not None:
                array = as_codes(given)
                if array.shape != (count, codec.row_bytes):
                    raise ValueError(
                        f"{kind}: expected shape ({count}, {codec.row_bytes}), a row for each id, got {array.shape}"
                    )
                self._codes[kind] = array
        self.width: int | None = None
        if embeddings is not None:
            shape = shape_of(self._embeddings, "embeddings")
            if len(shape) != 2 or shape[0] != count:
                raise ValueError(f"embeddings: expected shape ({count}, d), a row for each id, got {shape}")
            self.width = shape[1] if count else None

    def rows(self, kind: str, codec: Codec, first: int, stop: int) -> NDArray[np.uint8]:
        """Return the codes of some rows.

        Raises:
            BadRow: NaN or infinity is in one of them.
            TypeError: the embeddings are no floats.
            ValueError: they are of fewer dimensions than the codec's.
        """
        if self._codes:
            return self._codes[kind][first:stop]
        try:
            return codec.pack(self._embeddings[first:stop], refine=self._refine if kind == "codes" else False)
        except (TypeError, ValueError) as error:
            message = str(error).removeprefix("x: ")
            if row := re.match(r"row (\d+) (.*)", message, re.DOTALL):
                raise BadRow(first + int(row[1]), row[2]) from None
            wrong = TypeError if isinstance(error, TypeError) else ValueError
            raise wrong(f"embeddings: {message}") from None


def known_width(catalog: Catalog) -> int | None:
    """Return how wide the collection's embeddings are; None: it was given none so far, or codes alone."""
    text = catalog.note(_WIDTH)
    if text is None:
        return None
    width = as_width(text)
    if width is None:
        raise CollectionError(f"{catalog.path}: is damaged: the embeddings' width is {text[:100]!r}")
    return width


def as_width(text: str) -> int | None:
    """Return the width of embeddings that a text tells; None: it is no such text."""
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,9}", text) else None


def width_note(width: int) -> tuple[str, str]:
    """Return the note that remembers how wide embeddings are."""
    return _WIDTH, str(width)


def check_width(name: str, width: int, known: int | None) -> None:
    """Raise ValueError where floats are not as wide as the collection's: they can only be another model's.

    Only the first dimensions are kept, so that nothing else would tell.
    """
    if known is not None and width != known:
        raise ValueError(
            f"{name}: expected {known:,} columns, as all embeddings of this collection have, got {width:,}: "
            "another model's? Its vectors do not go with these"
        )
