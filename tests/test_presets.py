"""What is known of well-known models, and what uses it."""

from pathlib import Path

import pytest

from frazil import ARCTIC_INT4, ARCTIC_INT8, Codec
from frazil._presets import ARCTIC, PRESETS, find_preset
from frazil.collection.indexing import as_codec

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.parametrize(
    "name",
    [
        ARCTIC,
        Path("/models/snowflake-arctic-embed-m-v1.5"),
        "C:\\models\\Snowflake-Arctic-Embed-M-v1.5",
        "cache/models--Snowflake--snowflake-arctic-embed-m-v1.5/snapshots/0123",
    ],
)
def test_models_are_known_by_name(name):
    assert find_preset(name).model == ARCTIC
    assert Codec.preset(name) == ARCTIC_INT4
    assert Codec.preset(name, bits=8) == ARCTIC_INT8


@pytest.mark.parametrize("name", ["somebody/other-model", "", "snowflake-arctic-embed-m-v1.5-tuned", "models/m"])
def test_other_models_are_not(name):
    assert find_preset(name) is None
    with pytest.raises(ValueError, match=f"4 bits of '{name}' is known, only for 4 and 8 of {ARCTIC}, .*Codec.fit"):
        Codec.preset(name)


def test_limits_that_are_not_known_are_not_guessed():
    for name, bits in (("Snowflake/snowflake-arctic-embed-l", 4), (ARCTIC, 5), (ARCTIC, "4")):
        with pytest.raises(ValueError, match=f"no limit for {bits!r} bits"):
            Codec.preset(name, bits)


def test_the_table_is_whole():
    assert len({preset.model for preset in PRESETS}) == len(PRESETS)
    for preset in PRESETS:
        assert find_preset(preset.model) is preset
        assert preset.source
        assert preset.pooling in ("cls", "mean")
        for bits, limit in preset.limits.items():
            assert Codec.preset(preset.model, bits) == Codec(preset.dim, bits, limit)


def test_indexing_takes_a_known_models_limit():
    assert as_codec(None, 8, None, 384, MINILM) == Codec(256, 8, 0.28) == Codec.preset(MINILM, 8)
    assert as_codec(None, 8, None, 384, "other") == Codec(256, 8, 0.30)
    assert as_codec(None, 8, 0.2, 384, MINILM) == Codec(256, 8, 0.2)
    assert as_codec(128, 8, None, 384, MINILM) == Codec(128, 8, 0.30)  # of 256 dimensions alone it is known
    assert as_codec(None, 8, None, 512, MINILM) == Codec(256, 8, 0.30)  # another model by that name
