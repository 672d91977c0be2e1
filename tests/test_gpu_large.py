"""On a real GPU only (`pytest -m gpu`): whole tiles, offsets beyond 32 bits, streams, threads. Answers are the CPU's.

Triton's interpreter knows none of these. Each test stands alone, so that one failure says nothing about the others.
"""

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from shapes import random_codes, vectors  # noqa: E402

import frazil  # noqa: E402
from frazil import Codec  # noqa: E402
from frazil.backends import slices  # noqa: E402

INT4, INT8 = frazil.ARCTIC_INT4, frazil.ARCTIC_INT8
CODECS = [INT4, INT8, Codec(768, 4), Codec(130, 4), Codec(256, 4, spacing="normal")]

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    yield
    torch.cuda.empty_cache()


def need(gigabytes):
    free = torch.cuda.mem_get_info()[0] / 1e9
    if free < gigabytes:
        pytest.skip(f"needs {gigabytes} GB of the GPU's memory, {free:.0f} are free")


def bytes_on_gpu(rows, row_bytes, seed=0):
    generator = torch.Generator("cuda").manual_seed(seed)
    return torch.randint(0, 256, (rows, row_bytes), dtype=torch.uint8, device="cuda", generator=generator)


def assert_hits(hits, right):
    np.testing.assert_array_equal(hits.scores.cpu().numpy(), right.scores)
    np.testing.assert_array_equal(hits.rows.cpu().numpy(), right.rows)


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_search(codec):
    """Several runs, of several tiles, the last one not full; every kernel and number of queries a program has."""
    n = 400_003
    codes = random_codes(1000, codec)[np.random.default_rng(1).integers(0, 1000, n)]  # ties
    codes[::2] = random_codes(n // 2 + 1, codec)
    queries, on_gpu = vectors(300, codec.dim), torch.from_numpy(codes).cuda()
    for q, k, query_bits in ((1, 10, 8), (1, 1, 4), (2, 10, 8), (33, 3, 4), (300, 10, 8), (3, 10, 32), (2, 5000, 8)):
        hits = codec.search(torch.from_numpy(queries[:q]).cuda(), on_gpu, k, query_bits=query_bits)
        assert_hits(hits, codec.search(queries[:q], codes, k, query_bits=query_bits))
    allow = np.arange(1, n, 3)
    hits = codec.search(torch.from_numpy(queries).cuda(), on_gpu, 10, allow=allow)
    assert_hits(hits, codec.search(queries, codes, 10, allow=allow))


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_score_and_unpack(codec):
    codes, queries = random_codes(2003, codec), vectors(150, codec.dim)
    on_gpu = torch.from_numpy(codes).cuda()
    for q, query_bits in ((1, 8), (150, 8), (150, 4), (2, 32)):
        scores = codec.score(torch.from_numpy(queries[:q]).cuda(), on_gpu, query_bits=query_bits)
        np.testing.assert_array_equal(scores.cpu().numpy(), codec.score(queries[:q], codes, query_bits=query_bits))
    np.testing.assert_array_equal(codec.unpack(on_gpu).cpu().numpy(), codec.unpack(codes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_pack(dtype):
    x = torch.from_numpy(vectors(50_001, 768)).to(dtype)
    for codec in CODECS:
        np.testing.assert_array_equal(codec.pack(x.cuda()).cpu().numpy(), codec.pack(x))


def test_unaligned():
    """No pointer and no stride that 4 or 16 divides."""
    n, queries = 1000, vectors(40, 257)
    raw = bytes_on_gpu(1, 129 * n + 9)[0]
    for codes in (
        raw[1 : 1 + 128 * n].view(n, 128),
        raw[3 : 3 + 129 * n].view(n, 129)[:, 1:],
        raw[4 : 4 + 128 * n].view(n, 128),
    ):
        for q in (1, 40):
            hits = INT4.search(torch.from_numpy(queries).cuda()[:q, 1:], codes, 10)
            assert_hits(hits, INT4.search(queries[:q, 1:], codes.cpu().numpy(), 10))
        np.testing.assert_array_equal(INT4.unpack(codes).cpu().numpy(), INT4.unpack(codes.cpu().numpy()))
    for dtype in (torch.float32, torch.float16):
        x = torch.from_numpy(vectors(n, 257)).to(dtype)
        np.testing.assert_array_equal(INT4.pack(x.cuda()[:, 1:]).cpu().numpy(), INT4.pack(x[:, 1:]))


def test_codes_beyond_32_bits():
    """50M rows of 128 bytes: 6.4 GB."""
    need(9)
    n, queries = 50_000_000, vectors(20, 256)
    codes = bytes_on_gpu(n, 128)
    codes[-1] = INT4.pack(torch.from_numpy(queries[0]).cuda())
    there = codes.cpu().numpy()
    for q in (1, 20):
        hits = INT4.search(torch.from_numpy(queries[:q]).cuda(), codes, 10)
        assert_hits(hits, INT4.search(queries[:q], there, 10))
    assert hits.rows[0, 0] == n - 1
    allow = torch.arange(0, n, 7, device="cuda")
    hits = INT4.search(torch.from_numpy(queries[:2]).cuda(), codes, 10, allow=allow)
    assert_hits(hits, INT4.search(queries[:2], there, 10, allow=allow.cpu().numpy()))


def test_floats_beyond_32_bits():
    """9M rows of 256 values are 2.3e9."""
    need(16)
    n = 9_000_000
    x = torch.randn((n, 256), dtype=torch.float16, device="cuda")
    codes = INT4.pack(x)
    for part in (slice(0, 1000), slice(n - 1000, n)):
        np.testing.assert_array_equal(codes[part].cpu().numpy(), INT4.pack(x[part].cpu()))
    del x
    values = INT4.unpack(codes)
    np.testing.assert_array_equal(values[-1000:].cpu().numpy(), INT4.unpack(codes[-1000:].cpu().numpy()))


@pytest.mark.parametrize("query_bits", [8, 32])
def test_scores_beyond_32_bits(query_bits):
    need(11)
    codec, n, queries = Codec(8, 4), 22_000_000, vectors(100, 8)
    codes = bytes_on_gpu(n, 4)
    scores = codec.score(torch.from_numpy(queries).cuda(), codes, query_bits=query_bits)
    for part in (slice(0, 1000), slice(n - 1000, n)):
        right = codec.score(queries, codes[part].cpu().numpy(), query_bits=query_bits)
        np.testing.assert_array_equal(scores[:, part].cpu().numpy(), right)


@pytest.mark.parametrize("kind", ["pinned", "array", "rows that are picked"])
def test_codes_of_the_host(kind, monkeypatch):
    """In 40 slices, as if the GPU's memory held no more; the answer does not change if the codes do afterwards."""
    monkeypatch.setattr(slices, "SLICE_BYTES", 1 << 20)
    codes, queries = random_codes(320_001, INT4), vectors(20, 256)
    allow = np.arange(0, len(codes), 2) if kind == "rows that are picked" else None
    right = INT4.search(queries, codes, 10, allow=allow)
    where = torch.from_numpy(codes).pin_memory() if kind == "pinned" else codes
    on_gpu = torch.from_numpy(queries).cuda()
    for _ in range(5):
        hits = INT4.search(on_gpu, where, 10, allow=allow)
    where[:] = 0
    assert_hits(hits, right)


def test_a_stream_of_the_callers():
    """Queries and codes that other work of the stream has yet to write; the answer is ready when the stream is."""
    queries, codes = vectors(20, 256), random_codes(100_000, INT4)
    queries_there, codes_there = torch.from_numpy(queries).pin_memory(), torch.from_numpy(codes).pin_memory()
    right = INT4.search(queries, codes, 10)
    stream = torch.cuda.Stream()
    on_gpu, to = torch.zeros((20, 256), device="cuda"), torch.zeros((100_000, 128), dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for where in (to, codes_there):
            on_gpu.zero_()
            torch.cuda._sleep(50_000_000)
            on_gpu.copy_(queries_there, non_blocking=True)
            to.copy_(codes_there, non_blocking=True)
            hits = INT4.search(on_gpu, where, 10)
            scores, rows = hits.scores.clone(), hits.rows.clone()
            stream.synchronize()
            assert_hits(frazil.Hits(scores, rows), right)


def test_threads():
    """Four at once, each with its stream, its codec and its codes."""
    failures = []

    def work(codec, seed):
        try:
            codes, queries = random_codes(50_000, codec), vectors(20, codec.dim, seed=seed)
            right = codec.search(queries, codes, 10)
            with torch.cuda.stream(torch.cuda.Stream()):
                on_gpu, to = torch.from_numpy(queries).cuda(), torch.from_numpy(codes).cuda()
                for _ in range(10):
                    assert_hits(codec.search(on_gpu, to, 10), right)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(codec, seed)) for seed, codec in enumerate((INT4, INT8, INT4, INT8))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_a_gpu_that_is_not_the_current_one():
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    queries, codes, x = vectors(20, 256), random_codes(5000, INT4), vectors(100, 256)
    there = torch.device("cuda:1")
    with torch.cuda.device(0):
        for where in (torch.from_numpy(codes).to(there), codes):
            hits = INT4.search(torch.from_numpy(queries).to(there), where, 10)
            assert hits.rows.device == there
            assert_hits(hits, INT4.search(queries, codes, 10))
        np.testing.assert_array_equal(INT4.pack(torch.from_numpy(x).to(there)).cpu().numpy(), INT4.pack(x))
        with pytest.raises(TypeError, match="codes: expected a tensor on cuda:0"):
            INT4.search(torch.from_numpy(queries).cuda(0), torch.from_numpy(codes).to(there))


def test_no_memory():
    """Too little of it is torch's error, and what comes after it works."""
    free = torch.cuda.mem_get_info()[0]
    codes, queries = random_codes(1000, INT4), vectors(3, 256)
    with pytest.raises(torch.OutOfMemoryError):
        INT4.unpack(torch.zeros((1, 128), dtype=torch.uint8, device="cuda").expand(free // 1024 + 1, 128))
    hits = INT4.search(torch.from_numpy(queries).cuda(), torch.from_numpy(codes).cuda(), 10)
    assert_hits(hits, INT4.search(queries, codes, 10))
