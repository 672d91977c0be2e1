"""The bench: every operation on every instruction set, beside what bounds it, checked while it is timed."""
