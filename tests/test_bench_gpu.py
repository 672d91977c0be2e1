"""`frazil bench --device cuda`, without a GPU: its errors, and its measuring with one that there is not."""

import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from frazil import Codec, Hits, cli  # noqa: E402
from frazil.bench import gpu, gpu_peers  # noqa: E402
from frazil.bench import run as bench_run  # noqa: E402

SMALL = ["--device=cuda", "--rows=40", "--batch-rows=60", "--pack-rows=20", "--queries=3", "--repeats=1"]


class OnGpu(torch.Tensor):
    """A tensor of the host that says it is on a GPU."""

    is_cuda = True


class FakeGpu:
    """Counts how often it was waited for."""

    name = "no GPU at all"
    waits = 0

    def put(self, array):
        return torch.from_numpy(array.copy()).as_subclass(OnGpu)

    def pin(self, array):
        return torch.from_numpy(array.copy())

    def wait(self):
        FakeGpu.waits += 1


@pytest.fixture
def fake_gpu(monkeypatch):
    """A GPU on which the CPU's kernels run: how fast, and how right, the GPU's are is not the question here."""

    def on_cpu(method):
        def call(self, *tensors, out=None, **options):
            arrays = [x.numpy() if isinstance(x, torch.Tensor) else x for x in tensors]
            is_gpu = isinstance(tensors[0], OnGpu)
            answer = method(self, *arrays, **options)
            if not is_gpu:
                return answer
            if isinstance(answer, Hits):
                return Hits(*(torch.from_numpy(array) for array in answer))
            return out.copy_(torch.from_numpy(answer))

        return call

    monkeypatch.setattr(Codec, "search", on_cpu(Codec.search))
    monkeypatch.setattr(Codec, "pack", on_cpu(Codec.pack))
    monkeypatch.setattr(gpu, "_COPIED", 1 << 16)
    monkeypatch.setattr(gpu, "_MATRIX", 32)
    monkeypatch.setattr(bench_run, "Cuda", FakeGpu)
    monkeypatch.setattr(FakeGpu, "waits", 0)


def test_every_operation_is_measured(fake_gpu, tmp_path, capsys):
    path = tmp_path / "gpu.json"
    assert cli.main(["bench", *SMALL, "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("frazil ")
    assert "on no GPU at all; 1 repeats" in printed
    for package in ("faiss-gpu", "cuvs"):
        assert f"not installed: {package} (" in printed
    content = json.loads(path.read_text())
    assert content["machine"]["device"] == "no GPU at all"
    tables = {table["key"]: table for table in content["tables"]}
    names = ["single", "batch", "streamed", "pack-float32", "pack-float16"]
    assert list(tables) == ["limits", *(f"gpu-{name}" for name in names), "peers-gpu"]
    assert [probe["name"] for probe in tables["limits"]["probes"]] == ["copy", "int8 matmul", "copy from the host"]
    (single,) = tables["gpu-single"]["lines"]
    assert (single["rows"], single["work"], single["bytes"], single["limit"]) == (40, 40, 40 * 128, "copy")
    assert single["of_limit"] > 0
    (batch,) = tables["gpu-batch"]["lines"]
    assert (batch["work"], batch["products"]) == (180, 180 * 256)
    assert tables["gpu-streamed"]["lines"][0]["limit"] in ("copy from the host", "int8 matmul")
    (packed,) = tables["gpu-pack-float16"]["lines"]
    assert packed["bytes"] == 20 * (512 + 128)
    ours, theirs = tables["peers-gpu"]["lines"]
    assert (ours["name"], theirs["name"]) == ("frazil 4 bits", "torch float16 + topk")
    assert (ours["bytes_per_vector"], theirs["bytes_per_vector"]) == (128, 512)
    assert 0.5 < ours["recall"] <= theirs["recall"] <= 1
    assert FakeGpu.waits >= 2 * (3 + 3 + 3 + 3 + 2 + 2 - 1)  # what is timed ends when the GPU is done


@pytest.mark.parametrize("method", ["search", "pack"])
def test_a_wrong_answer_is_noticed(method, fake_gpu, monkeypatch, capsys):
    right = getattr(Codec, method)

    def wrong(self, x, *rest, **options):
        answer = right(self, x, *rest, **options)
        if isinstance(x, OnGpu):
            (answer.scores if method == "search" else answer)[..., -1] += 1
        return answer

    monkeypatch.setattr(Codec, method, wrong)
    assert cli.main(["bench", *SMALL]) == 2
    captured = capsys.readouterr()
    key = "gpu-single" if method == "search" else "gpu-pack-float32"
    assert captured.err.startswith(f"frazil: {key}: not the ")
    assert captured.err.count("\n") == 1
    assert "search on the GPU, one query" in captured.out or method == "search"  # what is right is measured
    assert "pack on the GPU" in captured.out or method == "pack"


def test_an_operation_that_fails_is_reported(fake_gpu, monkeypatch, tmp_path, capsys):
    def pin(self, array):
        if array.ndim == 2:  # codes, not what the probe copies
            raise RuntimeError("no\nmemory")
        return torch.from_numpy(array.copy())

    monkeypatch.setattr(FakeGpu, "pin", pin)
    path = tmp_path / "gpu.json"
    assert cli.main(["bench", *SMALL, "--json", str(path)]) == 0
    assert "failed: gpu-streamed: RuntimeError: no memory\n" in capsys.readouterr().out
    content = json.loads(path.read_text())
    keys = [table["key"] for table in content["tables"]]
    assert keys == ["limits", "gpu-single", "gpu-batch", "gpu-pack-float32", "gpu-pack-float16", "peers-gpu"]


def test_a_peer_that_fails_is_reported(fake_gpu, monkeypatch, capsys):
    def broken(gpu, x, queries):
        raise RuntimeError("no\nmemory")

    monkeypatch.setattr(gpu_peers, "PEERS", (gpu_peers.GpuPeer("Broken", "broken", 2, broken),))
    assert cli.main(["bench", *SMALL]) == 0
    assert "failed: Broken: RuntimeError: no memory\n" in capsys.readouterr().out


def test_without_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["bench", *SMALL]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("frazil: device: expected one that torch ")
    assert captured.err.endswith(" can use, but it finds no CUDA GPU\n")
    assert captured.out == ""


@pytest.mark.parametrize("name", ["torch", "triton"])
def test_without_its_packages(name, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, name, None)
    assert cli.main(["bench", *SMALL]) == 2
    error = capsys.readouterr().err
    assert "--device cuda needs torch, triton: pip install 'frazil[gpu]'" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", ["--sets=scalar", "--threads=1", "--only=single", "--plot=a.png", "--peers"])
def test_what_is_about_the_cpu(option, capsys):
    assert cli.main(["bench", *SMALL, option]) == 2
    name = option.strip("-").partition("=")[0]
    assert f"frazil: {name}: is about the CPU" in capsys.readouterr().err


def test_defaults(monkeypatch):
    seen = []
    monkeypatch.setattr(bench_run, "run", lambda options, argv: seen.append(options) or 0)
    assert cli.main(["bench", "--device", "cuda"]) == cli.main(["bench", "--device", "cuda", "--quick"]) == 0
    assert (seen[0].rows, seen[0].batch_rows, seen[0].queries) == (50_000_000, 10_000_000, 1024)
    assert (seen[1].rows, seen[1].queries) == (500_000, 1024)


def test_shapes_of_peers():
    x = np.eye(40, 16, dtype=np.float32)
    assert gpu_peers._torch(FakeGpu(), x, x[:3])().shape == (3, 10)
