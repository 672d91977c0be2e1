"""Tensors on a GPU: the Triton kernels against the reference and against the CPU's answers, bit for bit.

Without a GPU Triton interprets them on the CPU, with tensors that say they are on one; `pytest -m gpu` runs the same
tests on a real one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import reference

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from shapes import codec_of, random_codes, vectors  # noqa: E402

import frazil  # noqa: E402
from frazil import Codec, Projection  # noqa: E402
from frazil.backends import launches, slices  # noqa: E402
from frazil.backends import triton as backend  # noqa: E402
from frazil.encoder import Encoder  # noqa: E402

FORMATS = [(2, 4), (30, 4), (66, 4), (130, 4), (256, 4), (3, 8), (31, 8), (65, 8), (256, 8)]
NORMAL = Codec(66, 4, spacing="normal")
BITS = [4, 8, 32]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


class OnGpu(torch.Tensor):
    """A tensor of the host that says it is on a GPU, as what becomes of it does."""

    is_cuda = True

    def cpu(self):
        return self.as_subclass(torch.Tensor)


@pytest.fixture(params=["interpreted", pytest.param("cuda", marks=pytest.mark.gpu)], autouse=True)
def put(request):
    """Return what puts arrays and tensors on the GPU."""
    if request.param == "interpreted":
        if os.environ.get("TRITON_INTERPRET") != "1":
            pytest.skip("Triton compiles here")
        with np.errstate(all="ignore"):  # the interpreter calculates by NumPy
            yield lambda x: torch.as_tensor(x).as_subclass(OnGpu)
    else:
        if not torch.cuda.is_available():
            pytest.skip("no CUDA GPU")
        yield lambda x: torch.as_tensor(x).cuda()


@pytest.fixture
def is_interpreted(request, put):
    return request.node.callspec.params["put"] == "interpreted"


@pytest.fixture(autouse=True)
def small_tiles(is_interpreted, monkeypatch):
    """Make, interpreted, several tiles of few rows, runs of 2 of them, and several blocks of few queries."""
    if is_interpreted:
        for module in (launches, backend):
            monkeypatch.setattr(module, "TILE", 16)
            monkeypatch.setattr(module, "MOST_QUERIES", 16)
        monkeypatch.setattr(backend, "run_length", lambda tiles, *rest: min(tiles, 2))


def host(x):
    return x.cpu().numpy()


def test_an_encoder_on_a_gpu_packs_there(put, monkeypatch):
    """Codes alone leave it; refined ones are made on the CPU."""
    encoder = SimpleNamespace(dimensions=70, name="model")
    x, codec = vectors(5, 70), codec_of(66, 4)
    packed = []
    monkeypatch.setattr(backend, "pack", lambda *given, pack=backend.pack: packed.append(1) or pack(*given))
    for refine in (False, True):
        codes = Encoder._packer(encoder, codec, refine)(put(x))
        assert type(codes) is np.ndarray
        np.testing.assert_array_equal(codes, codec.pack(x, refine=refine))
    assert packed == [1]


def floats_of(tensor):
    """What the CPU's kernels, and the reference, are given: bfloat16 widened."""
    return host(tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor)


def assert_hits(hits, right):
    assert isinstance(hits, frazil.Hits)
    assert (hits.scores.dtype, hits.rows.dtype) == (torch.float32, torch.int64)
    np.testing.assert_array_equal(host(hits.scores), right.scores)
    np.testing.assert_array_equal(host(hits.rows), right.rows)


# ---------------------------------------------------------------- pack and unpack


def any_rows(n, dim, dtype):
    """Rows of which some are zero, huge or tiny, for their type."""
    x = torch.from_numpy(vectors(n, dim, dtype=np.float64))
    single = dtype in (torch.float32, torch.bfloat16)
    sizes = [0.0, 1e-30, 1e30, 1e-44] if single else [0.0, 1e-7] if dtype == torch.float16 else [0.0, 1e300, 1e-310]
    for row, size in enumerate(sizes):
        x[5 + 7 * row] *= size
    return x.clamp(-60_000, 60_000).to(dtype) if dtype == torch.float16 else x.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("dim", "bits"), FORMATS)
def test_pack(put, dim, bits, dtype):
    codec, x = codec_of(dim, bits), any_rows(41, dim + 3, dtype)
    codes = codec.pack(put(x))
    assert (codes.device, codes.dtype) == (put(x).device, torch.uint8)
    np.testing.assert_array_equal(host(codes), reference.pack_ordered(floats_of(x), dim, bits, codec.limit))


@pytest.mark.parametrize("codec", [frazil.ARCTIC_INT4, frazil.ARCTIC_INT8, NORMAL], ids=str)
def test_pack_any_strides(put, codec):
    x = torch.from_numpy(vectors(24, 600))
    for view in (lambda x: x[::2, 1:], lambda x: x[:, ::2], lambda x: x.T.contiguous().T, lambda x: x[3].expand(5, -1)):
        codes = codec.pack(view(put(x)))
        np.testing.assert_array_equal(host(codes), codec.pack(view(x)))
    assert codec.pack(put(x[3])).shape == (codec.row_bytes,)
    assert codec.pack(put(x[:0])).shape == (0, codec.row_bytes)
    tensor = put(x.clone()).requires_grad_()
    np.testing.assert_array_equal(host(codec.pack(tensor)), codec.pack(x))


def test_pack_at_rounding_boundaries(put):
    codec = Codec(4, 8, 0.5)
    boundaries = (np.arange(1, 256) - 0.5) * codec.step - codec.limit
    near = np.concatenate([boundaries, np.nextafter(boundaries, 1), np.nextafter(boundaries, -1)])
    rest = np.sqrt((1 - near**2) / 3)
    for dtype in (np.float32, np.float64):
        x = np.stack([near, rest, -rest, rest], axis=1).astype(dtype)
        np.testing.assert_array_equal(host(codec.pack(put(x))), reference.pack_ordered(x, 4, 8, 0.5))


@pytest.mark.parametrize(
    ("dtype", "bad"),
    [
        *((torch.float32, bad) for bad in (np.nan, np.inf, -np.inf)),
        (torch.float16, np.nan),
        (torch.bfloat16, np.inf),
        (torch.float64, np.nan),
        (torch.float64, -np.inf),
    ],
    ids=str,
)
def test_not_finite(put, dtype, bad):
    codec, codes = Codec(34, 4), random_codes(3, Codec(34, 4))
    x = torch.ones((70, 40), dtype=dtype)
    x[:, 34:] = bad  # never read
    codec.pack(put(x))
    x[66, 0] = x[41, 33] = bad
    with pytest.raises(ValueError, match="x: row 41 holds NaN or infinity; every value that is kept must be finite"):
        codec.pack(put(x))
    x[:, :34] = 0
    x[12, 5] = bad
    for query_bits in BITS:
        with pytest.raises(ValueError, match="queries: row 12 holds NaN or infinity"):
            codec.search(put(x), put(codes), query_bits=query_bits)


@pytest.mark.parametrize(("dim", "bits"), FORMATS)
def test_unpack(put, dim, bits):
    codec = codec_of(dim, bits)
    wide = random_codes(20, codec_of(2 * dim, bits))
    for codes in (wide[:, : codec.row_bytes], wide[::3, -codec.row_bytes :]):
        np.testing.assert_array_equal(host(codec.unpack(put(np.ascontiguousarray(codes)))), codec.unpack(codes))
    np.testing.assert_array_equal(host(codec.unpack(put(wide)[::3, 1::2])), codec.unpack(wide[::3, 1::2]))
    assert codec.unpack(put(wide[0, : codec.row_bytes])).shape == (dim,)


def test_normal_spacing(put):
    x, wide = torch.from_numpy(vectors(40, 70)), np.repeat(np.arange(256, dtype=np.uint8)[:, None], 33, axis=1)
    np.testing.assert_array_equal(host(NORMAL.pack(put(x))), NORMAL.pack(x))
    np.testing.assert_array_equal(host(NORMAL.unpack(put(wide))), NORMAL.unpack(wide))


def test_projection(put):
    sample = vectors(300, 40).astype(np.float64)
    codec = Codec(32, 8, projection=Projection.fit(sample, 32))
    sample[3] *= 1e200
    sample[4] *= 1e-200
    sample[5] = 0
    ours, theirs = host(codec.pack(put(sample))).astype(int), codec.pack(sample).astype(int)
    assert np.abs(ours - theirs).max() <= 1  # the last bits of the products may differ
    assert np.mean(ours != theirs) < 1e-3
    hits, right = (
        codec.search(put(sample[:3]), put(codec.pack(sample)), 2),
        codec.search(sample[:3], codec.pack(sample), 2),
    )
    np.testing.assert_array_equal(host(hits.rows), right.rows)
    np.testing.assert_allclose(host(hits.scores), right.scores, atol=0.01)
    sample[7, 39] = np.nan
    with pytest.raises(ValueError, match="x: row 7 holds NaN"):
        codec.pack(put(sample))
    with pytest.raises(ValueError, match="x: expected at least 40 columns, got shape"):
        codec.pack(put(sample[:, :39].copy()))


# ---------------------------------------------------------------- score and search


@pytest.mark.parametrize("query_bits", BITS)
@pytest.mark.parametrize("codec", [*(codec_of(*f) for f in FORMATS), NORMAL], ids=str)
def test_score(put, codec, query_bits):
    codes, queries = random_codes(20, codec), any_rows(34, codec.dim + 1, torch.float32).numpy()
    for q in (1, 34) if query_bits == 8 else (27,) if query_bits == 4 else (9,):
        scores = codec.score(put(queries[:q]), put(codes), query_bits=query_bits)
        right = codec.score(queries[:q], codes, query_bits=query_bits)
        np.testing.assert_array_equal(host(scores), right)
        if codec.spacing == "uniform":
            ordered = reference.score_ordered(queries[:q], codes, codec.dim, codec.bits, codec.limit, query_bits)
            np.testing.assert_array_equal(host(scores), ordered)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("query_bits", BITS)
def test_queries_of_any_type(put, dtype, query_bits):
    codec = Codec(66, 4)
    codes, queries = random_codes(5, codec), any_rows(27, 70, dtype)
    scores = codec.score(put(queries), put(codes), query_bits=query_bits)
    np.testing.assert_array_equal(host(scores), codec.score(queries, codes, query_bits=query_bits))
    scores = codec.score(put(queries)[::2, 2:], put(codes), query_bits=query_bits)
    np.testing.assert_array_equal(host(scores), codec.score(queries[::2, 2:], codes, query_bits=query_bits))
    single = codec.score(put(queries[0]), put(codes), query_bits=query_bits)
    np.testing.assert_array_equal(host(single), codec.score(queries[0], codes, query_bits=query_bits))


def with_ties(n, codec):
    """Rows of which many are alike."""
    return random_codes(9, codec)[np.random.default_rng(1).integers(0, 9, n)]


@pytest.mark.parametrize("query_bits", BITS)
@pytest.mark.parametrize("codec", [Codec(32, 4), Codec(31, 8), Codec(40, 8), NORMAL], ids=str)
def test_search(put, codec, query_bits):
    codes, queries = with_ties(75, codec), vectors(18, codec.dim)
    for q, k in ((1, 4), (2, 80), (18, 1)) if query_bits == 8 else ((2, 4),):
        hits = codec.search(put(queries[:q]), put(codes), k, query_bits=query_bits)
        assert_hits(hits, codec.search(queries[:q], codes, k, query_bits=query_bits))


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 33])
def test_any_number_of_rows(put, n):
    codec = Codec(32, 4)
    codes, queries = with_ties(n, codec), vectors(3, 32)
    assert_hits(codec.search(put(queries), put(codes), 2), codec.search(queries, codes, 2))
    assert_hits(codec.search(put(queries[0]), put(codes), 2), codec.search(queries[0], codes, 2))
    assert codec.search(put(queries[:0]), put(codes), 2).rows.shape == (0, min(n, 2))
    assert codec.score(put(queries), put(codes)).shape == (3, n)
    assert codec.score(put(queries[:0]), put(codes)).shape == (0, n)


@pytest.mark.parametrize(
    "layout", ["every other row", "every other byte", "from an odd byte on", "one row again and again"]
)
def test_codes_of_any_strides(put, layout):
    codec, queries = Codec(32, 4), vectors(2, 32)
    wide = put(random_codes(40, Codec(66, 4)))
    codes = {
        "every other row": wide[::2, 16:32],
        "every other byte": wide[:, :32:2],
        "from an odd byte on": wide[:, 1:17],
        "one row again and again": wide[3, :16].expand(21, 16),
    }[layout]
    assert_hits(codec.search(put(queries), codes, 3), codec.search(queries, host(codes), 3))


ALLOW = {
    "a mask": lambda n: np.random.default_rng(2).random(n) < 0.4,
    "rows": lambda n: np.random.default_rng(2).integers(0, n, 30),
    "few rows": lambda n: [n - 1, 3, 3],
    "no rows": lambda n: [],
    "an empty mask": lambda n: np.zeros(n, bool),
}


@pytest.mark.parametrize("place", ["on the GPU", "on the host", "codes on the host"])
@pytest.mark.parametrize("case", ALLOW)
def test_allow(put, case, place):
    codec, allow = Codec(32, 4), ALLOW[case](75)
    codes, queries = with_ties(75, codec), vectors(3, 32)
    given = put(np.asarray(allow)) if place == "on the GPU" and len(allow) else allow
    where = codes if place == "codes on the host" else put(codes)
    for k, query_bits in ((2, 8), (40, 8), (3, 32)):
        hits = codec.search(put(queries), where, k, query_bits=query_bits, allow=given)
        assert_hits(hits, codec.search(queries, codes, k, query_bits=query_bits, allow=allow))


def test_many_best(put, is_interpreted, monkeypatch):
    """More than there are tiles, and 10,000 of them."""
    codec = Codec(2, 8)
    codes, queries = random_codes(10_050, codec), vectors(1, 2)
    for module in (launches, backend) if is_interpreted else ():
        monkeypatch.setattr(module, "TILE", 1024)
    assert_hits(codec.search(put(queries), put(codes), 10_000), codec.search(queries, codes, 10_000))


def test_keys_that_are_held_at_a_time(put, monkeypatch):
    codec = Codec(32, 4)
    codes, queries = with_ties(75, codec), vectors(9, 32)
    monkeypatch.setattr(backend, "KEY_BYTES", 1000)  # three queries' at a time
    assert_hits(codec.search(put(queries), put(codes), 2), codec.search(queries, codes, 2))


@pytest.mark.parametrize("k", [3, 50])
def test_slices(put, monkeypatch, k, tmp_path):
    """Codes in pieces: where they lie, and from the host's memory, of any kind."""
    codec = Codec(32, 4)
    codes, queries = with_ties(130, codec), vectors(2, 32)
    right = codec.search(queries, codes, k)
    monkeypatch.setattr(slices, "SLICE_ROWS", 48)
    monkeypatch.setattr(slices, "SLICE_BYTES", 40 * codec.row_bytes)
    assert_hits(codec.search(put(queries), put(codes), k), right)
    np.save(tmp_path / "codes.npy", codes)
    hosts = [np.load(tmp_path / "codes.npy", mmap_mode="r"), torch.from_numpy(codes), np.asfortranarray(codes)]
    if torch.cuda.is_available():
        hosts.append(torch.from_numpy(codes).pin_memory())
    for where in hosts:
        assert_hits(codec.search(put(queries), where, k), right)
    np.testing.assert_array_equal(host(codec.score(put(queries), codes)), codec.score(queries, codes))
    allow = np.arange(0, 130, 3)
    assert_hits(codec.search(put(queries), codes, k, allow=allow), codec.search(queries, codes, k, allow=allow))


# ---------------------------------------------------------------- out and errors


def test_out(put):
    codec, x = Codec(32, 4), vectors(5, 32)
    codes, values = put(np.zeros((5, 16), np.uint8)), put(np.zeros((5, 32), np.float32))
    scores = put(np.zeros((2, 5), np.float32))
    assert codec.pack(put(x), out=codes).data_ptr() == codes.data_ptr()
    np.testing.assert_array_equal(host(codes), codec.pack(x))
    assert codec.unpack(codes, out=values).data_ptr() == values.data_ptr()
    np.testing.assert_array_equal(host(values), codec.unpack(codec.pack(x)))
    assert codec.score(put(x[:2]), codes, out=scores).data_ptr() == scores.data_ptr()
    np.testing.assert_array_equal(host(scores), codec.score(x[:2], codec.pack(x)))


CODEC, X = frazil.ARCTIC_INT4, vectors(5, 300)
CODES = CODEC.pack(X)
WRONG = {
    "integers": (lambda put: CODEC.pack(put(X.astype(int))), TypeError, "x: expected float32.*, got int64"),
    "three axes": (lambda put: CODEC.pack(put(X[None])), ValueError, r"x: .*\(n, d\) or \(d,\), got \(1, 5, 300\)"),
    "narrow": (lambda put: CODEC.pack(put(X[:, :8])), ValueError, r"x: .*at least 256 columns, got shape \(5, 8\)"),
    "refined": (lambda put: CODEC.pack(put(X), refine=True), NotImplementedError, "refine: .*x.cpu()"),
    "threads": (lambda put: CODEC.pack(put(X), threads=0), ValueError, "threads: expected at least 1"),
    "int8 codes": (lambda put: CODEC.unpack(put(CODES.view(np.int8))), TypeError, "codes: expected uint8, got int8"),
    "wide codes": (
        lambda put: CODEC.search(put(X), put(np.zeros((5, 129), np.uint8))),
        ValueError,
        r"codes: expected shape \(n, 128\) for 256 dimensions of 4 bits, got \(5, 129\)",
    ),
    "a row of codes": (
        lambda put: CODEC.score(put(X), put(CODES[0])),
        ValueError,
        r"codes: expected shape \(n, row_bytes\), got \(128,\)",
    ),
    "codes in a list": (lambda put: CODEC.search(put(X), CODES.tolist()), TypeError, "codes: .*got list"),
    "k": (lambda put: CODEC.search(put(X), put(CODES), 0), ValueError, "k: expected at least 1, got 0"),
    "bits": (
        lambda put: CODEC.search(put(X), put(CODES), query_bits=5),
        ValueError,
        "query_bits: expected 4, 8 or 32, got 5",
    ),
    "queries elsewhere": (lambda put: CODEC.search(X, put(CODES)), TypeError, "queries: expected a tensor on .*codes"),
    "queries on the host": (
        lambda put: CODEC.score(torch.from_numpy(X), put(CODES)),
        TypeError,
        "queries: expected a tensor on .*, where codes are, got one on cpu",
    ),
    "a sketch": (
        lambda put: CODEC.search(put(X), put(CODES), sketch=frazil.Sketch.build(CODEC, CODES)),
        NotImplementedError,
        "sketch: ",
    ),
    "a short mask": (
        lambda put: CODEC.search(put(X), put(CODES), allow=put(np.ones(4, bool))),
        ValueError,
        r"allow: expected a mask of shape \(5,\), got \(4,\)",
    ),
    "a row too far": (
        lambda put: CODEC.search(put(X), put(CODES), allow=put(np.array([0, 5, -1]))),
        ValueError,
        "allow: expected row numbers from 0, below 5, got 5",
    ),
    "rows of two axes": (
        lambda put: CODEC.search(put(X), put(CODES), allow=[[0, 1]]),
        ValueError,
        r"allow: .*shape \(m,\), got \(1, 2\)",
    ),
    "rows that are floats": (
        lambda put: CODEC.search(put(X), put(CODES), allow=put(np.ones(3))),
        TypeError,
        "allow: expected a bool mask or integer row numbers, got float64",
    ),
    "an array to write to": (
        lambda put: CODEC.pack(put(X), out=np.empty((5, 128), np.uint8)),
        TypeError,
        "out: expected a uint8 tensor .*ndarray",
    ),
    "out of another type": (
        lambda put: CODEC.pack(put(X), out=put(np.empty((5, 128), np.int8))),
        TypeError,
        "out: .*got dtype int8",
    ),
    "out of another shape": (
        lambda put: CODEC.pack(put(X), out=put(np.empty((4, 128), np.uint8))),
        ValueError,
        r"out: .*shape \(5, 128\).*got shape \(4, 128\)",
    ),
    "out with gaps": (
        lambda put: CODEC.pack(put(X), out=put(np.empty((10, 128), np.uint8))[::2]),
        ValueError,
        "out: .*not contiguous",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong(put, case):
    call, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        call(put)


def test_overlapping_out(put):
    raw = put(np.zeros(5 * 256 * 4, np.uint8))
    with pytest.raises(ValueError, match="out: expected memory of its own"):
        CODEC.pack(raw.view(torch.float32).view(5, 256), out=raw[100:740].view(5, 128))


def test_without_triton_the_extra_is_named(put, monkeypatch):
    monkeypatch.delattr("frazil.backends.triton")
    monkeypatch.setitem(sys.modules, "frazil.backends.triton", None)
    with pytest.raises(ImportError, match=r"tensors on a GPU need torch, triton: pip install 'frazil\[gpu\]'"):
        CODEC.pack(put(X))
    np.testing.assert_array_equal(CODEC.pack(torch.from_numpy(X)), CODES)


def test_length_of_runs():
    """Many tiles: fewer keys; many best, few tiles or few queries: shorter runs."""
    host_device = torch.device("cpu")  # one processor
    assert [launches.run_length(tiles, 10, 1024, host_device) for tiles in (1, 2560 * 4, 78_125)] == [1, 2, 5]
    assert launches.run_length(390_625, 10, 1, host_device) == 8
    assert launches.run_length(78_125, 1_000, 1024, host_device) == 1


def test_rows_farther_apart_than_32_bits_count(put, is_interpreted, tmp_path):
    """In files that are sparse: only what is looked at takes memory."""
    if not is_interpreted:
        pytest.skip("test_gpu_large.py has rows beside each other")
    codec, x, stride = Codec(32, 4), vectors(5, 32), (1 << 30) + 64
    far = np.memmap(tmp_path / "codes", np.uint8, "w+", shape=(5 * stride,))
    codes = np.lib.stride_tricks.as_strided(far, (5, 16), (stride, 1))
    codes[:] = near = codec.pack(x)
    for q, query_bits in ((5, 8), (1, 8), (1, 32)):
        hits = codec.search(put(x[:q]), put(codes), 2, query_bits=query_bits)
        assert_hits(hits, codec.search(x[:q], near, 2, query_bits=query_bits))
    np.testing.assert_array_equal(host(codec.unpack(put(codes))), codec.unpack(near))
    far = np.memmap(tmp_path / "x", np.float16, "w+", shape=(5 * stride,))
    wide = np.lib.stride_tricks.as_strided(far, (5, 32), (2 * stride, 2))
    wide[:] = x
    np.testing.assert_array_equal(host(codec.pack(put(wide))), codec.pack(np.array(wide)))


# ---------------------------------------------------------------- compiled


@pytest.mark.parametrize("architecture", [90, pytest.param(80, marks=pytest.mark.soak)])
def test_kernels_compile(architecture, is_interpreted, tmp_path):
    """For GPUs that need not be here: to the operations that docs/format.md fixes, and to fast instructions."""
    if not is_interpreted:
        pytest.skip("needs no GPU")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, str(Path(__file__).with_name("compiled_kernels.py")), str(architecture)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compiled = json.loads(done.stdout)
    kernels = compiled["kernels"]
    names = {"pack_kernel", "unpack_kernel", "queries_kernel", "stream_kernel", "dot_kernel", "rows_kernel"}
    assert {kernel["name"] for kernel in kernels} == names
    for kernel in kernels:
        kinds = kernel["kinds"]
        assert kernel["stack"] <= (0 if architecture == 90 else 64), kernel["name"]  # nothing, or little, is spilled
        assert kernel["shared"] <= 99 << 10, kernel["name"]  # of GPUs that have less than those of data centres
        for kind in kinds:
            assert not kind.startswith(("fma.", "mad.rn")), (kernel["name"], kind)
            assert ".approx" not in kind, (kernel["name"], kind)
            assert ".ftz" not in kind, (kernel["name"], kind)
            assert not kind.startswith(("sqrt.", "div.")) or kind.endswith((".rn.f64", ".s32", ".s64")), kind
        if kernel["name"] == "pack_kernel":  # four values are read at a time
            assert {"ld.global.v4.b32", "ld.global.v2.b64", "ld.global.v2.b32"} & set(kinds)
        if kernel["name"] == "stream_kernel":
            assert {"dp4a.u32.s32", "ld.global.v4.b32"} <= set(kinds)
        if kernel["name"] == "dot_kernel":
            instruction = "wgmma.mma_async" if architecture == 90 else "mma.sync"
            assert any(kind.startswith(instruction) and ".s32.s8.s8" in kind for kind in kinds)
            if "ld.global.b8" not in kinds:  # which reads the table of normal spacing
                assert "cp.async.cg.shared.global" in kinds  # 16 bytes of codes at a time, while others are multiplied
    assert compiled["anew"] == []  # for other numbers of rows, queries and answers
