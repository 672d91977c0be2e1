"""The `frazil` command: info, demo, bench; quality, eval; and what it does with collections."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from frazil import __version__, _native, active_kernels, kernels

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: its arguments; None: those of the process.

    Returns:
        The exit code: 0, 2 after an error (one line on stderr), 130 after Ctrl-C.
    """
    try:
        arguments = _parser().parse_args(argv)
        arguments.argv = sys.argv[1:] if argv is None else argv
        if isinstance(sys.stdout, io.TextIOWrapper):  # texts and names that it cannot encode shall not end the command
            sys.stdout.reconfigure(errors="backslashreplace")
        code = arguments.run(arguments)
        if sys.stdout is not None:  # None: it was closed when the process began
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the interpreter's last flush complain
        return 0
    except (ImportError, MemoryError, OSError, ValueError) as error:
        print(f"frazil: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2
    return int(code or 0)


_DTYPE_HELP = "what the encoder computes in: float32, bfloat16, int8 (default: float32)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="frazil", description="Float embeddings packed into 128 bytes, searched at the speed of memory."
    )
    parser.add_argument("--version", action="version", version=f"frazil {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    info = commands.add_parser("info", help="show CPU, instruction sets and versions; or what a collection is")
    info.add_argument("folder", nargs="?", type=Path, help="a collection")
    info.set_defaults(run=_info)

    _add_collection_commands(commands)

    demo = commands.add_parser(
        "demo",
        help="search the standard library's docstrings, packed into 128 bytes each",
        description="Encode the standard library's docstrings, pack them into 128 bytes each, and search them.",
    )
    demo.add_argument("questions", nargs="*", metavar="question", help="what to ask (default: a few good ones)")
    demo.add_argument(
        "--model", metavar="M", help="hub id or folder (default: arctic-embed-m-v1.5, else the packaged MiniLM)"
    )
    demo.add_argument("-k", type=_positive, default=5, metavar="N", help="answers to a question (default: 5)")
    demo.add_argument("--limit", type=_positive, metavar="N", help="use at most N docstrings (default: all)")
    demo.add_argument(
        "--seconds", type=float, default=45.0, metavar="S", help="spend no more on encoding (default: 45)"
    )
    demo.set_defaults(run=_demo)

    bench = commands.add_parser(
        "bench",
        help="measure every operation on every instruction set, beside this machine's limits",
        description="Measure this machine's limits and, beside them, every operation on every instruction set. Every "
        "answer is checked. Medians of interleaved repeats, as Markdown.",
    )
    _add_bench_options(bench)
    bench.set_defaults(run=_bench)

    _add_quality_commands(commands)
    return parser


def _add_quality_commands(commands: Any) -> None:
    quality = commands.add_parser(
        "quality",
        help="measure what codes of your embeddings cost: errors and recall beside the floats",
        description="Measure what codes of these embeddings cost, beside the floats: clipping, errors of values and "
        "scores, recall of the nearest documents with 95% confidence intervals; every combination of dims, bits, "
        "query bits and refinements. Recall is counted beside floats of as many dimensions, and beside the uncut ones.",
    )
    quality.add_argument("file", type=Path, metavar="FILE.npy", help="embeddings of documents, floats (n, d)")
    quality.add_argument(
        "--queries",
        type=Path,
        metavar="FILE.npy",
        help="embeddings of queries (default: a tenth of the rows, held out)",
    )
    quality.add_argument(
        "--rows", type=_positive, default=100_000, metavar="N", help="use N rows, chosen at random (default: 100000)"
    )
    quality.add_argument("--dims", type=_counts, default=(), metavar="N,M", help="dimensions kept (default: 64, 128 …)")
    quality.add_argument("--bits", type=_counts, default=(), metavar="N,M", help="bits a dimension (default: 4,8)")
    quality.add_argument("--query-bits", type=_counts, default=(), metavar="N,M", help="of queries (default: 8)")
    quality.add_argument("--refine", type=_names, default=(), metavar="A,B", help="of no, yes, metric (default: all)")
    quality.add_argument(
        "--limit", type=float, metavar="L", help="codes cover -L to L (default: 0.18; 0.30 for 8 bits)"
    )
    quality.add_argument("--seed", type=_size, default=0, metavar="N", help="of random choices (default: 0)")
    quality.add_argument("--json", action="store_true", help="print JSON")
    quality.add_argument("--plot", type=Path, metavar="FILE", help="draw recall against bytes, .png or .svg")
    quality.set_defaults(run=_quality_command("run_quality"))

    evaluation = commands.add_parser(
        "eval",
        help="measure NDCG@10 of a BEIR collection, in floats and by codes",
        description="Encode a retrieval collection in BEIR's layout (once: embeddings are kept), pack and search it, "
        "and print NDCG@10 and recall@100 with 95% confidence intervals, for float32 and for each codec.",
    )
    evaluation.add_argument(
        "folder",
        type=Path,
        metavar="BEIR_FOLDER",
        help="with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, or qrels.tsv",
    )
    evaluation.add_argument(
        "--model", metavar="M", help="hub id or folder of the encoder (default: arctic-embed-m-v1.5)"
    )
    evaluation.add_argument("--dtype", metavar="T", help=_DTYPE_HELP)
    evaluation.add_argument(
        "--split", default="test", metavar="S", help="which judgements: qrels/S.tsv (default: test)"
    )
    evaluation.add_argument(
        "--dim", type=_positive, metavar="N", help="dimensions kept (default: 256, or all if fewer)"
    )
    evaluation.add_argument(
        "--documents", type=Path, metavar="FILE.npy", help="ready embeddings, a row for each document"
    )
    evaluation.add_argument("--queries", type=Path, metavar="FILE.npy", help="and one for each line of queries.jsonl")
    evaluation.add_argument("--cache", type=Path, metavar="FOLDER", help="where embeddings are kept")
    evaluation.set_defaults(run=_quality_command("run_eval"))


def _quality_command(name: str) -> Callable[[argparse.Namespace], None]:
    """Return what runs a function of frazil.quality.commands; it is imported only then."""

    def run(arguments: argparse.Namespace) -> None:
        from frazil.quality import commands

        getattr(commands, name)(arguments)

    return run


def _add_collection_commands(commands: Any) -> None:
    index = commands.add_parser(
        "index",
        help="put texts or embeddings into a collection",
        description="Put texts (.jsonl, .csv, .parquet) or embeddings (.npy, .fvecs, .fbin) into a collection. "
        "Stopped, by whatever, and started again, it goes on where it was. --dim, --bits, --limit, --codec, --refine, "
        "--rerank and --model are fixed when the collection is made.",
    )
    index.add_argument("files", nargs="+", type=Path, metavar="FILE")
    index.add_argument(
        "-o", "--output", dest="folder", type=Path, required=True, metavar="FOLDER", help="the collection"
    )
    index.add_argument("--model", metavar="M", help="hub id or folder of the encoder (default: arctic-embed-m-v1.5)")
    index.add_argument("--dtype", metavar="T", help=_DTYPE_HELP)
    index.add_argument("--dim", type=_positive, metavar="N", help="dimensions kept (default: 256, or all if fewer)")
    index.add_argument("--bits", type=int, choices=(4, 8), help="bits a dimension (default: 4)")
    index.add_argument("--limit", type=float, metavar="L", help="codes cover -L to L (default: 0.18; 0.30 for 8 bits)")
    index.add_argument(
        "--codec", type=Path, metavar="FILE.npz", help="what Codec.save wrote, instead of --dim, --bits and --limit"
    )
    index.add_argument(
        "--refine", action="store_true", help="choose codes that keep scores, not values: slower packing"
    )
    index.add_argument("--rerank", action="store_true", help="keep 8-bit codes as well, to re-rank with")
    index.add_argument(
        "--upsert", action="store_true", help="replace items of the same ids; a file that has changed is read again"
    )
    index.add_argument("--text-fields", type=_names, default=(), metavar="A,B", help="default: title and text")
    index.add_argument("--id-field", metavar="A", help="default: _id or id; without one, items are numbered")
    index.set_defaults(run=_collection_command("run_index"))

    search = commands.add_parser("search", help="search a collection for a text")
    search.add_argument("folder", type=Path)
    search.add_argument("text")
    search.add_argument("-k", type=_positive, default=10, metavar="N", help="how many answers (default: 10)")
    search.add_argument("--where", metavar="JSON", help='a filter over metadata: \'{"year": {"$gte": 2020}}\'')
    search.add_argument("--rerank", type=_positive, metavar="N", help="score the N best again by the 8-bit codes")
    search.add_argument("--model", metavar="M", help="the encoder, where the collection does not say")
    search.add_argument("--json", action="store_true", help="print JSON")
    search.set_defaults(run=_collection_command("run_search"))

    verify = commands.add_parser("verify", help="check every byte of a collection against its checksum")
    verify.add_argument("folder", type=Path)
    verify.set_defaults(run=_collection_command("run_verify"))

    export = commands.add_parser("export", help="write a collection's items to a .parquet, .arrow or .npy file")
    export.add_argument("folder", type=Path)
    export.add_argument("file", type=Path)
    export.set_defaults(run=_collection_command("run_export"))

    import_ = commands.add_parser(
        "import",
        help="add the items of a file that export wrote",
        description="Add the items of a file that export wrote, to a collection that is made if it is not there, with "
        "the file's codec and model. A .npy, of codes or floats, needs NAME.ids.npy beside it.",
    )
    import_.add_argument("file", type=Path, metavar="FILE", help=".parquet, .arrow or .npy")
    import_.add_argument(
        "-o", "--output", dest="folder", type=Path, required=True, metavar="FOLDER", help="the collection"
    )
    import_.add_argument("--upsert", action="store_true", help="replace items of the same ids")
    import_.add_argument("--bits", type=int, choices=(4, 8), help="bits a dimension of a .npy, which does not say")
    import_.add_argument("--limit", type=float, metavar="L", help="likewise (default: 0.18; 0.30 for 8 bits)")
    import_.add_argument("--model", metavar="M", help="what made the embeddings, if the file does not say")
    import_.set_defaults(run=_collection_command("run_import"))


def _collection_command(name: str) -> Callable[[argparse.Namespace], None]:
    """Return what runs a function of frazil.collection.commands; SQLite is imported only then."""

    def run(arguments: argparse.Namespace) -> None:
        from frazil.collection import CollectionError, commands

        try:
            getattr(commands, name)(arguments)
        except CollectionError as error:
            raise ValueError(error) from error

    return run


def _add_bench_options(bench: argparse.ArgumentParser) -> None:
    from frazil.bench.operations import names

    bench.add_argument("--quick", action="store_true", help="fewer rows and repeats: some seconds in all")
    bench.add_argument("--sets", type=_names, default=(), metavar="A,B", help="these instruction sets (default: all)")
    bench.add_argument("--threads", type=_counts, default=(), metavar="N,M", help="thread counts (default: 1,all CPUs)")
    bench.add_argument(
        "--only",
        type=_names,
        default=(),
        metavar="A,B",
        help=f"these: {names()} (default: all; not with --peers)",
    )
    for name, what in (
        ("rows", "rows of a search for one query (default: 4000000)"),
        ("batch-rows", "rows of a search for several (default: 1000000)"),
        ("pack-rows", "rows to pack (default: 200000)"),
        ("peer-rows", "rows with --peers (default: 1000000)"),
        ("queries", "queries of the batch (default: 256)"),
        ("repeats", "how often each is run (default: 7)"),
    ):
        bench.add_argument(f"--{name}", type=_positive, metavar="N", help=what)
    bench.add_argument("--data", type=Path, metavar="FILE.npy", help="search these vectors, not random ones")
    bench.add_argument("--queries-data", type=Path, metavar="FILE.npy", help="for these (default: rows with noise)")
    bench.add_argument("--clustered", action="store_true", help="search vectors in tight clusters, not random ones")
    bench.add_argument("--seed", type=_size, default=0, metavar="N", help="of random numbers (default: 0)")
    bench.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="measure the GPU instead: 50000000 rows, batches of 1024 queries over 10000000, unless told otherwise",
    )
    bench.add_argument("--peers", action="store_true", help="measure other libraries beside frazil, one thread each")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="draw a roofline picture, .png or .svg")
    bench.add_argument(
        "--compare", type=Path, nargs=2, metavar=("A", "B"), help="measure nothing; show how fast file B is beside A"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(_positive(count) for count in text.split(","))
    except argparse.ArgumentTypeError:
        wanted = "whole numbers of at least 1, with commas between"
        raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}") from None


def _positive(text: str) -> int:
    return _at_least(1, text)


def _size(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    with contextlib.suppress(ValueError):
        if (value := int(text)) >= least:
            return value
    raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")


def _info(arguments: argparse.Namespace) -> None:
    if arguments.folder is not None:
        return _collection_command("run_info")(arguments)
    lines = {
        "CPU": _native.cpu_name(),
        "CPUs": f"{_native.default_threads()} for this process, {os.cpu_count()} in the machine",
        "instruction sets": "",
        "  compiled in": ", ".join(_native.compiled_kernels()),
        "  runnable": ", ".join(kernels()),
        "  active": active_kernels(),
        "frazil": __version__,
        "Python": f"{platform.python_version()} on {platform.platform()}",
    }
    for package in ("numpy", "torch", "transformers"):
        try:
            lines[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            lines[package] = "not installed"
    for name, value in lines.items():
        print(f"{name:18}{value}".rstrip())


def _demo(arguments: argparse.Namespace) -> None:
    try:
        from frazil.demo.run import run

        run(
            arguments.questions,
            model=arguments.model,
            k=arguments.k,
            limit=arguments.limit,
            seconds=arguments.seconds,
        )
    except ImportError as error:
        raise ImportError(f"the demo needs more packages: pip install 'frazil[demo]' ({error})") from error


# What fills a GPU's memory, and keeps it busy.
_GPU = {"rows": 50_000_000, "batch_rows": 10_000_000, "pack_rows": 2_000_000, "queries": 1024}
_QUICK = {"rows": 500_000, "batch_rows": 100_000, "pack_rows": 40_000, "peer_rows": 100_000, "repeats": 3}


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.compare is not None:
        from frazil.bench.compare import compare

        print(compare(*arguments.compare))
        return 0
    from frazil.bench.options import Options
    from frazil.bench.run import run

    given = {name: value for name, value in vars(arguments).items() if name in Options.__dataclass_fields__}
    given = {name: value for name, value in given.items() if value is not None}
    sizes = (_GPU if arguments.device == "cuda" else {}) | (_QUICK if arguments.quick else {})
    return run(Options(**sizes | given), arguments.argv)
