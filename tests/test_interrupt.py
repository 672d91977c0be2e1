"""Ctrl-C, and signals in general, in the middle of long operations: they end, and everything goes on working.

The work here would take from half a minute to hours. Its input repeats one row, its output the same pages of memory.
"""

import ctypes
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from processes import run_python
from shapes import codec_of, random_codes, vectors

import frazil
from frazil import Sketch, _native

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux's signals and maps of memory")

SOON = 5  # seconds; measured it is less than 0.2, but not on a machine that does a hundred other things
INT4, PAIRS, WIDE = frazil.ARCTIC_INT4, frazil.Codec(2, 4, 0.7), codec_of(4096, 8)
CODES, QUERIES = random_codes(3_000, INT4), vectors(1_000, 4096)


def repeated(row, n):
    return np.broadcast_to(row, (n, *row.shape))


@pytest.fixture(scope="module", autouse=True)
def _interruptible():
    """Python leaves SIGINT ignored where it was started so, in the background of a script: nothing here would end."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def endless():
    """256 GiB to write into, which are 64 MiB again and again."""
    size, times = 1 << 26, 1 << 12
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    private, shared, fixed, no_reserve, read_write = 0x22, 0x01, 0x10, 0x4000, 0x3
    memory = os.memfd_create("endless")
    os.ftruncate(memory, size)
    start = libc.mmap(None, size * times, read_write, private | no_reserve, -1, 0)
    for i in range(times):
        assert libc.mmap(start + i * size, size, read_write, shared | fixed, memory, 0) == start + i * size
    os.close(memory)
    yield np.ctypeslib.as_array((ctypes.c_uint8 * (size * times)).from_address(start))
    libc.munmap(start, size * times)


def output(endless, columns, dtype, rows=None):
    """As many rows of output as there is room for, or `rows`."""
    size = columns * np.dtype(dtype).itemsize
    rows = len(endless) // size if rows is None else rows
    return endless[: rows * size].view(dtype).reshape(rows, columns)


def many(codec, n=2**35):
    return repeated(random_codes(1, codec)[0], n)


def search(codec, queries, rows=2**35, k=10, **options):
    return lambda threads, endless: codec.search(queries, many(codec, rows), k, threads=threads, **options)


def search_by_sketch(query_bits):
    def call(threads, endless):
        rows = many(INT4, 2**20)
        options = {"sketch": Sketch.build(INT4, rows), "threads": threads, "query_bits": query_bits}
        INT4.search(repeated(QUERIES[0], 2**17), rows, **options)

    return call


def pack(codec, x, refine=False):
    def call(threads, endless):
        out = output(endless, codec.row_bytes, np.uint8)
        codec.pack(np.broadcast_to(x, (len(out), codec.dim)), refine=refine, out=out, threads=threads)

    return call


def unpack(threads, endless):
    out = output(endless, 256, np.float32)
    INT4.unpack(many(INT4, len(out)), out=out, threads=threads)


def score(query_bits):
    def call(threads, endless):
        out = output(endless, 2**26, np.float32, 1_000)
        INT4.score(QUERIES, many(INT4, 2**26), out=out, threads=threads, query_bits=query_bits)

    return call


def build(threads, endless):
    rows = 2**32
    Sketch.build(INT4, many(INT4, rows), out=endless[: Sketch.size(INT4, rows)], threads=threads)


OPERATIONS = {
    "search, one query": search(INT4, QUERIES[0]),
    "search, many queries": search(INT4, QUERIES),
    "search, float queries": search(INT4, QUERIES, query_bits=32),
    "search, narrow rows": search(PAIRS, QUERIES, k=1_000),
    "search, wide rows": search(WIDE, QUERIES),
    "search, few rows": search(INT4, repeated(QUERIES[0], 2**18), 4_000, query_bits=32, k=1),
    "search, a mask": search(INT4, QUERIES, 2**27, allow=repeated(np.array(True), 2**27)),
    "search, by sketch": search_by_sketch(8),
    "search, by sketch, float queries": search_by_sketch(32),
    "pack": pack(INT4, QUERIES[0, :256]),
    "pack, columns apart": pack(WIDE, QUERIES[:1, :1]),
    "pack, unusual rows": pack(INT4, np.zeros(256, np.float32)),
    "pack, refined": pack(INT4, QUERIES[0, :256], refine=True),
    "pack, refined by a metric": pack(WIDE, QUERIES[:1, :1], refine=frazil.Metric(np.eye(WIDE.dim))),
    "unpack": unpack,
    "score": score(8),
    "score, float queries": score(32),
    "Sketch.build": build,
}


@contextmanager
def during(send, pause=0.3):
    """Call `send` in another thread when an operation is well on its way; yield a list of the times when it was."""
    name, times = frazil.active_kernels(), []
    before = _native.kernel_calls()[name]

    def wait_and_send():
        while _native.kernel_calls()[name] == before:
            time.sleep(0.001)
        time.sleep(pause)
        times.append(time.monotonic())
        send()

    thread = threading.Thread(target=wait_and_send)
    thread.start()
    yield times
    thread.join()


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def goes_on(threads):
    """Tell whether the library answers rightly, and the pool works."""
    queries = QUERIES[:20, :256]
    right = np.argsort(-INT4.score(queries, CODES, threads=1), axis=1, kind="stable")[:, :5]
    return np.array_equal(INT4.search(queries, CODES, 5, threads=threads).rows, right)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_ctrl_c(endless, operation, threads):
    with during(interrupt) as sent, pytest.raises(KeyboardInterrupt):
        OPERATIONS[operation](threads, endless)
    assert time.monotonic() - sent[0] < SOON
    assert goes_on(threads)
    assert goes_on(3)


@pytest.mark.parametrize("kernels", [name for name in frazil.kernels() if name != frazil.active_kernels()])
@pytest.mark.parametrize("operation", ["search, many queries", "search, wide rows", "search, by sketch", "pack"])
def test_ctrl_c_of_other_kernels(endless, kernels, operation):
    with frazil.use_kernels(kernels):
        test_ctrl_c(endless, operation, 2)


@pytest.mark.parametrize("send", [lambda: signal.raise_signal(signal.SIGINT), interrupt], ids=["to itself", "to all"])
def test_signals_that_another_thread_takes(send):
    with during(send), pytest.raises(KeyboardInterrupt):
        search(INT4, QUERIES)(2, None)
    assert goes_on(2)


@pytest.mark.parametrize("caught", [True, False])
def test_ctrl_c_from_another_process(caught):
    program = f"""if True:
        import numpy as np
        import frazil
        codes = np.broadcast_to(np.arange(128, dtype=np.uint8), (2**35, 128))
        print("ready", flush=True)
        try:
            frazil.ARCTIC_INT4.search(np.ones((1_000, 256)), codes, threads=2)
        except KeyboardInterrupt:
            assert frazil.ARCTIC_INT4.search(np.ones(256), codes[:100_000], 1, threads=2).rows.tolist() == [0]
            print("goes on", flush=True)
            if not {caught}:
                raise
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        try:
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert out == "goes on\n"
    assert process.returncode == (0 if caught else -signal.SIGINT)
    assert caught or errors.endswith("KeyboardInterrupt\n")


# ---------------------------------------------------------------- handlers


@contextmanager
def handling(handler, pause=0.1, times=10**9):
    """Have a handler called again and again; yield a list, which has an element for each call."""
    calls, done = [], threading.Event()

    def handle(number, frame):
        calls.append(number)
        handler()

    def keep_sending():
        for _ in range(times):
            if done.wait(pause):
                break
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    thread = threading.Thread(target=keep_sending)
    thread.start()
    try:
        yield calls
    finally:
        done.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def a_second_of_search(threads):
    """Search rows of which a thousand differ, again and again for a second; return whether rightly."""
    codes = repeated(CODES[:1_000], 4_000).reshape(-1, 128)  # 512 MB
    best = INT4.search(QUERIES[:50], CODES[:1_000], 1)
    end, is_right = time.monotonic() + 1, True
    while time.monotonic() < end:
        hits = INT4.search(QUERIES[:50], codes, 5, threads=threads)
        is_right &= bool((hits.rows == best.rows + 1_000 * np.arange(5)).all() and (hits.scores == best.scores).all())
    return is_right


@pytest.mark.parametrize("threads", [1, 2])
def test_a_handler_that_raises_nothing_stops_nothing(threads):
    with handling(lambda: None) as calls:
        assert a_second_of_search(threads)
    assert len(calls) > 2


class Handled(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 2])
def test_the_exception_of_a_handler_comes_out(threads):
    def handler():
        try:
            raise KeyError("of the handler's own")
        except KeyError:
            raise Handled("so what") from None

    for _ in range(3):
        with pytest.raises(Handled, match="so what"), handling(handler):
            search(INT4, QUERIES)(threads, None)
        assert goes_on(threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_handler_that_searches(threads):
    answers = []

    def handler():
        answers.append(goes_on(threads) and goes_on(1))
        with pytest.raises(ValueError, match="dim"):
            frazil.Codec(1)

    with handling(handler):
        assert a_second_of_search(threads)
    assert len(answers) > 1
    assert all(answers)


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_in_a_search_of_a_handler(threads):
    """It ends the inner one alone, where the handler catches it, and both where it does not."""

    def caught():
        with pytest.raises(KeyboardInterrupt):
            not_caught()
        assert goes_on(threads)

    def not_caught():
        with during(interrupt):
            search(INT4, QUERIES)(threads, None)

    with handling(caught, times=1) as calls:
        assert a_second_of_search(threads)
    assert calls
    with pytest.raises(KeyboardInterrupt), handling(not_caught, times=1):
        search(INT4, QUERIES)(threads, None)
    assert goes_on(threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_signals_do_not_stop_what_other_threads_do(threads):
    answers = []  # waited for by sleeping: an exception in Thread.join has Python before 3.13 believe that it has ended
    worker = threading.Thread(target=lambda: answers.append(a_second_of_search(threads)))

    def wait():
        while worker.is_alive():
            time.sleep(0.01)

    with during(interrupt, 0.1):
        worker.start()
        with pytest.raises(KeyboardInterrupt):
            wait()
    wait()
    assert answers == [True]


LONG_SEARCH = """if True:
    import time
    import numpy as np
    import frazil

    codec = frazil.ARCTIC_INT4
    codes = np.random.default_rng(0).integers(0, 256, (10_000, 128), dtype=np.uint8)
    queries = np.random.default_rng(1).standard_normal((50, 256))

    def search_for(seconds, threads):
        began = time.perf_counter()
        codec.search(queries, codes, query_bits=32, threads=1)
        n = int(len(codes) * threads * seconds / (time.perf_counter() - began))
        return codec.search(queries, np.broadcast_to(codes[0], (n, 128)), query_bits=32, threads=threads)
"""


def test_a_handler_that_forks():
    """The parent goes on; a child without the parent's threads cannot finish what they had begun, and says so."""
    program = f"""{LONG_SEARCH}
    if True:
        import os, signal, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        how, threads, children = sys.argv[1], int(sys.argv[2]), []
        right = codec.search(queries[:5], codes[:1000], threads=3).rows.tolist()

        def handler(number, frame):
            child = os.fork()
            if child == 0 and how == "leave":
                os._exit(0 if codec.search(queries[:5], codes[:1000], threads=3).rows.tolist() == right else 1)
            if child == 0 and how == "exit":
                sys.exit(0)
            children.append(child)

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            search_for(0.6, threads)
        except RuntimeError as error:
            assert threads > 1 and children == [0] and "forked by a signal handler" in str(error)
        assert children and codec.search(queries[:5], codes[:1000], threads=3).rows.tolist() == right
        if children != [0]:
            assert os.waitpid(children[0], 0)[1] == 0
    """
    for how in ("leave", "exit", "go on"):
        for threads in (1, 3):
            run_python(program, arguments=[how, str(threads)])


@pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
    reason="the modes' numbers are those of x86-64, and the library's name is glibc's",
)
def test_handlers_run_in_the_rounding_mode_of_the_program():
    program = f"""{LONG_SEARCH}
    if True:
        import ctypes, signal
        libm, upward, modes = ctypes.CDLL("libm.so.6"), 0x800, []
        signal.signal(signal.SIGALRM, lambda number, frame: modes.append(libm.fegetround()))
        right = codec.search(queries, codes, query_bits=32)
        libm.fesetround(upward)
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        search_for(1, 2)
        signal.setitimer(signal.ITIMER_REAL, 0)
        hits = codec.search(queries, codes, query_bits=32)
        assert len(modes) > 1 and set(modes) == {{upward}} and libm.fegetround() == upward
        assert np.array_equal(hits.scores, right.scores)
    """
    run_python(program)


@pytest.mark.soak
@pytest.mark.parametrize("threads", [1, 2])
def test_interrupting_again_and_again_leaks_nothing(endless, threads):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    sizes = []
    for _ in range(20):
        for operation in ("search, many queries", "search, by sketch", "score", "Sketch.build"):
            with during(interrupt, 0.05), pytest.raises(KeyboardInterrupt):
                OPERATIONS[operation](threads, endless)
        sizes.append(resident())
    assert sizes[-1] - sizes[4] < 30 << 20, sizes
