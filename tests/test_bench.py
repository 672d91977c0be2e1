"""`frazil bench`: its tables, its files, and that it would notice a wrong answer. Nothing here depends on speed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import frazil
from frazil import Codec, cli
from frazil.bench import compare, packers, peers
from frazil.bench.cases import Setup
from frazil.bench.data import Vectors
from frazil.bench.operations import OPERATIONS, select
from frazil.bench.options import Options
from frazil.bench.timing import Contestant, interleave, median, spread

SIZES = {
    "rows": 3000,
    "batch-rows": 2000,
    "pack-rows": 300,
    "peer-rows": 3000,
    "queries": 20,
    "repeats": 2,
    "threads": 1,
}
SMALL = [f"--{name}={value}" for name, value in SIZES.items()]
LINE_KEYS = {
    *("name", "threads", "seconds", "rows", "work", "bytes", "products", "rate", "spread"),
    *("limit", "of_limit", "recall", "bytes_per_vector"),
}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """With one thread for BLAS already, --peers starts no process of its own, and stays within monkeypatch's reach."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


def bench(*arguments):
    return cli.main(["bench", *SMALL, *map(str, arguments)])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One run of everything, in a process of its own: (stdout, stderr, JSON)."""
    path = tmp_path_factory.mktemp("bench") / "all.json"
    command = [sys.executable, "-m", "frazil", "bench", *SMALL, "--threads", "1,2", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr, path


def test_every_operation_set_and_thread_count_is_printed(written):
    stdout, stderr, _ = written
    assert stderr == ""  # not a terminal: no progress
    assert stdout.startswith(f"frazil {frazil.__version__} on ")
    assert stdout.count("\n| set | threads | ") == len(OPERATIONS)
    for isa in frazil.kernels():
        for threads in (1, 2):
            assert stdout.count(f"\n| {isa} | {threads} | ") == len(OPERATIONS)
            assert stdout.count(f"\n| dot {isa} | {threads} | ") == 1
    for line in stdout.splitlines():
        assert line == line.rstrip()


def test_json(written):
    content = json.loads(written[2].read_text())
    assert set(content) == {"format", "machine", "options", "missing", "tables"}
    assert content["format"] == 1
    assert set(content["machine"]) == {"cpu", "cpus", "frazil", "python", "numpy", "platform"}
    assert content["options"]["rows"] == 3000
    assert content["missing"] == []
    tables = {table["key"]: table for table in content["tables"]}
    assert list(tables) == ["limits", *(operation.key for operation in OPERATIONS)]
    for table in content["tables"]:
        assert set(table) == {"key", "title", "unit", "note", "lines", "probes"}
        for line in table["lines"] + table["probes"]:
            assert set(line) == LINE_KEYS
            assert len(line["seconds"]) == 2
            assert min(line["seconds"]) > 0
            assert line["rate"] > 0
        for line in table["lines"]:
            assert line["of_limit"] > 0
            assert (line["limit"], line["threads"]) in {(probe["name"], probe["threads"]) for probe in table["probes"]}
    single = tables["single"]["lines"][0]
    assert (single["rows"], single["work"]) == (3000, 3000)
    assert (single["bytes"], single["products"]) == (3000 * 128, 3000 * 256)
    batch = {line["name"]: line for line in tables["batch"]["lines"]}
    assert batch["scalar"]["rows"] == 2000 // 16
    assert "scalar is slow and does 125 rows" in tables["batch"]["note"]
    assert batch["scalar"]["limit"] == "dot scalar"


def test_compare_with_itself(written, capsys):
    path = str(written[2])
    assert cli.main(["bench", "--compare", path, path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| operation | set | threads |")
    assert len(lines) > 2 + 2 * len(OPERATIONS)
    assert all(" | 1.000 | " in line for line in lines[2:])


def test_compare_names_what_differs(written, tmp_path):
    content = json.loads(written[2].read_text())
    single = next(table for table in content["tables"] if table["key"] == "single")
    name = single["lines"][0]["name"]
    single["lines"][0]["rate"] *= 2
    single["lines"][0]["rows"] = 77
    gone = single["lines"].pop()
    content["tables"] = [table for table in content["tables"] if table["key"] != "batch"]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    text = compare.compare(written[2], other)
    (line,) = [line for line in text.splitlines() if line.startswith(f"| single | {name} | 1 |")]
    assert " | 2.000 | " in line
    assert f"Only in A: single, {gone['name']}, 2 threads; all of batch" in text
    assert f"Numbers of rows differ: single, {name}, 1 thread: 3,000 and 77" in text
    assert "Only in B: single" in compare.compare(other, written[2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 2, "tables": []}', "format 2; this version of frazil reads format 1"),
        ("{", "not a JSON file of `frazil bench`"),
        ("[]", "not a JSON file of `frazil bench`"),
        ('{"format": 1}', "not a whole file"),
        ('{"format": 1, "tables": [{"key": "x", "lines": [{}]}]}', "not a whole file"),
    ],
)
def test_compare_refuses_other_files(content, message, written, tmp_path, capsys):
    path = tmp_path / "bad.json"
    path.write_text(content)
    assert cli.main(["bench", "--compare", str(written[2]), str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "bad.json" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG\r\n"), (".svg", b"<?xml")])
def test_plot(suffix, magic, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"roof{suffix}"
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    assert bench("--only", "single,batch,float", "--threads", "1,2", "--plot", path) == 0
    assert path.read_bytes().startswith(magic)


def test_plot_without_matplotlib_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "frazil.bench.plot", raising=False)
    assert bench("--plot", tmp_path / "roof.png") == 2
    captured = capsys.readouterr()
    assert "pip install 'frazil[bench]'" in captured.err
    assert captured.out == ""


def test_numpy_is_enough():
    code = (
        "import sys\n"
        "for name in 'rich platformdirs matplotlib torch faiss usearch numkong turbovec'.split():\n"
        "    sys.modules[name] = None\n"
        "from frazil.cli import main\n"
        f"sys.exit(main(['bench', '--only', 'single', *{SMALL}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_frazil_imports_no_bench():
    code = "import frazil, frazil.cli, sys; assert not [name for name in sys.modules if 'frazil.bench' in name]"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("key", ["single", "small-2", "batch", "float"])
@pytest.mark.parametrize("field", ["rows", "scores"])
def test_a_wrong_search_is_noticed(key, field, monkeypatch, capsys):
    wrong = frazil.kernels()[0]
    if wrong == "scalar":
        pytest.skip("needs a second instruction set")
    right = Codec.search

    def search(self, *arguments, **options):
        hits = right(self, *arguments, **options)
        if frazil.active_kernels() == wrong:
            getattr(hits, field)[..., -1] += 1
        return hits

    monkeypatch.setattr(Codec, "search", search)
    assert bench("--only", key) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"frazil: {key}: {wrong}")
    assert error.count("\n") == 1


def test_a_wrong_answer_of_many_threads_is_noticed(monkeypatch, capsys):
    right = Codec.search

    def search(self, *arguments, threads=None, **options):
        hits = right(self, *arguments, threads=threads, **options)
        if threads == 2:
            hits.rows[0, 0] += 1
        return hits

    monkeypatch.setattr(Codec, "search", search)
    assert bench("--only", "batch", "--threads", "2", "--sets", "scalar") == 2
    assert "frazil: batch: scalar with 2 threads: not the answer of the reference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "method"),
    [("pack-float32", "pack"), ("pack-float16", "pack"), ("pack-metric", "pack"), ("unpack", "unpack")],
)
def test_a_run_that_writes_nothing_is_noticed(key, method, monkeypatch, capsys):
    """What the run before has written must not pass for an answer."""
    right = getattr(Codec, method)
    calls = []

    def lazy(self, x, *, out=None, **options):
        calls.append(out is not None)
        return out if sum(calls) > 1 and out is not None else right(self, x, out=out, **options)

    monkeypatch.setattr(Codec, method, lazy)
    assert bench("--only", key) == 2
    assert f"frazil: {key}: " in capsys.readouterr().err


def test_data(tmp_path, capsys):
    x = np.random.default_rng(0).standard_normal((500, 300)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "q.npy", x[:3].astype(np.float32))
    assert bench("--only", "single,batch", "--data", tmp_path / "x.npy") == 0
    assert "3,000 given rows" in capsys.readouterr().out
    assert bench("--only", "batch", "--data", tmp_path / "x.npy", "--queries-data", tmp_path / "q.npy") == 0


def test_data_is_repeated_and_cut(tmp_path):
    codec = frazil.ARCTIC_INT4
    x = np.random.default_rng(0).standard_normal((5, 300), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    vectors = Vectors(codec, 0, tmp_path / "x.npy", None)
    assert np.array_equal(vectors.codes(12), codec.pack(x)[np.arange(12) % 5])
    assert np.array_equal(codec.pack(vectors.floats(12)), vectors.codes(12))
    assert np.array_equal(vectors.codes(2), codec.pack(x[:2]))
    queries = vectors.queries(50)
    near = queries @ (x[:, :256] / np.linalg.norm(x[:, :256], axis=1, keepdims=True)).T
    assert np.all(near.max(1) / np.linalg.norm(queries, axis=1) > 0.98)
    assert np.array_equal(Vectors(codec, 0, None, tmp_path / "x.npy").queries(7), x[np.arange(7) % 5, :256])
    assert not np.array_equal(Vectors(codec, 0, None, None).queries(7), Vectors(codec, 1, None, None).queries(7))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 255), np.float32), "d >= 256, got (4, 255)"),
        (np.zeros(256, np.float32), "got (256,)"),
        (np.zeros((0, 256), np.float32), "n >= 1"),
        (np.zeros((4, 256), np.int8), "expected float16 or float32, got int8"),
        (np.full((4, 256), np.nan, np.float32), "NaN"),
    ],
)
def test_wrong_data(array, message, tmp_path, capsys):
    np.save(tmp_path / "x.npy", array)
    assert bench("--only", "single", "--data", tmp_path / "x.npy") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sets", "abacus"), "sets: expected some of"),
        (
            ("--only", "abacus"),
            "only: expected some of single, small (small-2, small-4, small-8, small-16), batch, "
            "normal (normal-single, normal-batch), sketch (sketch-single, sketch-batch, sketch-random), float, "
            "pack (pack-float32, pack-float16, pack-refined, pack-metric), unpack; got 'abacus'",
        ),
        (("--data", "/no/such.npy"), "data: there is no file '/no/such.npy'"),
        (("--json", "/no/such/folder/a.json"), "there is no folder '/no/such/folder'"),
        (("--plot", "roof.jpg"), "expected a file name that ends in .png or .svg"),
        (("--plot", "roof.png", "--peers"), "plot: is about the operations; --peers measures none"),
        (("--only", "single", "--peers"), "only: is about the operations; --peers measures none"),
    ],
)
def test_wrong_options_are_one_line(arguments, message, capsys):
    assert bench(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_families_of_operations():
    assert [o.key for o in select(("small", "batch"))] == ["small-2", "small-4", "small-8", "small-16", "batch"]
    assert [o.key for o in select(("pack-float16",))] == ["pack-float16"]
    assert select(()) == OPERATIONS


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.key)
def test_cases_count_what_they_do(operation):
    vectors = [Vectors(frazil.ARCTIC_INT4, 0, None, None, clustered=clustered) for clustered in (False, True)]
    setup = Setup(Options(queries=20), *vectors)
    case = operation.make(setup, 40)
    assert case.rows == 40
    assert case.work % 40 == 0
    assert len(case.memory) == 40
    case.before()
    case.check(case.run(1))


def test_peers_that_are_missing_are_named(tmp_path, monkeypatch, capsys):
    for module in ("faiss", "turbovec", "usearch", "usearch.index", "numkong", "torch", "numba"):
        monkeypatch.setitem(sys.modules, module, None)
    assert bench("--peers", "--json", tmp_path / "peers.json") == 0
    stdout = capsys.readouterr().out
    content = json.loads((tmp_path / "peers.json").read_text())
    for package in ("faiss-cpu", "turbovec", "usearch", "numkong", "torch", "numba"):
        assert f"not installed: {package} (" in stdout
        assert any(package in line for line in content["missing"])
    assert [table["key"] for table in content["tables"]] == ["peers-one", "peers-batch", "peers-pack"]
    names = [line["name"] for line in content["tables"][2]["lines"]]
    assert names == ["frazil float32", "frazil float16", "NumPy recipe"]
    for table in content["tables"][:2]:
        *ours, theirs = table["lines"]
        kinds = [f"frazil {kind}" for kind in ("4 bits", "4 bits, refined", "4 bits, normal, refined", "8 bits")]
        assert [line["name"] for line in ours] == [name + more for name in kinds for more in ("", ", sketch")]
        assert [line["bytes_per_vector"] for line in ours[::2]] == [128, 128, 128, 256]
        assert theirs["name"] == "NumPy float32 + argpartition"
        assert theirs["bytes_per_vector"] == 1024
        assert theirs["recall"] == 1
        assert all(0.4 < line["recall"] <= 1 for line in ours)
        assert set(ours[0]) == LINE_KEYS


def test_a_peer_that_fails_is_named_with_its_error(monkeypatch, capsys):
    def build(_):
        raise RuntimeError("no such\nluck")

    monkeypatch.setattr("frazil.bench.peers_run.PEERS", (peers.Peer("abacus", "abacus-cpu", build),))
    assert bench("--peers") == 0
    assert "\nfailed: abacus: RuntimeError: no such luck\n" in capsys.readouterr().out


def test_frazil_among_its_peers_is_checked(monkeypatch, capsys):
    right = Codec.search

    def search(self, *arguments, threads=None, **options):
        hits = right(self, *arguments, threads=threads, **options)
        if threads == 1:
            hits.rows[0, 0] += 1
        return hits

    monkeypatch.setattr(Codec, "search", search)
    monkeypatch.setattr("frazil.bench.peers_run.PEERS", ())
    assert bench("--peers") == 2
    assert "frazil: peers-one: frazil 4 bits: not the answer of the reference" in capsys.readouterr().err


@pytest.mark.parametrize("packer", packers.PACKERS, ids=lambda packer: packer.name)
def test_packers_pack_what_frazil_packs(packer):
    pytest.importorskip(packer.package)
    x = np.random.default_rng(0).standard_normal((5000, 300), dtype=np.float32)
    codes = np.zeros((5000, 128), np.uint8)
    packer.build(frazil.ARCTIC_INT4)(x, codes)
    assert np.mean(codes != frazil.ARCTIC_INT4.pack(x)) < 1e-4


def test_packed_codes_are_checked(monkeypatch, capsys):
    monkeypatch.setattr("frazil.bench.peers_run.PEERS", ())
    broken = packers.Packer("abacus", "abacus", lambda codec: lambda x, out: codec.pack(x[::-1], out=out))
    monkeypatch.setattr("frazil.bench.packers.PACKERS", (broken,))
    assert bench("--peers") == 2
    assert "frazil: peers-pack: abacus: " in capsys.readouterr().err


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_peers_find_what_is_there(peer):
    """In a process of its own: some of these libraries do not bear each other's company in every order."""
    code = (
        "import numpy as np\n"
        "from frazil.bench.peers import PEERS\n"
        "x = np.random.default_rng(0).standard_normal((3000, 256), dtype=np.float32)\n"
        "x /= np.linalg.norm(x, axis=1, keepdims=True)\n"
        f"(peer,) = [peer for peer in PEERS if peer.name == {peer.name!r}]\n"
        "try:\n"
        "    built = peer.build(x)\n"
        "except ModuleNotFoundError as error:\n"
        "    raise SystemExit(77)\n"
        "for q in (x[:1], x[5:25]):\n"
        "    rows = built.search(q)\n"
        "    assert rows.shape == (len(q), 10), rows.shape\n"
        "    assert rows[:, 0].tolist() == list(range(5, 25) if len(q) > 1 else [0]), rows[:, 0]\n"
        "assert 100 < built.bytes_per_vector < 1500, built.bytes_per_vector\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    if done.returncode == 77:
        pytest.skip(f"{peer.package} is not installed")
    assert done.returncode == 0, done.stderr


def test_peers_run_in_a_process_with_one_thread(monkeypatch, capfd):
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert bench("--peers", "--json", "/no/such/folder/a.json") == 2  # checked before there is a process
    assert bench("--peers", "--data", __file__) == 2  # by the process
    error = capfd.readouterr().err
    assert error.count("\n") == 2
    assert error.count("frazil: ") == 2


def test_contestants_take_turns():
    log = []

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()

    def contestant(name, seconds):
        times = iter(seconds)

        def run():
            log.append(name)
            clock.now += next(times)
            return name.upper()

        def check(answer):
            assert answer == name.upper()
            log.append("check")
            clock.now += 1000  # not counted

        def before():
            clock.now += 100  # nor this

        return Contestant(run, check, before)

    turns = []
    seconds = interleave(
        [contestant("a", [9, 1, 2, 3]), contestant("b", [9, 4, 5, 60])], 3, clock=clock, turn=lambda: turns.append(1)
    )
    assert log == ["a", "check", "b", "check"] * 4
    assert seconds == [[1, 2, 3], [4, 5, 60]]
    assert len(turns) == 8
    assert [median(times) for times in seconds] == [2, 5]
    assert spread([10.0] * 5) == 0
    assert spread(list(range(11))) == pytest.approx((9 - 1) / 5)


def test_contestants_run_on_their_kernels():
    seen = []
    run = [Contestant(lambda: seen.append(frazil.active_kernels()), kernels=isa) for isa in frazil.kernels()]
    before = frazil.active_kernels()
    interleave(run, 1)
    assert seen == [*frazil.kernels()] * 2
    assert frazil.active_kernels() == before
