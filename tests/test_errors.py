"""Bad input: a clear exception that names the argument and says what was given. Nothing crashes."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest

import frazil
from frazil import Codec

NUMPY = tuple(int(part) for part in np.__version__.split(".")[:2])
CODEC = frazil.ARCTIC_INT4
X = np.random.default_rng(0).standard_normal((5, 300)).astype(np.float32)
CODES = CODEC.pack(X)


def raises(error, match, call, *arguments, **options):
    with pytest.raises(error, match=match):
        call(*arguments, **options)


# ---------------------------------------------------------------- floats

TAKES_FLOATS = {
    "x": CODEC.pack,
    "queries": lambda x, **options: CODEC.search(x, CODES, **options),
    "queries, score": lambda x, **options: CODEC.score(x, CODES, **options),
}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("name", TAKES_FLOATS)
def test_not_finite(name, dtype, bad):
    argument, call = name.partition(",")[0], TAKES_FLOATS[name]
    for column in (0, 100, 255):
        x = X.astype(dtype)
        x[3, column] = x[4, 7] = bad
        raises(ValueError, rf"{argument}: row 3 holds NaN or infinity", call, x)
    x = X.astype(dtype)
    x[:, 256:] = bad  # never read
    call(x)


@pytest.mark.parametrize("bits", [4, 8, 32])
def test_not_finite_queries_of_any_bits(bits):
    x = X.copy()
    x[2, 5] = np.nan
    raises(ValueError, "queries: row 2", CODEC.search, x, CODES, query_bits=bits)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("bits", [4, 8, 32])
def test_not_finite_in_an_otherwise_zero_query(bits, dtype, bad):
    for column in (0, 1, 31, 100, 255):
        x = np.zeros((3, 256), dtype)
        x[1, column] = bad
        raises(ValueError, "queries: row 1 holds", CODEC.search, x, CODES, query_bits=bits)
        raises(ValueError, "queries: row 1 holds", CODEC.score, x, CODES, query_bits=bits)


def test_the_first_bad_row_is_named_by_many_threads():
    x = np.ones((40_000, 256), np.float32)
    for first in (0, 1, 255, 256, 12_345, 39_999):
        x[first:, 17] = 1
        x[first::1000, 17] = np.nan
        raises(ValueError, rf"x: row {first} holds", CODEC.pack, x, threads=4)
        raises(ValueError, rf"queries: row {first} holds", CODEC.search, x, CODES, threads=4)
        x[first:, 17] = 1
    assert CODEC.pack(x, threads=4).shape == (40_000, 128)  # the pool goes on


WRONG_FLOATS = {
    "no axis": (np.float32(1.0), ValueError, r"expected shape \(n, d\) or \(d,\), got \(\)"),
    "three axes": (X[None], ValueError, r"got \(1, 5, 300\)"),
    "too narrow": (X[:, :255], ValueError, r"at least 256 columns, got shape \(5, 255\)"),
    "too short": (X[0, :8], ValueError, r"at least 256 columns, got shape \(8,\)"),
    "integers": (np.ones((5, 300), np.int64), TypeError, "got int64"),
    "complex": (X.astype(complex), TypeError, "got complex128"),
    "objects": (X.astype(object), TypeError, "got object"),
    "a column of arrays": (
        np.array([*X, None], object)[:-1],
        TypeError,
        r"got 5 objects, each of which is a ndarray; np\.stack makes one array of them",
    ),
    "strings": (np.array([["a"] * 300]), TypeError, r"got text \(<U1\); .*encode_"),
    "booleans": (X > 0, TypeError, "got bool"),
    "None": (None, TypeError, "got object"),
    "a mask": (np.ma.array(X, mask=X > 1), TypeError, "without a mask"),
}
if NUMPY >= (1, 24):  # before, of objects, with a warning
    WRONG_FLOATS["a ragged list"] = ([[1.0, 2.0], [3.0]], ValueError, "expected an array; ")
if np.finfo(np.longdouble).bits > 64:  # elsewhere they are doubles
    WRONG_FLOATS["long doubles"] = (X.astype(np.longdouble), TypeError, r"got (float128|longdouble)")


@pytest.mark.parametrize("case", WRONG_FLOATS)
@pytest.mark.parametrize("name", TAKES_FLOATS)
def test_wrong_floats(name, case):
    x, error, match = WRONG_FLOATS[case]
    raises(error, f"{name.partition(',')[0]}: .*{match}", TAKES_FLOATS[name], x)


def test_while_another_thread_imports_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))  # as it is at first: empty
    np.testing.assert_array_equal(CODEC.pack(X), CODES)


# ---------------------------------------------------------------- codes

WRONG_CODES = {
    "too wide": (np.zeros((5, 129), np.uint8), ValueError, r"\(n, 128\) for 256 dimensions of 4 bits, got \(5, 129\)"),
    "too narrow": (CODES[:, 1:], ValueError, r"got \(5, 127\)"),
    "three axes": (CODES[None], ValueError, r"got \(1, 5, 128\)"),
    "no axis": (np.uint8(3)[()], TypeError, "expected a uint8 array, got uint8"),
    "int8": (CODES.view(np.int8), TypeError, "expected uint8, got int8"),
    "floats": (CODES.astype(np.float32), TypeError, "expected uint8, got float32"),
    "booleans": (CODES > 3, TypeError, "expected uint8, got bool"),
    "a list": (CODES.tolist(), TypeError, "got list"),
    "None": (None, TypeError, "got NoneType"),
}


@pytest.mark.parametrize("case", WRONG_CODES)
def test_wrong_codes(case):
    codes, error, match = WRONG_CODES[case]
    for call in (CODEC.unpack, lambda codes: CODEC.score(X, codes), lambda codes: CODEC.search(X, codes)):
        raises(error, f"codes: .*{match}", call, codes)


def test_one_row_of_codes_is_no_collection():
    raises(ValueError, r"codes: expected shape \(n, row_bytes\), got \(128,\)", CODEC.search, X, CODES[0])
    raises(ValueError, r"codes: expected shape \(n, row_bytes\), got \(128,\)", CODEC.score, X, CODES[0])


# ---------------------------------------------------------------- out


def read_only(array):
    array.flags.writeable = False
    return array


WRONG_OUT = {
    "read-only": (lambda: read_only(np.empty((5, 128), np.uint8)), ValueError, "read-only"),
    "too few rows": (lambda: np.empty((4, 128), np.uint8), ValueError, r"shape \(5, 128\).*got shape \(4, 128\)"),
    "one axis": (lambda: np.empty(640, np.uint8), ValueError, r"got shape \(640,\)"),
    "int8": (lambda: np.empty((5, 128), np.int8), TypeError, "uint8.*got dtype int8"),
    "spread out": (lambda: np.empty((10, 128), np.uint8)[::2], ValueError, "not C-contiguous"),
    "Fortran order": (lambda: np.empty((5, 128), np.uint8, order="F"), ValueError, "not C-contiguous"),
    "backwards": (lambda: np.empty((5, 128), np.uint8)[::-1], ValueError, "not C-contiguous"),
    "a list": (lambda: [[0] * 128] * 5, TypeError, "got <class 'list'>"),
}


@pytest.mark.parametrize("case", WRONG_OUT)
def test_wrong_out(case):
    make, error, match = WRONG_OUT[case]
    raises(error, f"out: .*{match}", CODEC.pack, X, out=make())


def test_overlapping_out():
    raw = np.ones(5 * 256 * 4 + 5 * 128, np.uint8)
    x = raw[: 5 * 256 * 4].view(np.float32).reshape(5, 256)
    x[...] = X[:, :256]
    beside = raw[5 * 256 * 4 :].reshape(5, 128)
    np.testing.assert_array_equal(CODEC.pack(x, out=beside), CODES)
    for start in (0, 100, 5 * 256 * 4 - 1):
        raises(ValueError, "out: .*overlaps", CODEC.pack, x, out=raw[start : start + 640].reshape(5, 128))
    raises(ValueError, "out: .*overlaps", CODEC.pack, x[::-1], out=raw[:640].reshape(5, 128))
    raises(ValueError, "out: .*overlaps", CODEC.score, x, CODES, out=x.reshape(-1)[-25:].reshape(5, 5))
    scores = raw[:100].view(np.float32).reshape(5, 5)
    raises(ValueError, "out: .*overlaps", CODEC.score, X, raw[: 5 * 128].reshape(5, 128), out=scores)
    values = np.zeros(2000, np.float32)
    codes = values.view(np.uint8)[:640].reshape(5, 128)
    raises(ValueError, "out: .*overlaps", CODEC.unpack, codes, out=values[: 5 * 256].reshape(5, 256))


def test_wrong_out_of_unpack_and_score():
    raises(TypeError, "out: .*float32.*float64", CODEC.unpack, CODES, out=np.empty((5, 256)))
    raises(ValueError, r"out: .*\(5, 5\).*\(5, 6\)", CODEC.score, X, CODES, out=np.empty((5, 6), np.float32))
    for shape, call, *inputs in (((5, 256), CODEC.unpack, CODES), ((5, 5), CODEC.score, X, CODES)):
        raises(ValueError, "out: .*read-only", call, *inputs, out=read_only(np.empty(shape, np.float32)))
        raises(ValueError, "out: .*not C-cont", call, *inputs, out=np.empty(shape, np.float32, order="F"))
        raises(TypeError, "out: .*got <class 'list'>", call, *inputs, out=[])
    raises(ValueError, r"out: .*\(5,\).*\(1, 5\)", CODEC.score, X[0], CODES, out=np.empty((1, 5), np.float32))
    misaligned = np.empty(5 * 256 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(5, 256)
    raises(ValueError, "out: .*not aligned", CODEC.unpack, CODES, out=misaligned)
    raises(TypeError, r"out: .*dtype >f4", CODEC.unpack, CODES, out=np.empty((5, 256), ">f4"))


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("k", [0, -1, -(10**30)])
def test_k_out_of_range(k):
    raises(ValueError, f"k: expected at least 1, got {k}$", CODEC.search, X, CODES, k)


@pytest.mark.parametrize("k", [1.0, True, None, "3", np.array([1, 2])])
def test_k_of_the_wrong_type(k):
    raises(TypeError, "k: expected an integer", CODEC.search, X, CODES, k)


def test_huge_k_means_all():
    assert CODEC.search(X, CODES, 10**30).rows.shape == (5, 5)
    assert CODEC.search(X, CODES, 2**62).rows.shape == (5, 5)


@pytest.mark.parametrize("threads", [0, -1, -(2**70)])
def test_threads_out_of_range(threads):
    for call in (CODEC.pack, lambda x, **o: CODEC.search(x, CODES, **o), lambda x, **o: CODEC.unpack(CODES, **o)):
        raises(ValueError, f"threads: expected at least 1, got {threads}$", call, X, threads=threads)


@pytest.mark.parametrize("threads", [1.5, True, "2", np.array([1, 2])])
def test_threads_of_the_wrong_type(threads):
    raises(TypeError, "threads: expected an integer", CODEC.pack, X, threads=threads)


def test_more_threads_than_there_can_be():
    np.testing.assert_array_equal(CODEC.pack(X, threads=2**70), CODES)


@pytest.mark.parametrize(("bits", "error"), [(5, ValueError), (0, ValueError), (-8, ValueError), (2**70, ValueError)])
def test_query_bits_out_of_range(bits, error):
    raises(error, "query_bits: ", CODEC.search, X, CODES, query_bits=bits)
    raises(error, "query_bits: ", CODEC.score, X, CODES, query_bits=bits)
    raises(error, "query_bits: ", CODEC.search, X[:0], CODES[:0], query_bits=bits)


@pytest.mark.parametrize("bits", ["8", 8.0, None, True])
def test_query_bits_of_the_wrong_type(bits):
    raises(TypeError, "query_bits: expected an integer", CODEC.search, X, CODES, query_bits=bits)


# ---------------------------------------------------------------- allow

WRONG_ALLOW = {
    "a short mask": (np.ones(4, bool), ValueError, r"mask of shape \(5,\), got \(4,\)"),
    "a mask of two axes": (np.ones((5, 1), bool), ValueError, r"got \(5, 1\)"),
    "a row too far": ([0, 5], ValueError, "from 0, below 5, got 5"),
    "a negative row": ([-1], ValueError, "got -1"),
    "a row beyond int64": (np.array([2**63 + 5], np.uint64), ValueError, f"got {2**63 + 5}"),
    "the same, big-endian": (np.array([2**63 + 5], ">u8"), ValueError, f"got {2**63 + 5}"),
    "a mask with a mask": (np.ma.array([True] * 5, mask=[False] * 5), TypeError, "without a mask"),
    "no rows of two axes": (np.empty((0, 3), np.int64), ValueError, r"shape \(m,\), got \(0, 3\)"),
    "rows of two axes": ([[0, 1]], ValueError, r"shape \(m,\), got \(1, 2\)"),
    "a lone row": (3, ValueError, r"shape \(m,\), got \(\)"),
    "floats": ([0.0, 1.0], TypeError, "got float64"),
    "strings": (["a"], TypeError, "got <U1"),
}
if NUMPY >= (1, 24):
    WRONG_ALLOW["ragged rows"] = ([[1], [2, 3]], ValueError, "expected an array; ")


@pytest.mark.parametrize("case", WRONG_ALLOW)
def test_wrong_allow(case):
    allow, error, match = WRONG_ALLOW[case]
    raises(error, f"allow: .*{match}", CODEC.search, X, CODES, allow=allow)


# ---------------------------------------------------------------- codecs

WRONG_CODECS = [
    ({"dim": 0}, ValueError, "dim: expected 2 to 4096, got 0"),
    ({"dim": 1, "bits": 8}, ValueError, "dim: .*got 1"),
    ({"dim": 3}, ValueError, "dim: expected an even number for 4 bits, got 3"),
    ({"dim": 4097, "bits": 8}, ValueError, "dim: .*got 4097"),
    ({"dim": -256}, ValueError, "dim: .*got -256"),
    ({"dim": 2**70}, ValueError, f"dim: .*got {2**70}"),
    ({"dim": 2.5}, TypeError, "dim: expected an integer, got float 2.5"),
    ({"dim": "256"}, TypeError, "dim: expected an integer, got str"),
    ({"dim": True}, TypeError, "dim: expected an integer"),
    ({"bits": 2}, ValueError, "bits: expected 4 or 8, got 2"),
    ({"bits": 16}, ValueError, "bits: .*got 16"),
    ({"bits": True}, TypeError, "bits: expected an integer, got True"),
    ({"bits": None}, TypeError, "bits: expected an integer"),
    ({"limit": 0}, ValueError, "limit: .*got 0"),
    ({"limit": -0.18}, ValueError, "limit: .*got -0.18"),
    ({"limit": float("nan")}, ValueError, "limit: .*nan"),
    ({"limit": float("inf")}, ValueError, "limit: .*inf"),
    ({"limit": 9e-7}, ValueError, "limit: .*got 9e-07"),
    ({"limit": 10**400}, ValueError, "limit: .*got 1000"),
    ({"limit": 1000000.5}, ValueError, "limit: .*got 1000000.5$"),
    ({"limit": "0.18"}, TypeError, "limit: expected a number, got '0.18'"),
    ({"limit": True}, TypeError, "limit: expected a number"),
    ({"limit": 1j}, TypeError, "limit: expected a number"),
]


@pytest.mark.parametrize(("arguments", "error", "match"), WRONG_CODECS)
def test_wrong_codecs(arguments, error, match):
    raises(error, match, Codec, **arguments)


# ---------------------------------------------------------------- sizes beyond all memory


def test_more_than_memory_holds():
    queries = np.broadcast_to(np.ones(2, np.float16), (2**58, 2))
    codec, codes = Codec(2, 8), np.zeros((0, 2), np.uint8)
    for bits in (4, 8, 32):
        raises(MemoryError, None, codec.score, queries, codes, query_bits=bits)
        raises(MemoryError, None, codec.search, queries, codes, query_bits=bits)
    rows = np.broadcast_to(np.uint8(0), (2**55, 100))
    raises(ValueError, r"codes: .*got \(\d+, 100\)", CODEC.score, X, rows)  # not the memory that the answer would take


# ---------------------------------------------------------------- empty input


@pytest.mark.parametrize("codec", [frazil.ARCTIC_INT4, frazil.ARCTIC_INT8], ids=str)
def test_empty_input_is_no_error(codec):
    none, rows = np.empty((0, 300), np.float32), codec.pack(X)
    no_rows = rows[:0]
    searches = [
        (codec.search(none, rows, 3), (0, 3)),
        (codec.search(X, no_rows, 3), (5, 0)),
        (codec.search(X[0], no_rows, 3), (0,)),
        (codec.search(X, rows, 3, allow=np.zeros(5, bool)), (5, 0)),
        (codec.search(X, rows, 3, allow=[]), (5, 0)),
    ]
    answers = [
        (codec.pack(none), (0, codec.row_bytes), np.uint8),
        (codec.unpack(no_rows), (0, 256), np.float32),
        (codec.score(none, rows), (0, 5), np.float32),
        (codec.score(X, no_rows), (5, 0), np.float32),
        *((hits.scores, shape, np.float32) for hits, shape in searches),
        *((hits.rows, shape, np.int64) for hits, shape in searches),
    ]
    for answer, shape, dtype in answers:
        assert (answer.shape, answer.dtype) == (shape, dtype)
    raises(ValueError, "x: expected at least 256 columns", codec.pack, np.empty((0, 8), np.float32))


# ---------------------------------------------------------------- kernels


def run_with(kernels, program):
    environment = {**os.environ, "FRAZIL_KERNELS": kernels}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_wrong_kernels():
    with pytest.raises(ValueError, match=r"name: 'sse9' is none of .*'scalar'"):
        frazil.use_kernels("sse9")
    raises(TypeError, "name: expected a string or None, got int", frazil.use_kernels, 3)
    raises(ValueError, "name: .*none of.*'scalar'", frazil.use_kernels, "\ud800")
    assert frazil.active_kernels() == frazil.kernels()[0]


def test_wrong_kernels_in_the_environment():
    done = run_with("sse9", "import frazil; frazil.Codec(); print(frazil.kernels()); frazil.active_kernels()")
    assert done.returncode == 1
    assert "scalar" in done.stdout
    assert "ValueError: FRAZIL_KERNELS: 'sse9' is none of" in done.stderr
    assert "'scalar'" in done.stderr
    done = run_with("AVX2", "import frazil, numpy; frazil.Codec().pack(numpy.ones((1, 256)))")
    assert "ValueError: FRAZIL_KERNELS: 'AVX2' is none of" in done.stderr


@pytest.mark.parametrize("name", [*frazil.kernels(), ""])
def test_kernels_in_the_environment(name):
    program = """if True:
        import frazil
        print(frazil.active_kernels())
        with frazil.use_kernels("scalar"):
            print(frazil.active_kernels())
        print(frazil.active_kernels())
        frazil.use_kernels(None)
        print(frazil.active_kernels())
    """
    done = run_with(name, program)
    best = frazil.kernels()[0]
    assert done.stdout.split() == [name or best, "scalar", name or best, best], done.stderr


def test_forcing_by_an_object_kept():
    kept = frazil.use_kernels("scalar")
    frazil.use_kernels(frazil.kernels()[0])
    for _ in range(2):
        with kept as name:
            assert name == "scalar"
        assert frazil.active_kernels() == frazil.kernels()[0]
    frazil.use_kernels(None)


def test_forcing_kernels_for_a_while():
    best = frazil.active_kernels()
    with frazil.use_kernels("scalar") as name:
        assert name == frazil.active_kernels() == "scalar"
        with frazil.use_kernels(None):
            assert frazil.active_kernels() == best
        assert frazil.active_kernels() == "scalar"
    assert frazil.active_kernels() == best
    with pytest.raises(RuntimeError), frazil.use_kernels("scalar"):
        raise RuntimeError
    assert frazil.active_kernels() == best
    frazil.use_kernels("scalar")
    assert frazil.active_kernels() == "scalar"
    frazil.use_kernels(None)
    assert frazil.active_kernels() == best
