"""What the README shows is run, in order, in one interpreter."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

README = Path(__file__).parents[1] / "README.md"


def test_code_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)\n *```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 6
    needed = ("frazil.Encoder", "_cuda")  # weights, a GPU
    program = "\n".join(dedent(block) for block in blocks if not any(name in block for name in needed))
    program = program.replace('frazil.use_kernels("avx2")', "frazil.use_kernels(frazil.kernels()[-1])")
    program += "\nassert hits.rows.shape == (3, 10) and scores.shape == (3, 100_000) and approximate.shape == (5, 256)"
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
