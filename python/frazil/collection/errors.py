"""What goes wrong with a collection that is not the caller's argument."""

__all__ = ["CollectionError"]


class CollectionError(Exception):
    """A collection cannot be read or written: damaged, of another program, of a newer format, or being written."""
