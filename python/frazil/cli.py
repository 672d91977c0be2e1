"""The `frazil` command: `frazil info`, `frazil demo`."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence

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
        arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the interpreter's last flush complain
        return 0
    except (ImportError, OSError, ValueError) as error:
        print(f"frazil: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="frazil", description="Float embeddings packed into 128 bytes, searched at the speed of memory."
    )
    parser.add_argument("--version", action="version", version=f"frazil {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    info = commands.add_parser("info", help="show CPU, instruction sets and versions")
    info.set_defaults(run=_info)

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
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


def _info(_: argparse.Namespace) -> None:
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
