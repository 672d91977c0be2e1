"""Collections: vectors kept in a folder, on SQLite and plain files of codes. `Collection` is the public face."""

from frazil.collection.checks import Damage, Report
from frazil.collection.collection import Collection
from frazil.collection.errors import CollectionError
from frazil.collection.records import Records
from frazil.collection.searching import Hits

__all__ = ["Collection", "CollectionError", "Damage", "Hits", "Records", "Report"]
