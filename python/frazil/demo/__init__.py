"""`frazil demo`: the standard library's docstrings, encoded, packed into 128 bytes each, and searched."""
