"""Many Python threads at once on the same arrays, with a GIL or without; a free-threaded Python stays without."""

import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import frazil

THREADS, ROUNDS = 16, 12
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.mark.skipif(not FREE_THREADED, reason="this Python has a GIL")
def test_importing_does_not_bring_the_gil_back():
    program = "import sys, numpy, frazil; assert not sys._is_gil_enabled()"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def at_once(work):
    """Call work(0), work(1) … on threads that start together; raises what any of them raised."""
    start = threading.Barrier(THREADS)

    def run(i):
        start.wait()
        return work(i)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def same(found, right):
    return all(map(np.array_equal, found, right))


@pytest.mark.parametrize("codec", [frazil.ARCTIC_INT4, frazil.ARCTIC_INT8], ids=str)
def test_every_operation_while_sets_are_switched(codec):
    x = np.random.default_rng(0).standard_normal((3_000, 300), dtype=np.float32)
    queries = x[:20]
    codes = codec.pack(x)
    sketch = frazil.Sketch.build(codec, codes)
    mask = np.arange(len(x)) % 3 == 0
    sets = [*frazil.kernels(), None]

    def results(threads):
        mine = codec.pack(x, threads=threads)
        built = frazil.Sketch.build(codec, mine, threads=threads)
        return [
            mine,
            built.data,
            codec.unpack(codes, threads=threads),
            codec.score(queries, codes, threads=threads),
            *codec.search(queries, codes, threads=threads),
            *codec.search(queries[0], codes, allow=mask, query_bits=32, threads=threads),
            *codec.search(queries, codes, sketch=sketch, threads=threads),
        ]

    right = results(1)

    def work(i):
        for r in range(ROUNDS):
            frazil.use_kernels(sets[(i + r) % len(sets)])
            if frazil.active_kernels() not in frazil.kernels() or not same(results(1 + (i + r) % 3), right):
                return False
        return True

    try:
        assert all(at_once(work))
    finally:
        frazil.use_kernels(None)


def test_threads_write_parts_of_one_array():
    codec = frazil.ARCTIC_INT4
    x = np.random.default_rng(1).standard_normal((THREADS * 500, 256), dtype=np.float32)
    right = codec.pack(x, threads=1)
    codes, values = np.zeros_like(right), np.zeros(x.shape, np.float32)

    def work(i):
        part = slice(i * 500, (i + 1) * 500)
        for _ in range(ROUNDS):
            codec.pack(x[part], out=codes[part])
            codec.unpack(codes[part], out=values[part])

    at_once(work)
    np.testing.assert_array_equal(codes, right)
    np.testing.assert_array_equal(values, codec.unpack(right))


def test_errors_stay_with_their_threads():
    codec = frazil.ARCTIC_INT4
    x = np.ones((100, 256), np.float32)

    def work(i):
        mine = x.copy()
        mine[i, 7] = np.nan
        for _ in range(50):
            with pytest.raises(ValueError, match=f"x: row {i} holds NaN"):
                codec.pack(mine, threads=2)

    at_once(work)


def test_the_first_use_is_by_all_threads_at_once():
    """The tables, the pool and the environment's choice are made by whoever comes first."""
    program = f"""if True:
        import threading
        import numpy as np
        import frazil

        x = np.ones((2_000, 256), np.float32)
        start, codes = threading.Barrier({THREADS}), []

        def work():
            start.wait()
            codes.append(frazil.ARCTIC_INT4.pack(x, threads=4))

        threads = [threading.Thread(target=work) for _ in range({THREADS})]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert len(codes) == {THREADS} and all(np.array_equal(one, codes[0]) for one in codes)
    """
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
