"""A guest in any program: one with several interpreters, one that forks, one that lacks threads, stack or memory."""

import copy
import os
import pickle
import platform
import shutil
import subprocess
import sys

import numpy as np
import pytest
from processes import run_python
from shapes import random_codes, vectors

import frazil
from frazil import Sketch, _native

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux's limits, /proc and binaries")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


# ---------------------------------------------------------------- registers


@linux
@pytest.mark.skipif("amxint8" not in frazil.kernels(), reason="no AMX here")
@pytest.mark.parametrize("small_stack", [False, True])
def test_tile_registers_are_asked_for_when_they_are_needed(small_stack):
    """Who may use them can have no small alternate signal stacks any more; and who has one may not use them."""
    program = """if True:
        import ctypes, sys
        libc = ctypes.CDLL(None, use_errno=True)
        def may():
            states = ctypes.c_uint64()
            assert libc.syscall(158, 0x1022, ctypes.byref(states)) == 0  # arch_prctl, ARCH_GET_XCOMP_PERM
            return bool(states.value >> 18 & 1)
        class Stack(ctypes.Structure):
            _fields_ = [("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
        memory = ctypes.create_string_buffer(8192)
        def small_stack():
            return libc.sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, 8192)), None) == 0
        import numpy as np, frazil
        if sys.argv[1] == "True":
            assert small_stack()
        x = np.random.default_rng(0).standard_normal((200, 256))
        codes = frazil.ARCTIC_INT4.pack(x)
        with frazil.use_kernels("avx2"):
            right = frazil.ARCTIC_INT4.search(x, codes, 5)
        assert frazil.kernels()[0] == "amxint8"
        assert not may()
        hits = frazil.ARCTIC_INT4.search(x, codes, 5)
        assert (hits.rows == right.rows).all() and (hits.scores == right.scores).all()
        print(may())
    """
    assert run_python(program, arguments=[str(small_stack)]).split() == [str(not small_stack)]


# ---------------------------------------------------------------- interpreters and linkers


@pytest.mark.parametrize("kind", ["isolated", "legacy"])
@pytest.mark.parametrize("first", ["frazil", "numpy", "sys"])
def test_subinterpreters(kind, first):
    """Importing works or raises an ImportError, and the main interpreter goes on."""
    if kind == "legacy" and first == "sys" and sys.version_info >= (3, 12):
        pytest.skip("NumPy takes the first interpreter that imports it for the only one")
    program = """if True:
        import importlib, sys
        kind, first = sys.argv[1:]
        importlib.import_module(first)
        try:
            import _interpreters as interpreters
        except ImportError:
            try:
                import _xxsubinterpreters as interpreters
            except ImportError:
                print("no subinterpreters here")
                sys.exit()
        code = '''if True:
            import warnings
            warnings.simplefilter("ignore")
            try:
                import frazil, numpy as np
                assert frazil.ARCTIC_INT4.search(np.ones(256), np.zeros((3, 128), np.uint8), 1).rows.tolist() == [0]
                print("works", flush=True)
            except ImportError as error:
                assert "interpreter" in str(error) or "more than once per process" in str(error), error
                print("does not", flush=True)
        '''
        for _ in range(2):
            try:
                new = interpreters.create(isolated=kind == "isolated")
            except TypeError:
                new = interpreters.create(kind)
            failed = interpreters.run_string(new, code)
            assert failed is None, failed
            interpreters.destroy(new)
        import frazil, numpy as np
        assert frazil.ARCTIC_INT4.search(np.ones(256), np.zeros((3, 128), np.uint8), 1).rows.tolist() == [0]
        print("and the main one goes on")
    """
    out = run_python(program, arguments=[kind, first]).split("\n")
    if out[0].startswith("no subinterpreters"):
        pytest.skip(out[0])
    assert out[2] == "and the main one goes on"
    assert sys.version_info >= (3, 12) or out[:2] == ["does not"] * 2


@linux
def test_the_extension_shows_its_entry_alone():
    if shutil.which("nm") is None:
        pytest.skip("no nm here")
    command = ["nm", "--dynamic", "--defined-only", _native.__file__]
    symbols = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line.split()[-1] for line in symbols.splitlines()] == ["PyInit__native"]


@linux
def test_loaded_where_everybody_sees_it():
    run_python("""if True:
        import os, sys
        sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
        import frazil
        import numpy as np
        assert frazil.ARCTIC_INT4.search(np.ones(256), np.zeros((3, 128), np.uint8), 1).rows.tolist() == [0]
    """)


def test_values_are_copied_and_sent():
    codes = random_codes(100, frazil.ARCTIC_INT4)
    sketch = Sketch.build(frazil.ARCTIC_INT4, codes)
    hits = frazil.ARCTIC_INT4.search(vectors(3, 256), codes, sketch=sketch)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        for same in (pickle.loads(pickle.dumps(sketch, protocol)), copy.copy(sketch), copy.deepcopy(sketch)):
            assert repr(same) == repr(sketch)
            again = frazil.ARCTIC_INT4.search(vectors(3, 256), codes, sketch=same)
            np.testing.assert_array_equal(again.rows, hits.rows)
        for same in (pickle.loads(pickle.dumps(hits, protocol)), copy.deepcopy(hits)):
            assert type(same) is frazil.Hits
            np.testing.assert_array_equal(same.scores, hits.scores)


# ---------------------------------------------------------------- processes


@forks
def test_a_server_that_forks_its_workers():
    """Codes loaded and searched before, workers replaced while the others answer, all of them using threads."""
    run_python("""if True:
        import os, warnings
        import numpy as np
        import frazil
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        codec = frazil.ARCTIC_INT4
        rng = np.random.default_rng(0)
        codes = codec.pack(rng.standard_normal((50_000, 256), dtype=np.float32), threads=3)
        queries = rng.standard_normal((8, 256), dtype=np.float32)
        right = codec.search(queries, codes, threads=3).rows.tobytes()

        def worker():
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                for _ in range(5):
                    os.write(write, codec.search(queries, codes, threads=3).rows.tobytes())
                os._exit(0)
            os.close(write)
            return child, read

        workers = [worker() for _ in range(4)]
        for _ in range(20):
            child, read = workers.pop(0)
            workers.append(worker())
            with open(read, "rb") as pipe:
                assert pipe.read() == right * 5
            assert os.waitpid(child, 0)[1] == 0
            assert codec.search(queries, codes, threads=3).rows.tobytes() == right
        for child, read in workers:
            assert os.waitpid(child, 0)[1] == 0
    """)


@forks
def test_a_fork_before_anything_was_called():
    """Of what is made at the first call, nothing is half made in a child."""
    run_python("""if True:
        import os, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import numpy as np
        codes, queries = np.zeros((20_000, 128), np.uint8), np.ones((20, 256))
        for _ in range(30):
            child = os.fork()
            if child == 0:
                import frazil
                search = lambda: frazil.ARCTIC_INT4.search(queries, codes, 1).rows.tolist()
                thread = threading.Thread(target=search)
                thread.start()
                grandchild = os.fork()
                if grandchild == 0:
                    os._exit(0 if search() == [[0]] * 20 else 1)
                thread.join()
                os._exit(os.waitpid(grandchild, 0)[1] != 0)
            assert os.waitpid(child, 0)[1] == 0
    """)


# ---------------------------------------------------------------- when there is not enough

WORK = """if True:
    import os, resource, sys
    import numpy as np
    import frazil

    codec = frazil.ARCTIC_INT4
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40_000, 256), dtype=np.float32)
    codes = codec.pack(x, threads=1)
    sketch = frazil.Sketch.build(codec, codes, threads=1)
    allow = rng.permutation(len(codes))[:1_000]
    OPERATIONS = [
        lambda threads: codec.pack(x, threads=threads),
        lambda threads: codec.unpack(codes, threads=threads),
        lambda threads: codec.score(x[:30], codes, threads=threads),
        lambda threads: codec.search(x[:30], codes, threads=threads).rows,
        lambda threads: codec.search(x[:30], codes[:4_000], threads=threads, query_bits=32).rows,
        lambda threads: codec.search(x[:3], codes, threads=threads, allow=allow).rows,
        lambda threads: codec.search(x[:30], codes, threads=threads, sketch=sketch).rows,
        lambda threads: frazil.Sketch.build(codec, codes, threads=threads).data,
    ]
    answers = [call(1) for call in OPERATIONS]

    def counts():
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        return pages * resource.getpagesize(), len(os.listdir("/proc/self/task"))
"""


@linux
@pytest.mark.parametrize("lacking", ["processes", "memory"])
def test_no_threads_to_be_had(lacking):
    run_python(
        f"""{WORK}
    (memory, threads), some = counts(), slice(None)
    if sys.argv[1] == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (memory + (4 << 20),) * 2)  # less than a thread's stack
        some = slice(3, 6)  # which take less
    else:
        if os.geteuid() == 0:
            os.setuid(65534)  # root may have as many as there can be
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    for call, right in zip(OPERATIONS[some], answers[some]):
        for _ in range(3):
            assert np.array_equal(call(8), right)
    assert counts()[1] <= threads
    """,
        arguments=[lacking],
        OPENBLAS_NUM_THREADS="1",
    )


@linux
def test_small_stacks():
    program = f"""{WORK}
    assert resource.getrlimit(resource.RLIMIT_STACK)[0] == 256 << 10
    for kernels in frazil.kernels():
        with frazil.use_kernels(kernels):
            for call, right in zip(OPERATIONS, answers):
                assert np.array_equal(call(4), right)
            wide = frazil.Codec(4096, 8)
            many = np.zeros((5_000, 4096), np.uint8)
            assert wide.search(np.ones((100, 4096)), many, 1, threads=4).rows.tolist() == [[0]] * 100
            frazil.Sketch.build(wide, many, threads=4)
    assert counts()[1] > 3
    """
    run_python(
        """if True:  # threads' stacks are as large as the limit was when the program began
        import os, resource, sys
        resource.setrlimit(resource.RLIMIT_STACK, (256 << 10, -1))
        os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
        """,
        arguments=[program],
    )


@linux
def test_too_little_memory():
    """With a little more each time: a MemoryError or the right answer."""
    out = run_python(
        f"""{WORK}
    import gc
    failed = succeeded = 0
    for call, right in zip(OPERATIONS, answers):
        for step in range(32):
            gc.collect()
            resource.setrlimit(resource.RLIMIT_AS, (counts()[0] + (step * 3 << 19), -1))
            try:
                answer = call(1 + step % 4)
            except MemoryError:
                answer, failed = None, failed + 1
            resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
            if answer is not None:
                assert np.array_equal(answer, right)
                succeeded += 1
    print(failed, succeeded)
    """,
        OPENBLAS_NUM_THREADS="1",
    )
    failed, succeeded = map(int, out.split())
    assert failed > 10
    assert succeeded > 50


# Of C++, and of C in other threads than the first: what the interpreter and pybind11 make of a failure is their affair.
FAILING_MALLOC = """
#include <unistd.h>
#include <cstdlib>
#include <new>
extern "C" void* __libc_malloc(size_t);
extern "C" { long until_failure; }  // allocations from now on to the one that fails; 0: none
static bool fails() {
  return __atomic_load_n(&until_failure, __ATOMIC_RELAXED) > 0 &&
         __atomic_sub_fetch(&until_failure, 1, __ATOMIC_RELAXED) == 0;
}
extern "C" void* malloc(size_t n) { return gettid() != getpid() && fails() ? nullptr : __libc_malloc(n); }
void* operator new(size_t n) {
  void* const memory = fails() ? nullptr : __libc_malloc(n);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void* operator new[](size_t n) { return operator new(n); }
"""


@linux
def test_any_allocation_may_fail(tmp_path):
    """The first, the second, the third … of every operation: a MemoryError or the right answer."""
    compiler = shutil.which("c++")
    if compiler is None or platform.libc_ver()[0] != "glibc":
        pytest.skip("no compiler here, or no glibc")
    (tmp_path / "malloc.cpp").write_text(FAILING_MALLOC)
    library = str(tmp_path / "malloc.so")
    environment = {"PATH": os.defpath, **os.environ}  # where it looks for its linker; `which` found it there, too
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, str(tmp_path / "malloc.cpp")]
    subprocess.run(command, env=environment, check=True)
    out = run_python(
        f"""{WORK}
    import ctypes
    until_failure = ctypes.c_long.in_dll(ctypes.CDLL(None), "until_failure")
    failed = 0
    for call, right in zip(OPERATIONS, answers):
        for threads in (1, 3):
            n = 0
            while True:
                n += 1 + n // 30
                until_failure.value = n
                try:
                    answer = call(threads)
                except MemoryError:
                    until_failure.value, answer, failed = 0, None, failed + 1
                done = until_failure.value > 0
                until_failure.value = 0
                assert answer is None or np.array_equal(answer, right)
                if done:
                    break
    print(failed)
    """,
        timeout=300,
        LD_PRELOAD=library,
    )
    assert int(out) > 50
