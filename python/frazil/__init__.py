"""frazil: float embeddings packed into 128 bytes, searched at the speed of memory.

>>> import frazil
>>> codes = frazil.ARCTIC_INT4.pack(embeddings)              # float (n, 768) -> uint8 (n, 128)
>>> hits = frazil.ARCTIC_INT4.search(queries, codes, k=10)   # hits.scores, hits.rows: (q, 10)

Importing this module needs NumPy alone; `Encoder` imports torch and transformers, `Collection` SQLite, when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from frazil._kernels import active_kernels, kernels, use_kernels
from frazil._native import __version__
from frazil.codec import ARCTIC_INT4, ARCTIC_INT8, Codec, Hits
from frazil.metric import Metric
from frazil.projection import Projection
from frazil.sketch import Sketch

if TYPE_CHECKING:
    from frazil.collection import Collection, CollectionError
    from frazil.encoder import Encoder

__all__ = [
    "ARCTIC_INT4",
    "ARCTIC_INT8",
    "Codec",
    "Collection",
    "CollectionError",
    "Encoder",
    "Hits",
    "Metric",
    "Projection",
    "Sketch",
    "__version__",
    "active_kernels",
    "kernels",
    "use_kernels",
]


def __getattr__(name: str) -> object:
    """Import `Encoder` (torch, transformers) and `Collection` (SQLite) only when somebody asks for them."""
    if name == "Encoder":
        from frazil.encoder import Encoder

        return Encoder
    if name in ("Collection", "CollectionError"):
        from frazil import collection

        return getattr(collection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
