"""What was measured: tables of lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from frazil.bench.timing import median, spread

__all__ = ["Line", "Table", "failure"]


@dataclass(frozen=True)
class Line:
    """One contestant or one probe of a limit."""

    name: str
    """an instruction set, a peer, or `read`, `read rows`, `dot SET`"""
    threads: int
    seconds: list[float]
    """of each repeat"""
    rows: int = 0
    """rows searched or packed; 0 for probes"""
    work: int = 0
    """rows or pairs done, in the table's unit; 0 for probes"""
    bytes: int = 0
    """bytes that had to be moved"""
    products: int = 0
    """products of a code and a query's value"""
    limit: str | None = None
    """the name of the probe that bounds it"""
    of_limit: float | None = None
    """the speed as a part of that limit's: the median of the ratios of all repeats"""
    recall: float | None = None
    bytes_per_vector: float | None = None

    @property
    def rate(self) -> float:
        """Work a second; of probes: products or bytes a second."""
        return (self.work or self.products or self.bytes) / median(self.seconds)

    @property
    def gb_per_s(self) -> float:
        """Gigabytes (1e9 bytes) a second."""
        return self.bytes / median(self.seconds) / 1e9

    @property
    def spread(self) -> float:
        """(p90 - p10) / median of the seconds."""
        return spread(self.seconds)


@dataclass(frozen=True)
class Table:
    """One operation on all sets and thread counts, and the probes that were run between."""

    key: str
    title: str
    unit: str
    """`rows` or `pairs`; `limits` for the table of probes alone"""
    lines: list[Line]
    probes: list[Line] = field(default_factory=list)
    note: str = ""


def failure(name: str, error: Exception, package: str | None = None) -> str:
    """Return what the report says of something that did not run, in one line; `package`: what must be installed."""
    if package is not None and isinstance(error, ModuleNotFoundError):
        return f"not installed: {package} ({name})"
    return f"failed: {name}: {type(error).__name__}: {' '.join(str(error).split())}"
