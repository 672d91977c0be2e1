"""Compile every kernel as the library launches it, for a GPU that need not be there, and print what it consists of.

Usage: python compiled_kernels.py ARCHITECTURE, e.g. 90. Prints JSON: for each kernel its name, the kinds of PTX
instructions, its registers, the bytes of shared memory, and those of stack that ptxas needed for registers that it
spilled; and the names of those that were compiled anew when only numbers of rows, queries and answers changed. Nothing
is run: what the library gets back means nothing.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

import frazil
from frazil.backends import launches
from frazil.backends import triton as backend

ARCHITECTURE = int(sys.argv[1])
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


class Driver:
    """What Triton asks about the GPU before it launches anything."""

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", ARCHITECTURE, 32)


class OnGpu(torch.Tensor):
    is_cuda = True


def on_gpu(array):
    return torch.from_numpy(array).as_subclass(OnGpu)


found = {}
ASYNC = "cp.async.cg.shared.global"  # which inline assembly holds


def compile_only(self, *arguments, grid, warmup, **options):
    kernel = run(self, *arguments, grid=grid, warmup=True, **options)
    if kernel.hash in found:
        return
    kinds = re.findall(r"^\s+(?:@%?!?\w+ )?([a-z][\w.:]+)", kernel.asm["ptx"], re.MULTILINE)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage = subprocess.run([CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", usage).groups()
    found[kernel.hash] = {
        "name": self.fn.__name__,
        "kinds": sorted({*kinds, *([ASYNC] if ASYNC in kernel.asm["ptx"] else [])}),
        "registers": int(registers),
        "stack": int(stack),
        "shared": kernel.metadata.shared,
    }


run, JITFunction.run = JITFunction.run, compile_only
triton.runtime.driver.set_active(Driver())
launches._is_nvidia = lambda device: True

x = np.ones((200, 320), np.float32)
INT4, INT8, NORMAL = frazil.ARCTIC_INT4, frazil.ARCTIC_INT8, frazil.Codec(256, 4, spacing="normal")
for codec in (INT4, INT8, NORMAL):
    codec.pack(on_gpu(x))
    codes = codec.pack(x)
    codec.unpack(on_gpu(codes))
    codec.search(on_gpu(x), on_gpu(codes), 1)  # the tensor cores
INT4.pack(on_gpu(x.astype(np.float64)))
INT8.pack(on_gpu(x.astype(np.float16)))
codes = INT4.pack(x)
for codec in (INT4, INT8):  # a single query: the codes are streamed
    codec.search(on_gpu(x[0]), on_gpu(codec.pack(x)), 1, query_bits=4)
INT4.score(on_gpu(x[:20]), on_gpu(codes))
with contextlib.suppress(IndexError):  # the rows that have not been found
    INT4.search(on_gpu(x[0]), on_gpu(codes), 1, query_bits=32, allow=[1, 5])
INT4.score(on_gpu(x[:3]), on_gpu(codes[:1]))  # Triton makes constants of arguments that are 1
INT4.pack(on_gpu(x[:1]))

many = np.zeros((40_000, 128), np.uint8)
before = None
for rows, count, k in ((33_000, 100, 2), (33_001, 101, 3), (38_912, 128, 7), (40_000, 127, 1)):
    backend.run_length = lambda *_, run=k: run
    with contextlib.suppress(IndexError):
        INT4.search(on_gpu(x[np.arange(count)]), on_gpu(many[:rows]), k)
        INT4.pack(on_gpu(x[:count]))
    before = before or set(found)
anew = [kernel["name"] for key, kernel in found.items() if key not in before]
print(json.dumps({"kernels": list(found.values()), "anew": anew}))
