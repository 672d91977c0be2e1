"""Measure, print the tables, write the files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from frazil import ARCTIC_INT4
from frazil.bench.cases import Case, Setup
from frazil.bench.data import Vectors
from frazil.bench.gpu import Cuda, measure_gpu
from frazil.bench.measure import measure, measure_limits
from frazil.bench.operations import select
from frazil.bench.options import Options
from frazil.bench.progress import progress
from frazil.bench.report import header, markdown, write_json
from frazil.bench.results import Table

__all__ = ["run"]

# One thread for the libraries that read these when they are loaded: before Python has got as far as here.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def run(options: Options, argv: Sequence[str]) -> int:
    """Run the bench.

    Args:
        options: what to do.
        argv: the arguments that said so, for a process of its own.

    Returns:
        The exit code.

    Raises:
        WrongAnswer: a run gave another answer than the reference.
        ValueError: the options or the data are not right.
        ImportError: --plot without matplotlib, or --device cuda without torch or triton.
    """
    operations = select(options.only)
    if options.plot is not None:
        try:
            from frazil.bench.plot import plot
        except ImportError as error:
            raise ImportError(f"--plot needs matplotlib: pip install 'frazil[bench]' ({error})") from error
    if options.peers and any(os.environ.get(name) != "1" for name in _ONE_THREAD):
        environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
        return subprocess.run([sys.executable, "-m", "frazil", *argv], env=environment, check=False).returncode

    files = options.data, options.queries_data
    vectors = Vectors(ARCTIC_INT4, options.seed, *files, clustered=options.clustered)
    gpu = Cuda() if options.device == "cuda" else None
    device = "" if gpu is None else gpu.name
    print(header(options, device), flush=True)
    tables: list[Table] = []
    missing: list[str] = []

    def show(table: Table) -> None:
        tables.append(table)
        print(markdown(table), flush=True)

    if gpu is not None:
        missing = measure_gpu(gpu, options, vectors, show)
    elif options.peers:
        from frazil.bench.peers_run import measure_peers

        missing = measure_peers(options, vectors, show)
    else:
        clustered = vectors
        if options.data is None and not options.clustered:
            clustered = Vectors(ARCTIC_INT4, options.seed, *files, clustered=True)
        setup = Setup(options, vectors, clustered)
        with progress("making vectors"):
            cases = _reads(setup, {operation.key for operation in operations})
        show(measure_limits(setup, cases))
        del cases
        for operation in operations:
            show(measure(operation, setup))
    if options.json is not None:
        write_json(options.json, options, tables, missing, device)
    if options.plot is not None:
        plot(tables, options.plot)
    return 0


def _reads(setup: Setup, keys: set[str]) -> list[Case]:
    """Return what to find the speed of memory with: all codes, and rows as each kind of packing reads them."""
    codes = setup.vectors.codes(setup.options.rows)
    read = Case(lambda threads: None, (), setup.options.rows, setup.options.rows, codes.nbytes, codes)
    packs = [o for o in select(("pack-float32", "pack-float16")) if o.key in keys]
    return [read, *(operation.make(setup, operation.rows(setup.options)) for operation in packs)]
