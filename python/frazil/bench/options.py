"""What a run of the bench is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from frazil import _native, kernels
from frazil._files import check_place

__all__ = ["Options", "known"]


@dataclass(frozen=True)
class Options:
    """The arguments of `frazil bench`, checked and with their defaults filled in."""

    sets: tuple[str, ...] = ()
    """the instruction sets to measure; none: all of `frazil.kernels()`"""
    threads: tuple[int, ...] = ()
    """the thread counts to measure; none: 1 and as many as CPUs this process may use"""
    only: tuple[str, ...] = ()
    """the keys of the operations to measure, or what they begin with; none: all"""
    rows: int = 4_000_000
    batch_rows: int = 1_000_000
    pack_rows: int = 200_000
    peer_rows: int = 1_000_000
    queries: int = 256
    repeats: int = 7
    seed: int = 0
    data: Path | None = None
    queries_data: Path | None = None
    clustered: bool = False
    peers: bool = False
    device: str = "cpu"
    """"cuda": measure that, not the CPU"""
    json: Path | None = None
    plot: Path | None = None

    def __post_init__(self) -> None:
        if self.device not in ("cpu", "cuda"):
            raise ValueError(f"device: expected cpu or cuda, got {self.device!r}")
        if self.device == "cuda":
            for name in ("sets", "threads", "only", "plot", "peers"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name}: is about the CPU; --device cuda measures everything, other libraries too"
                    )
        sets = known("sets", self.sets, kernels()) or kernels()
        threads = self.threads or tuple(sorted({1, _native.default_threads()}))
        object.__setattr__(self, "sets", sets)
        object.__setattr__(self, "threads", tuple(dict.fromkeys(threads)))
        for name in ("data", "queries_data"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name.replace('_', '-')}: there is no file {str(path)!r}")
        if self.json is not None:
            check_place(self.json)
        if self.plot is not None:
            check_place(self.plot, ".png", ".svg")
        if self.peers:  # measures one query, a batch and packing beside other libraries, none of the operations
            for name, value in (("plot", self.plot), ("only", self.only)):
                if value:
                    raise ValueError(f"{name}: is about the operations; --peers measures none of them")


def known(what: str, names: tuple[str, ...], among: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names` without repetitions, in the order of `among`.

    Raises:
        ValueError: a name is not among them; the message lists them.
    """
    for name in names:
        if name not in among:
            raise ValueError(f"{what}: expected some of {', '.join(among)}; got {name!r}")
    return tuple(name for name in among if name in names)
