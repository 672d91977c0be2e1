"""Threads, forks and floating-point modes change nothing, and stop nothing."""

import multiprocessing
import os
import platform
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from processes import run_python
from shapes import random_codes, vectors

import frazil
from frazil import _native

THREADS = [1, 2, 3, 7, 64]
CODECS = [frazil.ARCTIC_INT4, frazil.ARCTIC_INT8, frazil.Codec(31, 8, 0.5)]


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_threads_change_nothing(codec):
    x = vectors(20_000, 256)
    codes = codec.pack(x, threads=1)
    values = codec.unpack(codes, threads=1)
    for threads in THREADS[1:]:
        np.testing.assert_array_equal(codec.pack(x, threads=threads), codes)
        np.testing.assert_array_equal(codec.unpack(codes, threads=threads), values)


@pytest.mark.parametrize("query_bits", [4, 8, 32])
@pytest.mark.parametrize(("n", "q"), [(100_000, 1), (30_000, 9), (500, 3_000), (3_000, 40), (3, 2)])
@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_threads_change_no_scores(codec, n, q, query_bits):
    codes, queries = random_codes(n, codec), vectors(q, 256)
    codes[n // 2 :] = codes[: n - n // 2]  # every score twice: threads must not change which comes first
    if query_bits == 32 and n * q > 10**6:
        codes, queries = codes[:20_000], queries[:200]
    allow = np.random.default_rng(0).random(len(codes)) < 0.3
    scores = codec.score(queries[:50], codes, query_bits=query_bits, threads=1)
    hits = codec.search(queries, codes, 7, query_bits=query_bits, threads=1)
    some = codec.search(queries, codes, 7, query_bits=query_bits, threads=1, allow=allow)
    assert len(np.unique(hits.scores[0])) < 7
    for threads in THREADS[1:]:
        options = {"query_bits": query_bits, "threads": threads}
        np.testing.assert_array_equal(codec.score(queries[:50], codes, **options), scores)
        for allowed, right in ((None, hits), (allow, some)):
            found = codec.search(queries, codes, 7, allow=allowed, **options)
            np.testing.assert_array_equal(found.rows, right.rows)
            np.testing.assert_array_equal(found.scores, right.scores)


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_batches_change_nothing(codec):
    x, queries = vectors(2_000, 300), vectors(40, 256)
    codes = codec.pack(x)
    hits, scores = codec.search(queries, codes, 5), codec.score(queries, codes)
    for size in (1, 7, 16, 33):
        parts = [slice(start, start + size) for start in range(0, 2_000, size)]
        np.testing.assert_array_equal(np.concatenate([codec.pack(x[part]) for part in parts]), codes)
        parts = [slice(start, start + size) for start in range(0, 40, size)]
        np.testing.assert_array_equal(np.concatenate([codec.score(queries[part], codes) for part in parts]), scores)
        np.testing.assert_array_equal(
            np.concatenate([codec.search(queries[part], codes, 5).rows for part in parts]), hits.rows
        )


def seen_at_work(call):
    """Make a call in another thread; tell whether this thread saw it begun and not done."""
    name, done = frazil.active_kernels(), []
    before = _native.kernel_calls()[name]
    worker = threading.Thread(target=lambda: done.append(call()))
    worker.start()
    seen = False
    while not done and worker.is_alive():
        seen = seen or (_native.kernel_calls()[name] > before and not done)
        time.sleep(0.001)
    worker.join()
    return seen


@pytest.mark.parametrize("operation", ["pack", "unpack", "score", "search"])
def test_the_gil_is_released(operation):
    codec = frazil.ARCTIC_INT4
    x, codes = vectors(100, 256), random_codes(200_000, codec)
    arguments = {
        "pack": (np.broadcast_to(x[0], (200_000, 256)),),
        "unpack": (codes,),
        "score": (x, codes),
        "search": (vectors(1_000, 256), codes),
    }[operation]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1_000)  # seconds: the GIL goes to another thread only where its holder lets go of it
    try:
        assert any(seen_at_work(lambda: getattr(codec, operation)(*arguments, threads=1)) for _ in range(20))
    finally:
        sys.setswitchinterval(interval)


def test_many_python_threads_at_once():
    codec = frazil.ARCTIC_INT4
    codes, queries = random_codes(3_000, codec), vectors(50, 256)
    right = codec.search(queries, codes, 5)

    def search(i):
        first, size = i % 40, 1 + i % 10
        hits = codec.search(queries[first : first + size], codes, 5, threads=1 + i % 4)
        return np.array_equal(hits.rows, right.rows[first : first + size])

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(search, range(1_000)))


def test_an_error_in_a_thread_leaves_the_pool_usable():
    x = vectors(20_000, 256)
    codes = frazil.ARCTIC_INT4.pack(x, threads=4)
    x[15_000, 3] = np.nan
    for _ in range(20):
        with pytest.raises(ValueError, match="row 15000"):
            frazil.ARCTIC_INT4.pack(x, threads=4)
    x[15_000] = vectors(20_000, 256)[15_000]
    np.testing.assert_array_equal(frazil.ARCTIC_INT4.pack(x, threads=4), codes)


def test_the_first_of_many_bad_rows_is_named():
    x = np.ones((40_000, 256), np.float32)
    x[255::256, 17] = np.nan  # the last of each 256, which one thread takes at a time
    for bad in range(7_880, 33_000, 256):  # found while other threads are on their way to later ones
        x[: bad + 55, 17] = 1
        x[bad, 17] = np.nan
        with pytest.raises(ValueError, match=f"x: row {bad} holds"):
            frazil.ARCTIC_INT4.pack(x, threads=4)


SEARCH = """if True:
    import os, sys
    import numpy as np
    import frazil

    codec = frazil.ARCTIC_INT4
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40_000, 256), dtype=np.float32)

    def work():
        codes = codec.pack(x, threads=4)
        return codec.search(x[:20], codes, 5, threads=4).rows.tolist()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_searches():
    program = f"""{SEARCH}
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of any fork beside threads

    def fork(depth):
        right = work()
        child = os.fork()
        if child == 0:
            ok = work() == right and (depth == 0 or fork(depth - 1))
            os._exit(0 if ok else 1)
        ok = work() == right
        return os.waitpid(child, 0)[1] == 0 and ok

    assert all(fork(2) for _ in range(3))
    """
    run_python(program)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_other_threads_search():
    program = f"""{SEARCH}
    import threading, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    right = work()
    done = threading.Event()

    def keep_searching():
        while not done.is_set():
            assert work() == right

    threads = [threading.Thread(target=keep_searching) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0 if work() == right else 1)
        assert os.waitpid(child, 0)[1] == 0
    done.set()
    for thread in threads:
        thread.join()
    """
    run_python(program, timeout=120)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_pools_of_processes(method):
    program = f"""{SEARCH}
    import functools, multiprocessing, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    right, codes = work(), codec.pack(x)
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        for packed in pool.map(functools.partial(codec.pack, threads=4), [x] * 4):
            assert np.array_equal(packed, codes)
        for hits in pool.starmap(functools.partial(codec.search, threads=4), [(x[:20], codes, 5)] * 4):
            assert hits.rows.tolist() == right
    assert work() == right
    """
    run_python(program)


def test_exit_while_the_pool_sleeps():
    run_python(f"{SEARCH}\n    work()\n")
    run_python(f"{SEARCH}\n    work()\n    sys.exit(0)")


def test_exit_while_daemon_threads_search():
    program = f"""{SEARCH}
    import threading, time
    codes = np.tile(codec.pack(x), (5, 1))
    started = threading.Barrier(5)

    def keep_searching():
        started.wait()
        while True:
            codec.search(x[:20], codes, 5)

    for _ in range(4):
        threading.Thread(target=keep_searching, daemon=True).start()
    started.wait()
    time.sleep(0.2)
    """
    for _ in range(3):
        run_python(program)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no signal masks here")
def test_pool_threads_leave_signals_alone():
    program = f"""{SEARCH}
    import signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1}})
    work()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGUSR1}})
    work()  # threads made before and after: none may take what the program blocks now
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1}})
    os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.SIGUSR1 in signal.sigpending()
    assert signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1
    """
    run_python(program, OPENBLAS_NUM_THREADS="1")  # NumPy's own threads would take it


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_default_threads_respect_affinity():
    program = """if True:
        import os, frazil
        from frazil import _native
        cpus = sorted(os.sched_getaffinity(0))
        assert 1 <= _native.default_threads() <= len(cpus)
        os.sched_setaffinity(0, cpus[:1])
        assert _native.default_threads() == 1
    """
    run_python(program)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
    reason="the modes' numbers are those of x86-64, and the library's name is glibc's",
)
@pytest.mark.parametrize("mode", [0x400, 0x800, 0xC00], ids=["down", "up", "to zero"])
def test_rounding_does_not_depend_on_the_mode(mode):
    program = f"""if True:
        import ctypes, numpy as np, frazil
        libm = ctypes.CDLL("libm.so.6")
        x = np.random.default_rng(0).standard_normal((5_000, 256)).astype(np.float32)

        def results(codec, threads):
            codes = codec.pack(x, threads=threads)
            found = [codes, codec.unpack(codes, threads=threads)]
            for bits in (4, 8, 32):
                options = dict(query_bits=bits, threads=threads)
                found += [codec.score(x[:9], codes, **options), *codec.search(x[:9], codes, **options)]
            return found

        for codec in (frazil.ARCTIC_INT4, frazil.ARCTIC_INT8):
            for isa in frazil.kernels():
                with frazil.use_kernels(isa):
                    right = results(codec, 1)
                    assert libm.fesetround({mode}) == 0
                    again = [results(codec, threads) for threads in (1, 3)]
                    assert libm.fegetround() == {mode}
                    assert libm.fesetround(0) == 0
                    for found in again:
                        assert all(map(np.array_equal, right, found))
    """
    run_python(program)
