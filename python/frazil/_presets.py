"""What is known of well-known models, each number with its source. Nothing here is a guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

__all__ = ["ARCTIC", "PRESETS", "Preset", "find_preset"]

ARCTIC = "Snowflake/snowflake-arctic-embed-m-v1.5"
_QUERY = "Represent this sentence for searching relevant passages: "


@dataclass(frozen=True)
class Preset:
    """A model."""

    model: str
    """its hub id"""
    dimensions: int
    """of its embeddings"""
    pooling: str
    """"cls" or "mean", for a copy of the model that does not say"""
    prompts: Mapping[str, str]
    """put before each text of a kind, for such a copy"""
    source: str
    """what says so, and where limits are from"""
    dim: int = 256
    """dimensions kept, to which the limits belong"""
    limits: Mapping[int, float] = field(default_factory=dict)
    """by bits: what codes with uniform spacing cover; none: neither published nor measured"""


def _arctic(name: str, dimensions: int, query: str, limits: Mapping[int, float] | None = None) -> Preset:
    model = f"Snowflake/snowflake-arctic-embed-{name}"
    return Preset(model, dimensions, "cls", {"query": query}, f"its model card, {model}", limits=limits or {})


PRESETS: Final = (
    _arctic("m-v1.5", 768, _QUERY, {4: 0.18, 8: 0.30}),
    _arctic("xs", 384, _QUERY),
    _arctic("s", 384, _QUERY),
    _arctic("m", 768, _QUERY),
    _arctic("m-long", 768, _QUERY),
    _arctic("l", 1024, _QUERY),
    _arctic("m-v2.0", 768, "query: "),
    _arctic("l-v2.0", 1024, "query: "),
    Preset(
        "sentence-transformers/all-MiniLM-L6-v2",
        384,
        "mean",
        {},
        "Codec.fit(x, 256, bits, project=False, seed=seed) for cranfield, npl, banking77 and all three, seeds 0 to 4: "
        "0.166 to 0.194 and 0.255 to 0.31, and the middles of these",
        limits={4: 0.18, 8: 0.28},
    ),
)
"""The models that are known."""


def find_preset(*names: str | PurePath) -> Preset | None:
    """Return the preset of a model by its hub id, or by a folder with its name, the hub's cache among them; or None."""
    parts = {part.lower().rpartition("--")[2] for name in names for part in str(name).replace("\\", "/").split("/")}
    return next((preset for preset in PRESETS if preset.model.lower().rpartition("/")[2] in parts), None)
