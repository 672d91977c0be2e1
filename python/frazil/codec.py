"""`Codec`: pack float embeddings into codes, decode, score and search them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frazil import _native
from frazil._arrays import as_allow, as_codes, as_count, as_floats, as_index, as_number, as_small, as_threads
from frazil._gpu import gpu_for
from frazil.metric import Metric
from frazil.projection import Projection
from frazil.sketch import Sketch, width_of

if TYPE_CHECKING:
    from frazil.quality import Report

__all__ = ["ARCTIC_INT4", "ARCTIC_INT8", "Codec", "Hits"]

_DEFAULT_LIMITS = {4: 0.18, 8: 0.30}  # the recipe's, from the model card of snowflake-arctic-embed-m-v1.5
# For 256 dimensions: the outermost level of a normal distribution's 16, 2.73 standard deviations of 1/16 each.
_NORMAL_LIMIT = 0.17


class Hits(NamedTuple):
    """The best rows for each query, best first; equal scores by row number.

    For a single query `(d,)` both arrays have one axis, `(k,)`. Of queries on a GPU they are tensors there.
    """

    scores: NDArray[np.float32]
    """float32 (q, k)"""
    rows: NDArray[np.int64]
    """int64 (q, k)"""


@dataclass(frozen=True, repr=False)
class Codec:
    """How vectors become codes: how many dimensions are kept, how many bits each gets, and the range that they cover.

    Each vector is truncated to its first `dim` values, divided by their L2 norm, and quantized uniformly over `-limit`
    to `limit`: `code = round_half_to_even(clip(x + limit, 0, 2 * limit) / step)`, `step = 2 * limit / (2**bits - 1)`.
    Source: the model card and notebook of snowflake-arctic-embed-m-v1.5; docs/format.md fixes every operation and byte.

    Args:
        dim: dimensions kept, 2 to 4,096; even where `bits` is 4, so that a row fills whole bytes.
        bits: 4 or 8 bits a dimension.
        limit: the codes cover -limit to +limit, 1e-6 to 1e6; None is the recipe's: 0.18 for 4 bits, 0.30 for 8; 0.17
            for normal spacing.
        spacing: "uniform", the recipe's; or, for 4 bits, "normal": levels lie closer where a normal distribution has
            more values (docs/format.md §1). Better recall if the codes are refined, slower searches: docs/refine.md.
        projection: vectors and queries go through it first, to `dim` dimensions, instead of being truncated; None:
            they are truncated.

    Raises:
        TypeError: `dim` or `bits` is not an integer, `limit` not a number, `spacing` not a string, or `projection` not
            a `Projection`.
        ValueError: one of them is outside the values above, or `projection` has other dimensions.
    """

    dim: int = 256
    bits: int = 4
    limit: float = None  # type: ignore[assignment]  # __post_init__ fills it in
    spacing: str = "uniform"
    projection: Projection | None = None

    def __post_init__(self) -> None:
        dim, bits = as_small(self.dim, "dim"), as_small(self.bits, "bits")
        if not isinstance(self.spacing, str):
            raise TypeError(f"spacing: expected a string, got {type(self.spacing).__name__}")
        if self.spacing not in ("uniform", "normal"):
            raise ValueError(f"spacing: expected 'uniform' or 'normal', got {self.spacing!r}")
        default = _NORMAL_LIMIT if self.spacing == "normal" else _DEFAULT_LIMITS.get(bits, 0.18)
        limit = as_number(default if self.limit is None else self.limit, "limit")
        _native.check_codec(dim, bits, limit, self.spacing == "normal")
        for name, value in (("dim", dim), ("bits", bits), ("limit", limit)):
            object.__setattr__(self, name, value)
        if self.projection is not None:
            if not isinstance(self.projection, Projection):
                raise TypeError(f"projection: expected a frazil.Projection, got {type(self.projection).__name__}")
            if self.projection.dim != dim:
                raise ValueError(f"projection: expected one to {dim} dimensions, got {self.projection!r}")

    @classmethod
    def preset(cls, model: str | os.PathLike[str], bits: int = 4) -> Codec:
        """Return the codec of a well-known model: the dimensions and the limit that were published for it, or measured.

        Args:
            model: its hub id, or a folder with its name.
            bits: 4 or 8 bits a dimension.

        Raises:
            ValueError: no limit is known for this model, or for so many bits; the message says which are.
                docs/encoding.md says where they are from. `fit` finds one from a sample.
        """
        from frazil._presets import PRESETS, find_preset

        found = find_preset(os.fspath(model))
        if found is None or bits not in found.limits:
            known = ", ".join(preset.model for preset in PRESETS if preset.limits)
            raise ValueError(
                f"no limit for {bits!r} bits of {os.fspath(model)!r} is known, only for 4 and 8 of {known}; Codec.fit "
                "finds one from a sample of embeddings"
            )
        return cls(found.dim, bits, found.limits[bits])

    @classmethod
    def fit(
        cls,
        sample: Any,
        dim: int = 256,
        bits: int = 4,
        *,
        spacing: str = "uniform",
        refine: bool = False,
        project: bool | None = None,
        seed: int = 0,
    ) -> Codec:
        """Choose a codec for vectors like those of a sample: its limit and, for models that need it, a projection.

        The limit is the one by which the scores of held-out rows and their nearest rows differ least from those of the
        floats, after what changes no order is taken out: each row's mean, and a straight line between the two. A
        projection is taken where it keeps, of the held-out rows' 10 nearest, 2% more than cutting does. Where all
        limits are alike, as for rows that are all the same, it is the class's own.

        Args:
            sample: floats (n, d), d >= dim, of the types that `pack` takes: some thousand embeddings of documents, at
                random. Fewer than d teach a projection little.
            dim: dimensions kept.
            bits: 4 or 8 bits a dimension.
            spacing: as for the class.
            refine: whether it is for codes that `pack` refines, by a metric or without: they lose less by clipping, and
                a smaller limit suits them (docs/refine.md).
            project: True: with a `Projection`; False: without one; None: as the sample says.
            seed: of random choices.

        Returns:
            The codec. Its last bits depend on NumPy's linear algebra: `save` it to pack the same bytes again.

        Raises:
            ValueError: wrong shape, dim or bits, a negative seed, NaN or infinity, or fewer than 20 rows.
            TypeError: wrong dtype, or an argument of another type.
        """
        from frazil.quality.fitting import fit

        if not isinstance(refine, (bool, np.bool_)):
            raise TypeError(f"refine: expected a bool, as one limit suits all metrics, got {type(refine).__name__}")
        if not isinstance(project, (bool, np.bool_, type(None))):
            raise TypeError(f"project: expected a bool or None, got {type(project).__name__}")
        if as_index(seed, "seed") < 0:
            raise ValueError(f"seed: expected at least 0, got {seed}")
        return fit(cls(dim, bits, spacing=spacing), sample, bool(refine), project, seed)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the codec to a .npz file (docs/format.md §9), whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        from frazil._codec_files import save_codec  # which imports zipfile: as slow as all of frazil else

        save_codec(self, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Codec:
        """Read a codec that `save` has written. Nothing in the file is run.

        Raises:
            ValueError: the file holds something else, or is of a newer format.
            OSError: it cannot be read.
        """
        from frazil._codec_files import load_codec

        return load_codec(cls, Path(path))

    def __repr__(self) -> str:
        rest = "" if self.spacing == "uniform" else f", spacing={self.spacing!r}"
        rest += "" if self.projection is None else f", projection={self.projection!r}"
        return f"Codec(dim={self.dim}, bits={self.bits}, limit={self.limit}{rest})"

    @property
    def input_dim(self) -> int:
        """Dimensions of a vector that are read: `dim`, or what the projection takes."""
        return self.dim if self.projection is None else self.projection.input_dim

    @property
    def row_bytes(self) -> int:
        """Bytes of one packed vector: `dim * bits / 8`."""
        return self.dim * self.bits // 8

    @property
    def levels(self) -> int:
        """The largest code: `2**bits - 1`."""
        return (1 << self.bits) - 1

    @property
    def step(self) -> float:
        """What decoded values are whole multiples of, counted from -limit: `2 * limit / levels`.

        With uniform spacing neighbours are one step apart; with normal spacing -limit and limit are 255 steps apart.
        """
        return 2 * self.limit / (255 if self.spacing == "normal" else self.levels)

    @property
    def _format(self) -> tuple[int, int, float, bool]:
        """What the extension knows a codec by."""
        return self.dim, self.bits, self.limit, self.spacing == "normal"

    def pack(
        self,
        x: Any,
        *,
        refine: bool | Metric = False,
        out: NDArray[np.uint8] | None = None,
        threads: int | None = None,
    ) -> NDArray[np.uint8]:
        """Pack float vectors into codes: truncate, renormalize, quantize and pack in one pass.

        Only the first `dim` values of each vector are read. A zero vector packs to the code of 0.0 in every dimension.
        The bytes are the same on every CPU and for every number of threads.

        Args:
            x: float32, float16 or float64 array (n, d) or (d,) with d >= dim, of any strides; or a torch tensor of
                these types or bfloat16; or nested lists of floats. A tensor on a GPU is packed there (docs/gpu.md).
            refine: True: then move codes by steps, a few of each vector, so that scores rather than values come out
                right: errors along the vector count 16 times as much as others. A `Metric`: errors count as it says,
                too, which is better still and slower; a codec with a projection takes one of projected vectors. The
                format is the same; docs/refine.md has recall and cost.
            out: uint8 (n, row_bytes), C-contiguous, aligned and writeable, not overlapping `x`, to write into and
                return.
            threads: how many threads may work, at least 1; None: as many as CPUs this process may use, if the work is
                worth it.

        Returns:
            uint8 (n, row_bytes); (row_bytes,) for a single vector (d,). Of a tensor on a GPU, a tensor there.

        Raises:
            ValueError: wrong shape, NaN or infinity among the values read (the first such row is named), or a metric
                of other dimensions.
            TypeError: wrong dtype, or `refine` is neither a bool nor a `Metric`.
            MemoryError: there is not enough for the answer, or to work with.
            NotImplementedError: `refine` with a tensor on a GPU.
            ImportError: a tensor on a GPU, without the packages of `frazil[gpu]`.

        Ctrl-C, or any exception of a signal's handler, ends this and every other call that takes long within 0.2 s.
        After an exception, what `out` holds is unspecified.
        """
        if not isinstance(refine, (bool, np.bool_, Metric)):
            raise TypeError(f"refine: expected a bool or a frazil.Metric, got {type(refine).__name__}")
        matrix = refine.matrix if isinstance(refine, Metric) else None
        is_refined, count = matrix is not None or bool(refine), as_threads(threads)
        if gpu := gpu_for(x):
            if is_refined:
                raise NotImplementedError("refine: codes are refined on the CPU alone; pack x.cpu(), or do not refine")
            return gpu.pack(self, x, out)  # type: ignore[no-any-return]

        def pack(rows: NDArray[Any], bfloat16: bool, into: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
            return _native.pack(rows, bfloat16, *self._format, is_refined, matrix, into, count)

        if self.projection is None:
            return pack(*as_floats(x, "x"), out)
        rows, single = self.projection.rows_of(x, "x")
        codes = _native.output_codes(out, [self.row_bytes] if single else [len(rows[0]), self.row_bytes], rows[0])
        into = codes[None] if single else codes
        for start, block in self.projection.blocks(*rows, "x"):
            pack(block, False, into[start : start + len(block)])
        return codes

    def _queries(self, queries: Any) -> tuple[NDArray[Any], bool]:
        if self.projection is not None:
            return self.projection(queries, "queries"), False
        return as_floats(queries, "queries")

    def unpack(
        self, codes: Any, *, out: NDArray[np.float32] | None = None, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Decode codes: `x_hat = step * code - limit`, or with normal spacing the level of the code.

        The decoded vectors are close to unit norm, not exactly of unit norm.

        Args:
            codes: uint8 (n, row_bytes) or (row_bytes,); a tensor on a GPU is decoded there.
            out: float32 (n, dim), C-contiguous, aligned and writeable, not overlapping `codes`, to write into and
                return.
            threads: as in `pack`.

        Returns:
            float32 (n, dim); (dim,) for a single row of codes.

        Raises:
            ValueError: wrong shape.
            TypeError: wrong dtype.
        """
        count = as_threads(threads)
        if gpu := gpu_for(codes):
            return gpu.unpack(self, codes, out)  # type: ignore[no-any-return]
        return _native.unpack(as_codes(codes), *self._format, out, count)

    def score(
        self,
        queries: Any,
        codes: Any,
        *,
        query_bits: int = 8,
        out: NDArray[np.float32] | None = None,
        threads: int | None = None,
    ) -> NDArray[np.float32]:
        """Score every query against every row: the inner product of the query with the decoded vector.

        Args:
            queries: floats (q, d) or (d,) with d >= dim, of the types that `pack` takes; truncated and renormalized in
                the call.
            codes: uint8 (n, row_bytes); a memory map will do. Queries on a GPU are scored there, against codes that
                are there or, then copied in slices, on the host (docs/gpu.md).
            query_bits: 8: queries rounded to 8 bits a value, with a scale of their own (nearly exact, fast);
                4: queries quantized to 4 bits over -limit to limit, which for 4-bit codecs is the symmetric score of
                the model's authors; 32: float queries (slower). 4 and 8 are sums of integers.
            out: float32 (q, n), C-contiguous, aligned and writeable, not overlapping the inputs, to write into
                and return.
            threads: as in `pack`.

        Returns:
            float32 (q, n); (n,) for a single query (d,). The same on every CPU and for every number of threads.

        Raises:
            ValueError: wrong shape or query_bits, or NaN or infinity among the values read.
            TypeError: wrong dtype, or codes on a GPU where the queries are not.
        """
        bits, count = as_small(query_bits, "query_bits"), as_threads(threads)
        if gpu := gpu_for(queries, codes):
            return gpu.score(self, queries, codes, bits, out)  # type: ignore[no-any-return]
        array, bfloat16 = self._queries(queries)
        return _native.score(array, bfloat16, as_codes(codes), *self._format, bits, out, count)

    def search(
        self,
        queries: Any,
        codes: Any,
        k: int = 10,
        *,
        query_bits: int = 8,
        allow: Any = None,
        sketch: Sketch | None = None,
        failure: float = 1e-3,
        threads: int | None = None,
    ) -> Hits:
        """Find the k rows of the highest score for each query: exact, without ever holding the scores of all rows.

        With a sketch, rows are first bounded by it, and only those that can be among the best are read: several times
        as fast as memory allows reading them all. The scores are the same; a row that belongs to the answer is missed
        with a probability of at most `failure`.

        Args:
            queries: as in `score`.
            codes: as in `score`.
            k: how many rows to find, at least 1.
            query_bits: as in `score`.
            allow: the rows that may be answered: a bool mask (n,) or an integer array of row numbers (in any order,
                repetitions count once). None: all rows. Rows that are not allowed are not read.
            sketch: a `Sketch` of these codes.
            failure: with a sketch, the probability that the bound of a row is below its score, 1e-12 to 0.1: a row of
                the answer is missed only if that happens. The bound is that of a random rotation (RaBitQ's), which here
                is a fixed one: the probability is over data, not over calls, and the answer is the same every time.
            threads: as in `pack`.

        Returns:
            Hits(scores, rows): float32 and int64, both (q, m), where m is k, or the number of allowed rows if that is
            less; (m,) for a single query (d,). Ordered by score, descending, then by row, ascending.

        Raises:
            ValueError: wrong shape, k, query_bits or failure, a row number out of range, a sketch of other codes (as
                far as its rows, dim and bits tell), or NaN or infinity among the values read.
            TypeError: wrong dtype, `sketch` is not a `Sketch`, or codes are on a GPU where the queries are not.
            NotImplementedError: `sketch` with queries on a GPU.
        """
        width, most, count = width_of(failure), as_count(k, "k", 2**62), as_threads(threads)
        bits = as_small(query_bits, "query_bits")
        if gpu := gpu_for(queries, codes):
            if sketch is not None:
                raise NotImplementedError("sketch: read on the CPU alone; on a GPU, search without one")
            return Hits(*gpu.search(self, queries, codes, most, query_bits=bits, allow=allow))
        array, bfloat16 = self._queries(queries)
        options = (*self._format, most, bits, *as_allow(allow), count)
        if sketch is None:
            return Hits(*_native.search(array, bfloat16, as_codes(codes), *options))
        if not isinstance(sketch, Sketch):
            raise TypeError(f"sketch: expected a frazil.Sketch, got {type(sketch).__name__}")
        return Hits(*_native.search_by_sketch(array, bfloat16, as_codes(codes), sketch.data, width, *options))

    def report(
        self,
        sample: Any,
        queries: Any = None,
        *,
        ks: Sequence[int] = (1, 10, 100),
        query_bits: int = 8,
        refine: bool | Metric = False,
        seed: int = 0,
        threads: int | None = None,
    ) -> Report:
        """Measure what this codec's codes of a sample cost, beside its floats: errors, and recall of the nearest rows.

        Every query is compared with every row in floats: 100,000 rows of 768 dimensions and 1,000 queries take some
        seconds. A row counts as found if its float score is the k-th best one's or better, so that copies of a row
        stand for each other.

        Args:
            sample: floats (n, d), d >= dim, of the types that `pack` takes: embeddings of documents, as many as the
                collection will hold or a random part of them (of fewer rows, recall is higher).
            queries: floats (q, d); None: a tenth of the sample's rows, at most 1,000, chosen at random, are not packed
                but asked.
            ks: how many of the nearest rows to find; where there are fewer rows, all of them.
            query_bits: as in `score`.
            refine: as in `pack`. A metric of other vectors than the sample's is the fairer one.
            seed: of the random choice.
            threads: as in `pack`.

        Returns:
            A `frazil.quality.Report`: clip rate, error of values and of scores, recall@k with 95% confidence intervals,
            beside floats cut to `dim` and beside uncut ones. `print` shows it as a table.

        Raises:
            ValueError: wrong shape, NaN or infinity, or too few rows.
            TypeError: wrong dtype.
        """
        from frazil.quality.report import Sample, report

        held = Sample(sample, queries, seed)
        return report(self, held, ks=ks, query_bits=query_bits, refine=refine, threads=threads)


ARCTIC_INT4 = Codec(256, 4, 0.18)
"""128 bytes a vector: the recipe of snowflake-arctic-embed-m-v1.5 for 4 bits."""

ARCTIC_INT8 = Codec(256, 8, 0.30)
"""256 bytes a vector: the recipe of snowflake-arctic-embed-m-v1.5 for 8 bits."""
