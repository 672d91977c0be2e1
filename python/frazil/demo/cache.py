"""The demo's folder in the user's cache."""

from __future__ import annotations

from pathlib import Path

import platformdirs

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return the demo's folder in the user's cache."""
    return platformdirs.user_cache_path("frazil", appauthor=False) / "demo"
