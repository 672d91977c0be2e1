"""Tensors of torch: taken where an array is, without torch being imported; what else torch does to a process."""

import ml_dtypes
import numpy as np
import pytest
import torch
from guarded import guarded
from shapes import FEW_FORMATS, codec_of, random_codes, vectors
from test_errors import CODEC, CODES, TAKES_FLOATS, X, raises
from test_pack import expected
from test_score import BITS
from test_score import expected as expected_scores
from test_threads import run_python

import frazil


@pytest.mark.parametrize("codec", [frazil.ARCTIC_INT4, frazil.ARCTIC_INT8], ids=str)
def test_pack(isa, codec):
    x = vectors(20, 300)
    right = expected(codec, x.astype(ml_dtypes.bfloat16).astype(np.float32))
    np.testing.assert_array_equal(codec.pack(torch.from_numpy(x).to(torch.bfloat16)), right)
    np.testing.assert_array_equal(codec.pack(torch.from_numpy(x).to(torch.bfloat16).T.contiguous().T), right)
    for dtype in (torch.float32, torch.float16, torch.float64):
        tensor = torch.from_numpy(x).to(dtype).requires_grad_()
        np.testing.assert_array_equal(codec.pack(tensor), expected(codec, tensor.detach().numpy()))
        np.testing.assert_array_equal(codec.pack(tensor[::2, 10:]), expected(codec, tensor.detach().numpy()[::2, 10:]))


@pytest.mark.parametrize(("dim", "bits"), FEW_FORMATS)
def test_bfloat16_buffers_that_end_at_the_allocation(isa, dim, bits):
    codec, x = codec_of(dim, bits), vectors(3, dim, dtype=ml_dtypes.bfloat16)
    for at_end in (True, False):
        tensor = torch.from_numpy(guarded(x.view(np.uint16), at_end=at_end)).view(torch.bfloat16)
        np.testing.assert_array_equal(codec.pack(tensor), expected(codec, x.astype(np.float32)))


@pytest.mark.parametrize("query_bits", BITS)
def test_queries(isa, query_bits):
    codec = frazil.ARCTIC_INT4
    rows, plain = random_codes(20, codec), vectors(18, 300)
    for dtype in (torch.float32, torch.float16, torch.float64, torch.bfloat16):
        tensor = torch.from_numpy(plain).to(dtype)
        exact = tensor.float().numpy() if dtype != torch.float64 else tensor.numpy()
        right = expected_scores(codec, exact, rows, query_bits)
        for queries in (tensor, tensor.clone().requires_grad_(), tensor.T.contiguous().T):
            for q in (1, 18):
                scores = codec.score(queries[:q], torch.from_numpy(rows), query_bits=query_bits)
                np.testing.assert_array_equal(scores, right[:q])
        np.testing.assert_array_equal(codec.score(tensor[::2], rows, query_bits=query_bits), right[::2])


WRONG_FLOATS = {
    "sparse": (torch.eye(300)[:5].to_sparse(), "expected an array; "),
    "bfloat16 in a list": ([torch.ones(300, dtype=torch.bfloat16)] * 5, "expected an array; "),
    "sparse bfloat16": (torch.eye(300).bfloat16().to_sparse(), "expected an array; "),
    "elsewhere": (torch.empty(5, 300, device="meta"), "on the CPU, got one on meta"),
}


@pytest.mark.parametrize("case", WRONG_FLOATS)
@pytest.mark.parametrize("name", TAKES_FLOATS)
def test_wrong_floats(name, case):
    x, match = WRONG_FLOATS[case]
    raises(TypeError, f"{name.partition(',')[0]}: .*{match}", TAKES_FLOATS[name], x)


WRONG = {
    "bfloat16": (torch.bfloat16, "cpu", "expected an array; "),
    "elsewhere": (None, "meta", "on the CPU, got one on meta"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_codes(case):
    dtype, device, match = WRONG[case]
    codes = torch.ones(5, 128, dtype=dtype, device=device)
    for call in (CODEC.unpack, lambda codes: CODEC.score(X, codes), lambda codes: CODEC.search(X, codes)):
        raises(TypeError, f"codes: .*{match}", call, codes)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_allow(case):
    dtype, device, match = WRONG[case]
    allow = torch.zeros(5, dtype=dtype, device=device)
    raises(TypeError, f"allow: .*{match}", CODEC.search, X, CODES, allow=allow)


def test_subnormals_are_kept_whatever_the_thread_does():
    program = """if True:
        import numpy as np, torch, frazil
        codec = frazil.ARCTIC_INT8
        x = (np.random.default_rng(0).standard_normal((20_000, 256)) * 1e-42).astype(np.float32)

        def results(threads):
            codes = codec.pack(x, threads=threads)
            scores = [codec.score(x[:9], codes, query_bits=bits, threads=threads) for bits in (4, 8, 32)]
            return [codes, codec.unpack(codes, threads=threads), *scores]

        right = results(1)
        assert len(np.unique(right[0])) > 50
        assert torch.set_flush_denormal(True)
        for threads in (1, 3):  # the pool's threads start in the mode of the one that makes them
            again = results(threads)
            assert torch.tensor([1e-42]).mul(1.0).item() == 0  # this thread's mode is as it was
            assert all(map(np.array_equal, right, again))
    """
    run_python(program)
